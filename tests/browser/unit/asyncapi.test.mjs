// docs/asyncapi.yaml is a right AsyncAPI document, and describes the frames that a service and its clients exchange.
// BALANCE_TEST_FRAMES=FILE checks further recorded frames: JSON lines of {"from":"server"|"client","frame":{…}}, or of bare
// frames of the server.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const document = parse(readFileSync(join(here, '../../../docs/asyncapi.yaml'), 'utf8'));

const FROM_CLIENT = ['auth', 'refresh', 'ping', 'displayed'];
const FROM_SERVER = ['hello', 'balance', 'balance_update', 'pong', 'error'];

/** For this check nothing may be there that the description does not know. */
function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (schema === null || typeof schema !== 'object') return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return copy.type === 'object' && copy.properties && copy.additionalProperties === undefined
    ? { ...copy, additionalProperties: false }
    : copy;
}

const ajv = new Ajv({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema({ $id: 'asyncapi', components: closed(document.components) });
const validators = new Map(
  [...FROM_CLIENT, ...FROM_SERVER].map((type) => [type, ajv.compile({ $ref: `asyncapi#/components/schemas/${type}` })]),
);

function problems(from, frame) {
  const types = from === 'client' ? FROM_CLIENT : FROM_SERVER;
  if (!types.includes(frame?.type)) return `${from} sends no ${JSON.stringify(frame?.type)}`;
  const validate = validators.get(frame.type);
  return validate(frame) ? null : ajv.errorsText(validate.errors);
}

const lines = (path) => {
  const texts = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  return texts.map((text) => JSON.parse(text)).map((line) => (line.frame ? line : { from: 'server', frame: line }));
};

function check(path) {
  const found = lines(path);
  for (const { from, frame } of found) assert.equal(problems(from, frame), null, JSON.stringify(frame));
  return found;
}

test('the description is an AsyncAPI 3 document', () => {
  const ajv = new Ajv({ strict: false, allErrors: true, validateSchema: false });
  addFormats(ajv);
  const validate = ajv.compile(require('@asyncapi/specs/schemas/3.0.0-without-$id.json'));
  assert.ok(validate(document), ajv.errorsText(validate.errors));
});

test('every reference leads somewhere', () => {
  const at = (reference) => reference.slice(2).split('/').reduce((place, key) => place?.[key], document);
  const references = [...readFileSync(join(here, '../../../docs/asyncapi.yaml'), 'utf8').matchAll(/\$ref: '(#[^']+)'/g)];
  assert.ok(references.length > 50);
  for (const [, reference] of references) assert.ok(at(reference), reference);
});

test('every message has its schema, and belongs to an operation', () => {
  const messages = Object.keys(document.components.messages).sort();
  assert.deepEqual(messages, [...FROM_CLIENT, ...FROM_SERVER].sort());
  assert.deepEqual(Object.keys(document.channels.session.messages).sort(), messages);
  const operations = JSON.stringify(document.operations);
  for (const name of messages) assert.ok(operations.includes(`#/channels/session/messages/${name}"`), name);
});

test('the frames of a recorded session are as described, and all kinds are among them', () => {
  const found = check(join(here, '../asyncapi/recorded.jsonl'));
  const kinds = new Set(found.map(({ frame }) => frame.type));
  assert.deepEqual([...kinds].sort(), [...FROM_CLIENT, ...FROM_SERVER].sort());
  const reasons = found.map(({ frame }) => frame.reason ?? frame.mode ?? (frame.type === 'error' ? frame.code : null));
  for (const reason of ['snapshot', 'refresh', 'direct', 'paced', 'invalid_message', 'rate_limited']) {
    assert.ok(reasons.includes(reason), reason);
  }
});

if (process.env.BALANCE_TEST_FRAMES) {
  test('frames that were recorded elsewhere are as described', (t) => {
    t.diagnostic(`${check(process.env.BALANCE_TEST_FRAMES).length} frames`);
  });
}

test('the description refuses what the protocol rules out', () => {
  const found = lines(join(here, '../asyncapi/recorded.jsonl'));
  const update = found.find(({ frame }) => frame.type === 'balance_update').frame;
  const balance = found.find(({ frame }) => frame.type === 'balance').frame;
  const hello = found.find(({ frame }) => frame.type === 'hello').frame;
  for (const frame of [
    { ...update, version: 0 }, { ...update, balances: undefined }, { ...update, balances: {} }, { ...update, balances: { TON: 1 } },
    { ...update, balances: { TON: '-1.0' } }, { ...update, changes: { TON: '0.000000000' } }, { ...update, entries: 0 },
    { ...update, mode: 'slow' }, { ...update, sources: 'deposit' }, { ...update, committed_at: '2025-08-04T10:05:00Z' },
    { ...balance, reason: 'later' }, { ...balance, stale: 'no' }, { ...balance, user_id: 0 }, { ...balance, id: null },
    { ...balance, later: 1 }, { ...hello, protocol: 'balance.v2' }, { ...hello, client_cache: {} },
    { type: 'error', code: 'unheard_of', message: 'm' }, { type: 'error', code: 'rate_limited' }, { type: 'error', code: 'rate_limited', message: 'm' }, { type: 'auth', token: 't' }, {}, null,
  ]) {
    assert.notEqual(problems('server', JSON.parse(JSON.stringify(frame))), null, JSON.stringify(frame));
  }
  for (const frame of [
    { type: 'auth' }, { type: 'auth', token: 't', init_data: 'i' }, { type: 'displayed' }, { type: 'displayed', version: -1 },
    { type: 'refresh', id: [1] }, { type: 'refresh', user_id: 7 }, { type: 'hello' },
  ]) {
    assert.notEqual(problems('client', frame), null, JSON.stringify(frame));
  }
  const away = { type: 'error', code: 'ledger_unavailable', message: 'm', id: 7, retry_after_ms: 1000 };
  assert.equal(problems('server', away), null);
  assert.equal(problems('client', { type: 'auth', init_data: 'user=1' }), null);
});
