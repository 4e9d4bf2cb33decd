// Writes the modules once more as CommonJS into `cjs/`, for Jest and other tools that take no ES modules. `npm pack` runs it.

import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const here = new URL('./', import.meta.url);
const target = new URL('cjs/', here);

function commonJs(source) {
  const exported = [];
  const text = source
    .replace(/^import (\{.+\}) from ('.+');$/gm, 'const $1 = require($2);')
    .replace(/\bimport\(('.+?')\)/g, 'Promise.resolve().then(() => require($1))')
    .replace(/^export ((?:async )?function|class|const) (\w+)/gm, (_, kind, name) => {
      exported.push(name);
      return `${kind} ${name}`;
    });
  return `${text}\nmodule.exports = { ${exported.join(', ')} };\n`;
}

rmSync(target, { recursive: true, force: true });
mkdirSync(target);
writeFileSync(new URL('package.json', target), '{ "type": "commonjs" }\n');
for (const name of readdirSync(here)) {
  if (name.endsWith('.d.ts')) copyFileSync(new URL(name, here), new URL(name, target));
  if (name.endsWith('.js')) writeFileSync(new URL(name, target), commonJs(readFileSync(new URL(name, here), 'utf8')));
}
