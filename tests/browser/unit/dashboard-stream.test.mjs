// How the dashboard follows the live stream: back-off, hidden pages, silence, tokens. Fake clock, fetch and page.

import assert from 'node:assert/strict';
import test, { mock } from 'node:test';
import { events, follow, get, useToken } from '../../../src/web/admin/api.js';

const settled = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
};
const encode = (name, data) => new TextEncoder().encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);

/** A page and a service, and a stream that is followed. */
class World {
  asked = [];
  told = [];
  states = [];
  opened = 0;
  answers = [];
  page = Object.assign(new EventTarget(), { hidden: false });
  end = new AbortController();

  constructor(userId = null) {
    globalThis.document = this.page;
    globalThis.fetch = (url, { signal, headers }) => {
      this.asked.push([url, headers.authorization]);
      const answer = this.answers.shift() ?? new TypeError('no network');
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer(signal));
    };
    this.userId = userId;
  }

  start() {
    useToken('secret');
    this.followed = follow(this.end.signal, {
      userId: this.userId,
      onOpen: () => this.opened++,
      onEvent: (name, data) => this.told.push([name, data]),
      onState: (error) => this.states.push(error.code ?? error.constructor.name),
    });
    return settled();
  }

  /** An answer that stays open; `tell` sends events over it. */
  stream() {
    const made = {};
    this.answers.push((signal) => {
      const body = new ReadableStream({
        start(controller) {
          made.tell = (...event) => (controller.enqueue(encode(...event)), settled());
          made.close = () => (controller.close(), settled());
          signal.addEventListener('abort', () => {
            made.isCut = true;
            controller.error(signal.reason);
          });
        },
      });
      return new Response(body);
    });
    return made;
  }

  refuse(status, code) {
    this.answers.push(() => Response.json({ code, detail: 'no' }, { status }));
  }

  hide(hidden) {
    this.page.hidden = hidden;
    this.page.dispatchEvent(new Event('visibilitychange'));
    return settled();
  }

  async pass(ms) {
    mock.timers.tick(ms);
    await settled();
  }
}

async function inAWorld(run, userId) {
  mock.timers.enable({ apis: ['setTimeout'] });
  const world = new World(userId);
  try {
    await run(world);
    world.end.abort();
    await settled();
    await world.followed;
  } finally {
    mock.timers.reset();
  }
}

test('events are read whole, however they are cut on the way', async () => {
  const text = 'event: snapshot\ndata: {"a":": 1"}\n\nevent: problem\ndata: {"detail":"ж"}\n\nevent: cut';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 7, bytes.length]) {
    const body = new ReadableStream({
      start(controller) {
        for (let from = 0; from < bytes.length; from += size) controller.enqueue(bytes.slice(from, from + size));
        controller.close();
      },
    });
    const read = [];
    for await (const event of events(body)) read.push(event);
    assert.deepEqual(read, [['snapshot', { a: ': 1' }], ['problem', { detail: 'ж' }]]);
  }
});

test('the token goes in a header, and the user in the address', () =>
  inAWorld(async (world) => {
    const stream = world.stream();
    await world.start();
    await stream.tell('user', { user_id: 7 });
    assert.deepEqual(world.asked, [['v1/live?user_id=7', 'Bearer secret']]);
    assert.deepEqual([world.opened, world.told], [1, [['user', { user_id: 7 }]]]);
  }, '7'));

test('while the service is away it is asked ever less often, and after an event soon again', () =>
  inAWorld(async (world) => {
    await world.start();
    const at = [0];
    for (let second = 1; second <= 60; second++) {
      const before = world.asked.length;
      await world.pass(1_000);
      if (world.asked.length > before) at.push(second);
    }
    assert.deepEqual(at, [0, 1, 3, 7, 15, 30, 45, 60]);
    assert.deepEqual(new Set(world.states), new Set(['TypeError']));
    const stream = world.stream();
    await world.pass(15_000);
    await stream.tell('snapshot', {});
    await stream.close();
    await world.pass(1_000);
    assert.equal(world.asked.length, at.length + 2);
  }));

test('a hidden page lets go of the stream, asks for nothing, and comes back when it is seen', () =>
  inAWorld(async (world) => {
    const stream = world.stream();
    await world.start();
    await stream.tell('snapshot', {});
    await world.hide(true);
    assert.equal(stream.isCut, true);
    await world.pass(3_600_000);
    assert.deepEqual([world.asked.length, world.states], [1, []]);
    const second = world.stream();
    await world.hide(false);
    await second.tell('snapshot', { again: true });
    assert.deepEqual([world.asked.length, world.told.length], [2, 2]);
  }));

test('a stream that has fallen silent is told of and opened again', () =>
  inAWorld(async (world) => {
    const stream = world.stream();
    await world.start();
    for (let second = 0; second < 20; second += 5) {
      await world.pass(5_000);
      await stream.tell('snapshot', {});
    }
    assert.deepEqual(world.states, []);
    await world.pass(10_000);
    assert.deepEqual([world.states, stream.isCut], [['silent'], true]);
    const second = world.stream();
    await world.pass(1_000);
    await second.tell('snapshot', {});
    assert.equal(world.opened, 2);
  }));

test('a token that is refused ends it, and another refusal does not', () =>
  inAWorld(async (world) => {
    world.refuse(503, 'overloaded');
    world.refuse(401, 'unauthorized');
    await world.start();
    assert.deepEqual(world.states, ['overloaded']);
    await world.pass(1_000);
    assert.deepEqual(world.states, ['overloaded', 'unauthorized']);
    await world.followed;
    await world.pass(3_600_000);
    assert.equal(world.asked.length, 2);
  }));

test('when it is ended nothing is told or asked any more, wherever it was', async () => {
  for (const where of ['streaming', 'waiting', 'hidden']) {
    await inAWorld(async (world) => {
      if (where === 'streaming') world.stream();
      if (where === 'hidden') world.page.hidden = true;
      await world.start();
      const [asked, states] = [world.asked.length, world.states.length];
      world.end.abort();
      await world.followed;
      await world.hide(false);
      await world.pass(3_600_000);
      assert.deepEqual([world.asked.length, world.states.length], [asked, states], where);
    });
  }
});

test('a refusal tells its code and detail, and one without a problem document its status', async () => {
  const world = new World();
  world.refuse(404, 'not_found');
  await assert.rejects(get('actors/5'), { status: 404, code: 'not_found', message: 'no' });
  world.answers.push(() => new Response('<html>', { status: 502 }));
  await assert.rejects(get('actors/5'), { status: 502, code: 'unknown', message: 'HTTP 502' });
});
