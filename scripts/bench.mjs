// `npm run bench -- NAME FOLDER …`: compiles the benchmarks and runs one. FOLDER holds the models (or FXQ_MODELS).
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const [name, ...args] = process.argv.slice(2);
if (name === undefined || !existsSync(`${root}/bench/${name}.ts`)) {
  const names = readdirSync(`${root}/bench`).map((file) => file.replace(/\.ts$/, ''));
  console.error(`Usage: npm run bench -- NAME FOLDER …\nBenchmarks: ${names.join(', ')}`);
  process.exit(2);
}
const run = (...command) => spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit' }).status ?? 1;
const compiled = run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json');
if (compiled !== 0) process.exit(compiled);
copyFileSync(`${root}/package.json`, `${root}/dist-bench/package.json`);
process.exit(run(`dist-bench/bench/${name}.js`, ...args));
