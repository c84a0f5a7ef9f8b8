import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { sharedFloat64, startThread } from '../../src/core/index.js';

const folder = mkdtempSync(join(tmpdir(), 'fxq-threads-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** An entry that speaks the protocol of `serveThread`; TypeScript sources cannot be one. */
function entry(name: string, answer: string): URL {
  const path = join(folder, `${name}.mjs`);
  writeFileSync(
    path,
    `import { parentPort } from 'node:worker_threads';
     const reply = (answer) => parentPort.postMessage({ kind: 'answered', answer });
     parentPort.on('message', (request) => { ${answer} });`,
  );
  return pathToFileURL(path);
}

test('a thread is ended only when everything asked has been answered', async () => {
  const thread = startThread<number, number>(entry('slow', 'setTimeout(() => reply(request + 1), 100);'));
  const answers = [thread.request(1), thread.request(2)];
  await thread.close();
  expect(await Promise.all(answers)).toEqual([2, 3]);
});

test('closing does not wait for a thread that failed, and asking it is an error', async () => {
  const thread = startThread<number, number>(entry('broken', "throw new Error('broken');"));
  await expect(thread.request(1)).rejects.toThrow('broken');
  await thread.close();
  await expect(thread.request(2)).rejects.toThrow('broken');
});

test('shared numbers are not copied on the way', async () => {
  const thread = startThread<Float64Array, number>(entry('shared', 'request[0] = 7; reply(0);'));
  const numbers = sharedFloat64(2);
  await thread.request(numbers);
  await thread.close();
  expect([...numbers]).toEqual([7, 0]);
});
