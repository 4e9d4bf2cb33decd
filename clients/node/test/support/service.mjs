// The real service on a database of its own, behind a small proxy: its address stays while the service is killed and started again,
// and the proxy can lose what goes through it.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { BalanceCoordinator } from '@balance-coordinator/node';

export const SECRET = 'whsec_dGVzdC13ZWJob29rLXNlY3JldC1vZi0zMi1ieXRlcyE=';
export const OTHER_SECRET = 'whsec_YW5vdGhlci13ZWJob29rLXNlY3JldC1vZi1vdXJzIQ==';
export const SESSION_SECRET = 'test-session-secret-of-at-least-32-bytes';

const program =
  process.env.BALANCE_COORDINATOR_BIN ?? fileURLToPath(new URL('../../../../target/debug/balance-coordinator', import.meta.url));
const notice = `needs the service: cargo build, or its path in BALANCE_COORDINATOR_BIN; there is no ${program}`;
const isThere = existsSync(program);
if (!isThere && process.env.CI) throw new Error(notice);

/** Options of a test that needs the real service. */
export const withService = { skip: isThere ? false : notice };

export class Service {
  #dir = mkdtempSync(join(tmpdir(), 'balance-node-'));
  #settings;
  #child;
  #target;
  #proxy;
  #sockets = new Set();
  #answers = 0;
  /** Whether the answer with this number, from 1, is lost together with its connection. */
  losesAnswer = () => false;
  publicUrl;
  url;

  /** Started, and stopped after the test. `settings` are lines of the configuration, by their section. */
  static async start(t, settings = {}) {
    const service = new Service(settings);
    t.after(() => service.#end());
    await service.#listen();
    await service.restart();
    return service;
  }

  constructor(settings) {
    this.#settings = settings;
  }

  client(options = {}) {
    return new BalanceCoordinator({ url: this.url, secret: SECRET, ...options });
  }

  async kill() {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }

  async restart() {
    const config = join(this.#dir, 'config.toml');
    const { auth = '', ...others } = this.#settings;
    const more = Object.entries(others).map(([section, lines]) => `[${section}]\n${lines}`);
    writeFileSync(
      config,
      `server = { public_addr = "127.0.0.1:0", internal_addr = "127.0.0.1:0" }
       database = { url = "sqlite://${join(this.#dir, 'balance.db')}" }
       [auth]
       webhook_secrets = ["${SECRET}"]\nsession_secrets = ["${SESSION_SECRET}"]\nadmin_tokens = ["test-admin-token"]
       ${auth}\n${more.join('\n')}`,
    );
    // Cargo's tests build the program with the feature `simulation`, which serves only when it is told to.
    const env = { PATH: process.env.PATH, RUST_LOG: 'info', SIMULATION_BUILD_MAY_SERVE: '1' };
    this.#child = spawn(program, ['serve', '--config', config], { cwd: this.#dir, env, stdio: ['ignore', 'ignore', 'pipe'] });
    const log = [];
    for await (const line of createInterface({ input: this.#child.stderr })) {
      log.push(line);
      const [, open, internal] = /listening on (http:\S+) \(public\) and http:\/\/(\S+) \(internal\)/.exec(line) ?? [];
      if (!internal) continue;
      this.#child.stderr.resume();
      this.publicUrl = open;
      this.#target = internal;
      return;
    }
    assert.fail(`the service has not started:\n${log.join('\n')}`);
  }

  /** Loses the next answer alone. */
  loseOneAnswer() {
    const lost = this.#answers + 1;
    this.losesAnswer = (number) => number === lost;
  }

  /** The audit of the whole ledger finds nothing. */
  assertLedgerHolds() {
    execFileSync(program, ['verify', '--config', join(this.#dir, 'config.toml')], { env: { PATH: process.env.PATH }, stdio: 'pipe' });
  }

  async #listen() {
    this.#proxy = createServer((socket) => this.#forward(socket));
    this.#proxy.listen(0, '127.0.0.1');
    await once(this.#proxy, 'listening');
    this.url = `http://127.0.0.1:${this.#proxy.address().port}`;
  }

  #forward(socket) {
    const [host, port] = this.#target.split(':');
    const upstream = connect(Number(port), host);
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      this.#sockets.add(one);
      one.on('error', () => {}); // 'close' follows
      one.on('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    socket.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => {
      if (this.losesAnswer((this.#answers += 1))) socket.destroy();
      else socket.write(data);
    });
  }

  async #end() {
    if (this.#child) await this.kill();
    this.#proxy?.close();
    for (const socket of this.#sockets) socket.destroy();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
