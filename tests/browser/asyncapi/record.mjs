// Records a session with a service that it starts and stops: one JSON line for each frame, both ways.
//   node --experimental-websocket tests/browser/asyncapi/record.mjs PROGRAM > tests/browser/asyncapi/recorded.jsonl

import { execFileSync, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const USER = 184;
const program = resolve(process.argv[2]);
const folder = mkdtempSync(join(tmpdir(), 'balance-record-'));

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

const [publicPort, internalPort] = [await freePort(), await freePort()];
const env = {
  PATH: process.env.PATH,
  BALANCE_SERVER__PUBLIC_ADDR: `127.0.0.1:${publicPort}`,
  BALANCE_SERVER__INTERNAL_ADDR: `127.0.0.1:${internalPort}`,
  BALANCE_PACING__DEBOUNCE_MS: '20',
};
const service = spawn(program, ['serve', '--dev'], { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] });

async function ready() {
  for (let tries = 0; tries < 200; tries += 1) {
    const response = await fetch(`http://127.0.0.1:${publicPort}/readyz`).catch(() => null);
    if (response?.ok) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error('the service does not start');
}

let events = 0;
async function post(path, amount, currency) {
  const [secret] = readFileSync(join(folder, 'balance.dev.toml'), 'utf8').match(/whsec_[^"]+/);
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const body = JSON.stringify({ event_id: `recorded:${++events}`, user_id: USER, currency, amount });
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac('sha256', key).update(`${events}.${timestamp}.${body}`).digest('base64');
  const headers = { 'content-type': 'application/json', 'webhook-id': `${events}`, 'webhook-timestamp': timestamp };
  headers['webhook-signature'] = `v1,${signature}`;
  const response = await fetch(`http://127.0.0.1:${internalPort}/internal/v1/${path}`, { method: 'POST', headers, body });
  if (!response.ok) throw new Error(await response.text());
}

/** A socket whose frames are printed; `next` waits for one of a type. */
function session() {
  const socket = new WebSocket(`ws://127.0.0.1:${publicPort}/ws`, 'balance.v1');
  const seen = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    console.log(JSON.stringify({ from: 'server', frame }));
    seen.push(frame);
    wake();
  };
  const next = async (type) => {
    for (;;) {
      const place = seen.findIndex((frame) => frame.type === type);
      if (place >= 0) return seen.splice(place, 1)[0];
      await new Promise((done) => (wake = done));
    }
  };
  const send = (frame, shown = frame) => {
    console.log(JSON.stringify({ from: 'client', frame: shown }));
    socket.send(JSON.stringify(frame));
  };
  return new Promise((done) => (socket.onopen = () => done({ next, send, socket })));
}

const limit = setTimeout(() => {
  service.kill('SIGKILL');
  process.exit(1);
}, 30_000);
try {
  await ready();
  const config = join(folder, 'balance.dev.toml');
  const token = execFileSync(program, ['token', '--user', `${USER}`, '--config', config], { env, cwd: folder, encoding: 'utf8' }).trim();
  const { next, send, socket } = await session();
  send({ type: 'auth', token }, { type: 'auth', token: '…' });
  await next('hello');
  await next('balance');
  for (const [path, amount, currency] of [['deposits', '1.5', 'TON'], ['rewards', '0.000000001', 'UNI'], ['withdrawals', '0.5', 'TON']]) {
    await post(path, amount, currency);
    const { version } = await next('balance_update');
    send({ type: 'displayed', version });
  }
  for (const id of [7, 'a', 0.25, undefined]) {
    send({ type: 'refresh', id });
    await next('balance');
    send({ type: 'ping', id });
    await next('pong');
  }
  socket.send('{"type":"subscribe"}');
  await next('error');
  for (let n = 0; n < 60; n += 1) socket.send('{"type":"displayed","version":3}');
  for (let code; code !== 'rate_limited'; ) ({ code } = await next('error'));
  socket.close();
} finally {
  clearTimeout(limit);
  const ended = new Promise((done) => service.once('exit', done));
  service.kill('SIGTERM');
  await ended;
  rmSync(folder, { recursive: true });
}
