// Runs before a page's own scripts: keeps what goes over its sockets, and every number and state that it ever showed.
(() => {
  const now = () => performance.timeOrigin + performance.now();
  const record = (window.record = { frames: [], sockets: 0, opened: [], shown: [], exact: [], states: [], tokens: 0, restored: 0, asked: [], errors: [] });

  const last = {}; // of each currency, whatever was forgotten since

  window.WebSocket = class extends WebSocket {
    constructor(...options) {
      super(...options);
      record.sockets += 1;
      const socket = { url: this.url, begunMs: now() };
      record.opened.push(socket);
      this.addEventListener('open', () => (socket.openMs = now()));
      this.addEventListener('message', ({ data }) => record.frames.push({ from: 'server', atMs: now(), frame: JSON.parse(data) }));
    }
    send(text) {
      const frame = JSON.parse(text);
      if (frame.token) frame.token = 'masked';
      record.frames.push({ from: 'client', atMs: now(), frame });
      super.send(text);
    }
  };

  const { fetch } = window;
  window.fetch = (...options) => {
    record.asked.push(String(options[0]));
    if (String(options[0]).includes('/dev/v1/token')) record.tokens += 1;
    return fetch(...options);
  };
  addEventListener('pageshow', ({ persisted }) => (record.restored += Number(persisted)));
  addEventListener('error', ({ message }) => record.errors.push(message));
  addEventListener('unhandledrejection', ({ reason }) => record.errors.push(String(reason)));

  function look() {
    // The first number on any page.
    if (!record.first && /\d/.test(document.querySelector('#balance, .amount .digits')?.textContent)) {
      const first = (record.first = {});
      requestAnimationFrame(() => setTimeout(() => (first.paintedMs = now()), 0));
    }
    const card = document.getElementById('card');
    if (!card) return;
    const state = `${card.dataset.state}${card.classList.contains('is-stale') ? ' stale' : ''}`;
    if (record.states.at(-1) !== state) record.states.push(state);
    for (const element of card.querySelectorAll('.amount')) {
      const { code, amount } = element.dataset;
      const text = element.querySelector('.digits').textContent;
      const before = (last[code] ??= {});
      if (text !== '' && before.text !== text) record.shown.push({ code, text });
      if (amount && before.amount !== amount) {
        const exact = { code, amount };
        record.exact.push(exact);
        requestAnimationFrame(() => setTimeout(() => (exact.paintedMs = now()), 0));
      }
      last[code] = { text, amount };
    }
  }
  const options = { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ['data-state', 'data-amount', 'class'] };
  new MutationObserver(look).observe(document, options);
})();
