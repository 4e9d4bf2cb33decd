// The plain page of development mode: signs in as a user, opens /ws, and shows the balance and the frames.
//
// It follows the rules that every client should follow: the first balance arrives without being asked for; what is older
// than what is shown is dropped; a connection that ends with a code below 4500 is made again after a random wait; and a
// version is reported as displayed only when the page has really shown it.

const FRAMES_MAX = 100;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 30_000;
const TOKEN_TIMEOUT_MS = 10_000;
const CLOSE_STAY_AWAY = 4500;

const element = (id) => document.getElementById(id);
const page = {
  state: element("state"),
  form: element("sign-in"),
  user: element("user"),
  connect: element("connect"),
  notice: element("notice"),
  card: document.querySelector(".card"),
  shownUser: element("shown-user"),
  balances: element("balances"),
  version: element("version"),
  asOf: element("as-of"),
  change: element("change"),
  refresh: element("refresh"),
  frames: element("frames"),
};

let wanted = null; // the user to be connected as; null: stay disconnected
let socket = null;
let shown = null; // the newest balance: { epoch, version }
let failures = 0; // connections in a row that brought no balance
let retryTimer = 0;
let heartbeatTimer = 0;
let isPongDue = false;
let refreshes = 0;
let displayedVersion = 0; // the newest reported on this connection

async function fetchToken(userId) {
  const response = await fetch("/demo/token", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user_id: userId }),
    signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS),
  });
  if (response.ok) return (await response.json()).token;
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? problem.title ?? `no token: status ${response.status}`);
  error.isFinal = response.status >= 400 && response.status < 500 && response.status !== 429;
  throw error;
}

async function open() {
  const attempt = { userId: wanted };
  hangUp();
  socket = attempt; // holds the place until there is a socket
  showState("connecting");
  let token;
  try {
    token = await fetchToken(attempt.userId);
  } catch (error) {
    if (socket !== attempt) return;
    socket = null;
    if (error.isFinal) stop(error.message);
    else retry();
    return;
  }
  if (socket !== attempt) return;
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(url, ["balance.v1", `bearer.${token}`]);
  socket = opened;
  opened.onmessage = (event) => {
    if (socket === opened) receive(event.data);
  };
  opened.onclose = (event) => {
    if (socket !== opened) return;
    hangUp();
    note("closed", `code ${event.code} ${event.reason}`);
    // An expired token is mended by a new one, and every attempt fetches one.
    const comesBack = event.code < CLOSE_STAY_AWAY || event.reason === "token_expired";
    if (comesBack) retry();
    else stop(`Closed by the server: ${event.reason || event.code}.`);
  };
}

/** Leaves the socket, whatever its state; what it still says is ignored. */
function hangUp() {
  clearTimeout(retryTimer);
  clearInterval(heartbeatTimer);
  const left = socket;
  socket = null;
  displayedVersion = 0;
  isPongDue = false;
  page.refresh.disabled = true;
  if (left instanceof WebSocket && left.readyState <= WebSocket.OPEN) left.close(1000);
}

function start(userId) {
  wanted = userId;
  failures = 0;
  page.notice.textContent = "";
  page.connect.textContent = "Disconnect";
  forgetBalance(userId);
  open();
}

function retry() {
  const longest = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** failures);
  failures = Math.min(failures + 1, 16);
  showState("offline");
  retryTimer = setTimeout(open, Math.random() * longest);
}

function stop(reason = "") {
  hangUp();
  wanted = null;
  page.notice.textContent = reason;
  page.connect.textContent = "Connect";
  showState("offline");
}

function send(message) {
  if (!(socket instanceof WebSocket) || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify(message));
  if (message.type !== "ping") note(`sent ${message.type}`, JSON.stringify(message, null, 1));
}

/** A page cannot see the server's pings, so it sends some of its own, to notice a connection that died silently. */
function heartbeat() {
  if (isPongDue) {
    hangUp();
    note("lost", "nothing heard within a heartbeat");
    return retry();
  }
  isPongDue = true;
  return send({ type: "ping", id: "heartbeat" });
}

function receive(text) {
  const frame = JSON.parse(text);
  isPongDue = false;
  if (frame.type !== "pong") note(frame.type, JSON.stringify(frame, null, 1));
  if (frame.type === "hello") {
    clearInterval(heartbeatTimer);
    heartbeatTimer = setInterval(heartbeat, frame.heartbeat_ms);
    page.refresh.disabled = false;
  }
  if (frame.type === "balance" || frame.type === "balance_update") showBalance(frame);
  if (frame.type === "error") page.notice.textContent = `${frame.code}: ${frame.message}`;
}

function showBalance(frame) {
  failures = 0;
  // Versions can be compared only within an epoch; a new one begins from what the server says.
  if (shown && shown.epoch === frame.epoch && frame.version < shown.version) return;
  if (shown?.epoch !== frame.epoch) displayedVersion = 0;
  shown = { epoch: frame.epoch, version: frame.version };
  for (const [code, amount] of Object.entries(frame.balances)) showAmount(code, amount);
  page.version.textContent = String(frame.version);
  page.asOf.textContent = time(frame.as_of ?? frame.committed_at);
  if (frame.changes) {
    const changes = Object.entries(frame.changes).map(([code, amount]) => `${amount} ${code}`);
    page.change.textContent = `${changes.join(", ") || "0"} (${frame.mode})`;
  }
  page.notice.textContent = "";
  showState(frame.stale ? "stale" : "live");
  reportDisplayed();
}

/** Once the browser has painted what is in the page now. A hidden page shows nothing, and reports when it is seen. */
function reportDisplayed() {
  if (document.visibilityState !== "visible" || !shown) return;
  const { epoch, version } = shown;
  requestAnimationFrame(() => setTimeout(() => {
    if (!shown || shown.epoch !== epoch || version <= displayedVersion || !(socket instanceof WebSocket)) return;
    displayedVersion = version;
    send({ type: "displayed", version });
  }));
}

function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function showAmount(code, amount) {
  let row = [...page.balances.children].find((child) => child.dataset.code === code);
  if (!row) {
    page.balances.querySelector(".empty")?.remove();
    row = make("p");
    row.dataset.code = code;
    // Read out whole, with its currency, when it changes.
    row.setAttribute("aria-atomic", "true");
    row.append(make("span", "code", code), make("span", "amount"));
    page.balances.append(row);
  }
  if (row.dataset.amount === amount) return;
  row.dataset.amount = amount;
  const [, digits, zeros] = /^(-?\d+(?:\.\d*[1-9])?)(\.?0*)$/.exec(amount) ?? [null, amount, ""];
  const quiet = make("span", "zeros", zeros);
  quiet.setAttribute("aria-hidden", "true");
  row.lastElementChild.replaceChildren(digits, quiet);
}

function showState(state) {
  page.state.dataset.state = state;
  page.state.textContent = state;
  page.card.classList.toggle("is-old", state !== "live");
}

function forgetBalance(userId) {
  shown = null;
  page.shownUser.textContent = String(userId);
  page.balances.replaceChildren(make("p", "empty", "No balance yet."));
  for (const fact of [page.version, page.asOf, page.change]) fact.textContent = "–";
}

function note(title, text) {
  const item = make("li");
  const head = make("div", "head");
  head.append(make("strong", "", title), make("time", "", time(new Date())));
  item.append(head, make("pre", "", text));
  page.frames.prepend(item);
  while (page.frames.children.length > FRAMES_MAX) page.frames.lastElementChild.remove();
}

function time(when) {
  return new Date(when).toISOString().slice(11);
}

page.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const userId = Number(page.user.value);
  if (wanted === userId) stop();
  else start(userId);
});
page.user.addEventListener("input", () => {
  page.connect.textContent = wanted === Number(page.user.value) ? "Disconnect" : "Connect";
});
page.refresh.addEventListener("click", () => send({ type: "refresh", id: ++refreshes }));
document.addEventListener("visibilitychange", reportDisplayed);
window.addEventListener("online", () => {
  if (wanted !== null && socket === null) open();
});
page.form.requestSubmit();
