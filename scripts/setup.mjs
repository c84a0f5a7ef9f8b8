// Makes a fresh clone ready: installs the locked dependencies and builds, each only when something changed.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function run(command, args) {
  // The environment variable is what every npm version honours: no CUDA download from onnxruntime-node.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' };
  const { status } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (status !== 0) process.exit(status ?? 1);
}

function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newest(join(path, name))));
}

const at = (...parts) => join(root, ...parts);

if (
  !existsSync(at('node_modules/.package-lock.json')) ||
  newest(at('package-lock.json')) > newest(at('node_modules/.package-lock.json'))
) {
  run('npm', ['ci', '--no-audit', '--no-fund']);
}
if (!existsSync(at('dist/.built')) || newest(at('src')) > newest(at('dist/.built'))) {
  run('npm', ['run', '--silent', 'build']);
}
