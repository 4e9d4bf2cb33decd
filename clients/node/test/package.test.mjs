// The package as npm ships it: packed, installed somewhere else, used from projects of both kinds, and type-checked strictly.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as library from '@balance-coordinator/node';

const root = fileURLToPath(new URL('..', import.meta.url));
const modules = join(root, 'node_modules');
const notice = existsSync(join(modules, 'typescript')) ? false : 'needs npm packages: run `npm ci` in clients/node';
if (notice && process.env.CI) throw new Error(notice);

let folder;
let listed;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'balance-node-package-'));
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root, encoding: 'utf8' });
  const [{ filename, files }] = JSON.parse(packed);
  listed = files.map(({ path }) => path).sort();
  for (const project of ['commonjs', 'esm']) {
    const installed = join(folder, project, 'node_modules/@balance-coordinator/node');
    mkdirSync(installed, { recursive: true });
    execFileSync('tar', ['-xzf', join(folder, filename), '--strip-components=1', '-C', installed]);
    writeFileSync(join(folder, project, 'package.json'), JSON.stringify({ type: project === 'esm' ? 'module' : 'commonjs' }));
  }
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a file in a project, in a process of its own. */
function run(project, name, source) {
  const file = join(folder, project, name);
  writeFileSync(file, source);
  return execFileSync(process.execPath, [file], { encoding: 'utf8' }).trim();
}

const use = `
  const client = new BalanceCoordinator({ url: 'http://127.0.0.1:4', secret: 'whsec_dGVzdC13ZWJob29rLXNlY3JldC1vZi0zMi1ieXRlcyE=', maxRetries: 0 });
  client.rewards.create({ event_id: 'e', user_id: 1, currency: 'UNI', amount: amount.from(0.1, { decimals: 9 }) })
    .catch((error) => console.log(error instanceof BalanceCoordinatorError, error instanceof ConnectionError, error.outcome));
`;

test('the package holds the sources, their types and a readme, and depends on nothing', () => {
  const sources = readdirSync(join(root, 'src')).map((name) => `src/${name}`);
  assert.deepEqual(listed, [...sources, 'README.md', 'package.json'].sort());
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined]);
  for (const name of readdirSync(join(root, 'src')).filter((file) => /\.m?js$/.test(file))) {
    const text = readFileSync(join(root, 'src', name), 'utf8');
    const imports = [...text.matchAll(/(?:require\(|from\s+|import\()'([^']+)'/g)].map(([, what]) => what);
    assert.ok(
      imports.every((what) => what.startsWith('./') || what.startsWith('node:')),
      `${name}: ${imports}`,
    );
  }
});

test('a CommonJS project requires it', () => {
  assert.equal(
    run(
      'commonjs',
      'use.js',
      `const { amount, BalanceCoordinator, BalanceCoordinatorError, ConnectionError } = require('@balance-coordinator/node');${use}`,
    ),
    'true true refused',
  );
});

test('an ESM project imports it', () => {
  assert.equal(
    run(
      'esm',
      'use.js',
      `import { amount, BalanceCoordinator, BalanceCoordinatorError, ConnectionError } from '@balance-coordinator/node';${use}`,
    ),
    'true true refused',
  );
});

test('both kinds in one process have the same classes', () => {
  const output = run(
    'commonjs',
    'both.js',
    `
    const required = require('@balance-coordinator/node');
    import('@balance-coordinator/node').then((imported) => {
      const { default: _, 'module.exports': __, ...named } = imported;
      console.log(Object.keys(named).every((name) => named[name] === required[name]), Object.keys(named).length === Object.keys(required).length);
    });`,
  );
  assert.equal(output, 'true true');
});

test('the types fit the use, in projects of both kinds, strictly', { skip: notice }, () => {
  const compiler = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  for (const [project, extension] of [
    ['esm', 'mts'],
    ['commonjs', 'cts'],
  ]) {
    const target = join(folder, project);
    cpSync(join(root, 'test/types/usage.ts'), join(target, `usage.${extension}`));
    cpSync(join(root, 'test/types/tsconfig.json'), join(target, 'tsconfig.json'));
    mkdirSync(join(target, 'node_modules/@types'), { recursive: true });
    symlinkSync(join(modules, '@types/node'), join(target, 'node_modules/@types/node'));
    symlinkSync(join(modules, 'undici-types'), join(target, 'node_modules/undici-types'));
    try {
      execFileSync(process.execPath, [compiler, '-p', target], { encoding: 'utf8' });
    } catch (error) {
      assert.fail(`${project}: ${error.stdout}`);
    }
  }
});

test('the declarations name what the modules export', () => {
  const declarations = readdirSync(join(root, 'src')).filter((name) => name.endsWith('.d.ts'));
  const texts = declarations.map((name) => readFileSync(join(root, 'src', name), 'utf8'));
  const declared = texts.flatMap((text) => [...text.matchAll(/^export (?:class|function|const) (\w+)/gm)].map(([, name]) => name));
  assert.deepEqual(declared.sort(), Object.keys(library).sort());
});
