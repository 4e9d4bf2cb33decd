// Builds each page into `dist/`, with the library as it would be published.

import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import './pack.mjs';

const here = import.meta.dirname;
const dist = join(here, 'dist');
const run = (args, env = {}) =>
  execFileSync(process.execPath, args, { cwd: here, stdio: 'inherit', env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', ...env } });
const vite = (folder, name, env) =>
  run([join(here, 'node_modules/vite/bin/vite.js'), 'build', folder, '--logLevel', 'warn', '--emptyOutDir', '--outDir', join(dist, name)], env);

rmSync(dist, { recursive: true, force: true });
vite('react', 'react');
vite('react', 'react18', { REACT: '18' });
vite('vue', 'vue');
run([join(here, 'node_modules/next/dist/bin/next'), 'build', 'next']);
cpSync(join(here, 'next/out'), join(dist, 'next'), { recursive: true });
