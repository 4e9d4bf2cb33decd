// A service that gives the answers that a test has written, in their order, and checks each signature by itself.

import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { BalanceCoordinator } from '@balance-coordinator/node';
import { SECRET } from './service.mjs';

/** An answer: a status, JSON, headers. */
export const ok = (body) => ({ status: 200, body });
export const problem = (status, code, more = {}, headers = {}) => ({
  status,
  body: { type: 'about:blank', title: code, status, detail: 'as the test says', code, ...more },
  headers,
});
/** The connection breaks after the request was read. */
export const broken = { isBroken: true };
/** No answer. */
export const silent = { isSilent: true };

export class Fake {
  requests = [];
  url;
  #answers;

  /** `answers` are given one after the other, the last one for ever; or it is a function of the request. */
  static async start(t, ...answers) {
    const fake = new Fake();
    fake.#answers = typeof answers[0] === 'function' ? answers[0] : (_, number) => answers[Math.min(number, answers.length - 1)];
    const server = createServer((req, res) => fake.#answer(req, res));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    fake.url = `http://127.0.0.1:${server.address().port}`;
    return fake;
  }

  client(options = {}) {
    return new BalanceCoordinator({ url: this.url, secret: SECRET, ...options });
  }

  async #answer(req, res) {
    let body = '';
    for await (const part of req.setEncoding('utf8')) body += part;
    const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature } = req.headers;
    const key = Buffer.from(SECRET.slice('whsec_'.length), 'base64');
    const isSigned = signature === `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
    const request = { method: req.method, path: req.url, headers: req.headers, isSigned, timestamp: Number(timestamp), text: body };
    request.json = body ? JSON.parse(body) : null;
    this.requests.push(request);
    const answer = await this.#answers(request, this.requests.length - 1);
    if (answer.isSilent) return;
    if (answer.isBroken) return void req.socket.destroy();
    const { status, headers = {} } = answer;
    const text = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body);
    res.writeHead(status, { 'content-type': status === 200 ? 'application/json' : 'application/problem+json', ...headers });
    res.end(text);
  }
}

/** No test waits for a random time. */
export const withoutJitter = (t) => t.mock.method(Math, 'random', () => 0);

export const reward = (event_id, more = {}) => ({ event_id, user_id: 184, currency: 'UNI', amount: '1', ...more });
