import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Balance } from './Balance.jsx';
import { client } from './balance.js';

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <Balance />
    <button id="sign-out" onClick={() => client.stop()}>Sign out</button>
  </StrictMode>,
);
