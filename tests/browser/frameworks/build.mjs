// Packs the library as it would be published, installs it beside the frameworks, and builds each page into `dist/`.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const here = import.meta.dirname;
const dist = join(here, 'dist');
const run = (command, args, cwd = here) => execFileSync(command, args, { cwd, stdio: 'inherit', env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' } });

const packed = mkdtempSync(join(tmpdir(), 'balance-client-'));
const [{ filename }] = JSON.parse(
  execFileSync('npm', ['pack', '--json', '--pack-destination', packed], { cwd: join(here, '../../../src/web/client'), encoding: 'utf8' }),
);
const installed = join(here, 'node_modules/@balance-coordinator/client');
rmSync(installed, { recursive: true, force: true });
mkdirSync(installed, { recursive: true });
run('tar', ['-xzf', join(packed, filename), '--strip-components=1', '-C', installed]);
rmSync(packed, { recursive: true });

rmSync(dist, { recursive: true, force: true });
for (const name of ['react', 'vue']) {
  run(process.execPath, [join(here, 'node_modules/vite/bin/vite.js'), 'build', name, '--logLevel', 'warn', '--emptyOutDir', '--outDir', join(dist, name)]);
}
run(process.execPath, [join(here, 'node_modules/next/dist/bin/next'), 'build', 'next']);
cpSync(join(here, 'next/out'), join(dist, 'next'), { recursive: true });
cpSync(join(here, 'plain'), join(dist, 'plain'), { recursive: true });
cpSync(join(here, 'shared/token.js'), join(dist, 'plain/token.js'));
