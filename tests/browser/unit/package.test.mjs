// The package as npm ships it: packed, installed somewhere else, imported by its name.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { World } from './support/world.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const client = join(here, '../../../src/web/client');
const modules = join(here, '../node_modules');
const require = createRequire(import.meta.url);

let folder;
let listed;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'balance-client-'));
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: client, encoding: 'utf8' });
  const [{ filename, files }] = JSON.parse(packed);
  listed = files.map(({ path }) => path).sort();
  const installed = join(folder, 'node_modules/@balance-coordinator/client');
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '--strip-components=1', '-C', installed]);
  for (const name of ['react', 'react-dom', 'scheduler']) symlinkSync(join(modules, name), join(folder, 'node_modules', name));
  mkdirSync(join(folder, 'node_modules/@types'));
  symlinkSync(join(modules, '@types/react'), join(folder, 'node_modules/@types/react'));
  symlinkSync(join(modules, 'csstype'), join(folder, 'node_modules/csstype'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a module in a process of its own beside the installed package. */
function run(source) {
  const file = join(folder, `run-${Math.random().toString(36).slice(2)}.mjs`);
  writeFileSync(file, source);
  return execFileSync(process.execPath, [file], { encoding: 'utf8' }).trim();
}

test('the library stays small: what the service sends is compressed from this', (t) => {
  const size = (name) => gzipSync(readFileSync(join(client, name)), { level: 9 }).length;
  t.diagnostic(`balance-client.js ${size('balance-client.js')} bytes, tabs.js ${size('tabs.js')} bytes`);
  assert.ok(size('balance-client.js') <= 12_288);
  assert.ok(size('tabs.js') <= 3_200);
});

test('the package holds the modules, their types and a readme, and nothing else', () => {
  const modules = ['balance-client', 'element', 'react', 'testing'].flatMap((name) => [`${name}.d.ts`, `${name}.js`]);
  const files = [...modules, 'tabs.js'];
  assert.deepEqual(listed, [...files, ...[...files, 'package.json'].map((name) => `cjs/${name}`), 'README.md', 'package.json'].sort());
  const { dependencies, sideEffects } = JSON.parse(readFileSync(join(client, 'package.json'), 'utf8'));
  assert.deepEqual([dependencies, sideEffects], [undefined, false]);
});

test('no module imports anything but its own files and React', () => {
  for (const name of readdirSync(client).filter((file) => file.endsWith('.js'))) {
    const text = readFileSync(join(client, name), 'utf8');
    const imports = [...text.matchAll(/(?:from\s+|import\()'([^']+)'/g)].map(([, what]) => what);
    assert.ok(imports.every((what) => what.startsWith('./') || (name === 'react.js' && what === 'react')), `${name}: ${imports}`);
  }
});

test('the packed package is imported by name', () => {
  const output = run(`
    import { add, BalanceClient, BalanceError, compare, format } from '@balance-coordinator/client';
    const client = new BalanceClient({ url: 'https://b.example', getToken: () => null });
    console.log(JSON.stringify([client.current.status, format('1.5', { locale: 'en' }), add('1', '2'), compare('1', '2'), new BalanceError('x').code]));
  `);
  assert.deepEqual(JSON.parse(output), ['closed', '1.5', '3', -1, 'x']);
});

test('the packed package is loaded by require', () => {
  const output = run(`
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    const { BalanceClient, BalanceError, format } = require('@balance-coordinator/client');
    const { fakeBalance } = require('@balance-coordinator/client/testing');
    const { useBalance } = require('@balance-coordinator/client/react');
    const { define } = require('@balance-coordinator/client/element');
    const client = new BalanceClient({ url: 'https://b.example', getToken: () => null });
    define();
    console.log(JSON.stringify([client.current.status, format('1.5', { locale: 'en' }), fakeBalance().current.status, typeof useBalance, new BalanceError('closed').code]));
  `);
  assert.deepEqual(JSON.parse(output), ['closed', '1.5', 'closed', 'function', 'closed']);
});

test('a fake balance is live with what the test says, and tells what changes', () => {
  const output = run(`
    import { fakeBalance } from '@balance-coordinator/client/testing';
    const fake = fakeBalance({ balances: { TON: '1.5' } });
    const told = [];
    const end = fake.subscribe(({ status, balances }) => told.push([status, balances?.TON ?? null]));
    fake.set({ balances: { TON: '2' } });
    fake.stop();
    end();
    fake.set({ status: 'live' });
    console.log(JSON.stringify([told, (await fake.refresh()).status]));
  `);
  assert.deepEqual(JSON.parse(output), [[['live', '2'], ['closed', null]], 'live']);
});

test('importing has no effect, not even that of the element', () => {
  const output = run(`
    const before = Object.keys(globalThis).length;
    const element = await import('@balance-coordinator/client/element');
    await import('@balance-coordinator/client');
    element.define(); // on a server
    console.log(JSON.stringify([Object.keys(globalThis).length - before, typeof element.define, typeof element.TonBalance]));
  `);
  assert.deepEqual(JSON.parse(output), [0, 'function', 'function']);
});

test('the React hook renders on a server, as nothing known yet', () => {
  const output = run(`
    import { createElement } from 'react';
    import { renderToString } from 'react-dom/server';
    import { BalanceClient } from '@balance-coordinator/client';
    import { useBalance } from '@balance-coordinator/client/react';
    const client = new BalanceClient({ url: 'https://b.example', getToken: () => null });
    const Balance = () => createElement('p', null, useBalance(client).balances?.TON ?? 'unknown', useBalance(client, ({ status }) => status), useBalance(null).version);
    console.log(renderToString(createElement(Balance)));
  `);
  assert.match(output, /unknown.*closed/);
  assert.match(readFileSync(join(client, 'react.js'), 'utf8'), /^'use client';/);
});

test('the types fit the use', () => {
  cpSync(join(here, '../types'), join(folder, 'types'), { recursive: true });
  const compiler = require.resolve('typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [compiler, '-p', join(folder, 'types'), '--typeRoots', join(folder, 'node_modules/@types')], { encoding: 'utf8' });
  } catch (error) {
    assert.fail(error.stdout);
  }
});

test('the declarations name what the modules export', async () => {
  for (const name of ['balance-client', 'element', 'testing']) {
    const exported = Object.keys(await import(pathToFileURL(join(client, `${name}.js`)))).sort();
    const text = readFileSync(join(client, `${name}.d.ts`), 'utf8');
    const declared = [...text.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, what]) => what).sort();
    assert.deepEqual(declared, exported, name);
  }
});

test('a fresh client has the state that the hook starts from', async (t) => {
  const world = new World(t);
  const text = readFileSync(join(client, 'react.js'), 'utf8');
  const unknown = new Function(`return ${text.match(/Object\.freeze\((\{[^}]*\})\)/)[1]}`)();
  assert.deepEqual({ ...world.client().current }, unknown);
});
