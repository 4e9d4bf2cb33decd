// A component's test in Jest, which loads the library and React by `require`.

const { act, createElement } = require('react');
const { createRoot } = require('react-dom/client');
const { format } = require('@balance-coordinator/client');
const { useBalance } = require('@balance-coordinator/client/react');
const { fakeBalance } = require('@balance-coordinator/client/testing');

globalThis.IS_REACT_ACT_ENVIRONMENT = true;

function Balance({ client }) {
  const { balances } = useBalance(client);
  return createElement('p', null, balances ? format(balances.TON, { locale: 'en' }) : '…');
}

test('a component shows what the fake balance says', async () => {
  const fake = fakeBalance({ balances: { TON: '1.5' } });
  const place = document.createElement('div');
  const root = createRoot(place);
  await act(() => root.render(createElement(Balance, { client: fake })));
  expect(place.textContent).toBe('1.5');
  await act(() => fake.set({ balances: { TON: '1234.25' } }));
  expect(place.textContent).toBe('1,234.25');
  await act(() => fake.stop());
  expect(place.textContent).toBe('…');
  await act(() => root.unmount());
});

test('a selector that makes an object each time renders once for each state', async () => {
  const fake = fakeBalance({ balances: { TON: '1.5' } });
  const complaints = jest.spyOn(console, 'error').mockImplementation(() => {});
  let renders = 0;
  function Part() {
    renders += 1;
    const { ton } = useBalance(fake, ({ balances }) => ({ ton: balances?.TON }));
    return createElement('p', null, ton);
  }
  const place = document.createElement('div');
  const root = createRoot(place);
  await act(() => root.render(createElement(Part)));
  await act(() => fake.set({ balances: { TON: '2' } }));
  expect([place.textContent, renders, complaints.mock.calls]).toEqual(['2', 2, []]);
  await act(() => root.unmount());
  complaints.mockRestore();
});

test('the real client can be made, and does nothing before it is started', () => {
  const { BalanceClient } = require('@balance-coordinator/client');
  const getToken = jest.fn();
  const client = new BalanceClient({ url: 'https://balance.example', getToken });
  expect(client.current.status).toBe('closed');
  expect(getToken).not.toHaveBeenCalled();
});

test('the element is defined in a document', () => {
  const { define } = require('@balance-coordinator/client/element');
  define();
  expect(customElements.get('ton-balance')).toBeDefined();
});
