import { Balance } from './Balance.jsx';

export default function Page() {
  return <Balance />;
}
