// Runs in a page of the service's own origin: shows the balance by the browser library, and tells what is shown once it is drawn.
async (token) => {
  const { BalanceClient } = await import('/client/balance-client.js');
  const list = document.createElement('main');
  document.body.replaceChildren(list);
  const tell = () => {
    const { epoch, version, stale } = list.dataset;
    const balances = Object.fromEntries(Array.from(list.children, (output) => [output.name, output.textContent]));
    canaryPainted(JSON.stringify({ epoch, version: Number(version), stale: stale === 'true', balances }));
  };
  const client = new BalanceClient({ url: location.origin, share: false, getToken: async () => token });
  client.subscribe(({ balances, epoch, version, isStale }) => {
    if (!balances) return;
    const output = ([name, textContent]) => Object.assign(document.createElement('output'), { name, textContent });
    list.replaceChildren(...Object.entries(balances).map(output));
    Object.assign(list.dataset, { epoch, version, stale: isStale });
    // Behind the frame that draws it, as the library's own `displayed`.
    requestAnimationFrame(() => setTimeout(tell));
  });
  client.start();
}
