// Packs the library as it would be published and installs it beside the frameworks.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const here = import.meta.dirname;
const packed = mkdtempSync(join(tmpdir(), 'balance-client-'));
const [{ filename }] = JSON.parse(
  execFileSync('npm', ['pack', '--json', '--pack-destination', packed], { cwd: join(here, '../../../src/web/client'), encoding: 'utf8' }),
);
const installed = join(here, 'node_modules/@balance-coordinator/client');
rmSync(installed, { recursive: true, force: true });
mkdirSync(installed, { recursive: true });
execFileSync('tar', ['-xzf', join(packed, filename), '--strip-components=1', '-C', installed], { stdio: 'inherit' });
rmSync(packed, { recursive: true });
