/** Taps run where they look, whatever the order in which they were added. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openSession, withOutputs } from '../../src/engine/index.js';
import { tapsEarly } from '../../src/engine/tap-order.js';
import { GraphEditor, withGraph, type Model } from '../../src/onnx/index.js';
import { tensor } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';

const folder = temporaryFolder();

const chain = model`
  opset 21
  (float32[N,4] x) => (float32[N,4] y) {
    a = [first] Sin(x)
    b = [second] Cos(a)
    c = [third] Sin(b)
    y = [last] Cos(c)
  }`;

/** With a sum of every value, added in the order given. */
function tapped(values: readonly string[]): Model {
  const editor = new GraphEditor(chain.graph);
  const sums = values.map((value) => editor.emit('ReduceSum', [value], { keepdims: 0 }, `${value}_sum`));
  return withOutputs(withGraph(chain, editor.finish()), sums);
}

/** Operators in the order in which the runtime runs them. */
async function runOrder(source: Model, name: string): Promise<string[]> {
  const session = await openSession(source, { threads: 1, profilePrefix: join(folder, name) });
  await session.run(new Map([['x', tensor('float32', [1, 4], [1, 2, 3, 4])]]));
  await session.release();
  const file = readdirSync(folder).find((f) => f.startsWith(name)) ?? '';
  const events = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
    name: string;
    cat: string;
    ts: number;
    args?: { op_name?: string };
  }[];
  return events
    .filter((e) => e.cat === 'Node' && e.name.endsWith('_kernel_time'))
    .sort((a, b) => a.ts - b.ts)
    .map((e) => e.args?.op_name ?? '');
}

describe('taps', () => {
  it.each([
    ['forward', ['a', 'b', 'c']],
    ['backward', ['c', 'b', 'a']],
    ['mixed', ['b', 'c', 'a']],
  ])('run behind what they look at, added %s', async (name, values) => {
    const order = await runOrder(tapped(values), name);
    expect(order).toEqual(['Sin', 'ReduceSum', 'Cos', 'ReduceSum', 'Sin', 'ReduceSum', 'Cos']);
  });

  it('stay in topological order, and so do the others', () => {
    const { nodes } = tapped(['b', 'a']).graph;
    expect(tapsEarly(nodes).map((n) => n.outputs[0])).toEqual(['a', 'b', 'c', 'y', 'b_sum', 'a_sum']);
  });
});
