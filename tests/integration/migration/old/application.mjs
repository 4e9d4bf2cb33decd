// The old application of docs/migration.md: Express, pg and ws. The lines of the page come from the test, in files of their own.

import { createServer } from 'node:http';

import express from 'express';
import pg from 'pg';
import { WebSocketServer } from 'ws';

import { farm } from './farming.mjs';
import { handle } from './handlers.mjs';

/** The session of its own: a cookie that it has given to the page. */
function userOf({ headers }) {
  const [, userId] = /^session=of-(\d+)$/.exec(headers.cookie ?? '') ?? [];
  return userId === undefined ? null : Number(userId);
}

const app = express();
const server = createServer(app);
const wss = new WebSocketServer({ server, path: '/ws' });

// A page that does not read, as its socket would tell of it.
wss.on('connection', (socket, { headers }) => {
  if (headers['x-test'] === 'reads nothing') Object.defineProperty(socket, 'bufferedAmount', { value: 1 << 20 });
});
handle({ app, wss, userOf });

app.post('/farm/:userId/:amount/:period', async ({ params: { userId, amount, period } }, response) => {
  const client = new pg.Client({ connectionString: process.env.OLD });
  await client.connect();
  const failures = [];
  try {
    await farm({ client, log: ({ code }) => failures.push(code), userId: Number(userId), amount, period });
  } finally {
    await client.end();
  }
  response.json({ failures });
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
