/** Gradient rules of operators that move elements. */
import { describe, it } from 'vitest';
import { type Program, type Value } from '../../../src/program/index.js';
import { tensor } from '../../../src/tensor/index.js';
import { expectGradient, node, unknownSize } from '../expect-gradient.js';

const f64 = { dtype: 'float64', points: 1 } as const;

function check(
  name: string,
  shapes: readonly (readonly number[])[],
  build: (p: Program, ...x: Value[]) => Value,
): void {
  it(name, () => expectGradient(build, shapes, f64));
}

function indices(p: Program, dims: readonly number[], values: readonly number[]): Value {
  return p.constant(tensor('int64', dims, values));
}

describe('gradients of shape changes', () => {
  check('Reshape', [[2, 6]], (p, x) => p.reshape(x, [3, -1]));
  check('Flatten', [[2, 3, 2]], (p, x) => node(p, 'Flatten', [x], [2, 6], { axis: 1 }));
  check('Squeeze', [[2, 1, 3]], (p, x) => p.squeeze(x, [1]));
  check('Unsqueeze', [[2, 3]], (p, x) => p.unsqueeze(x, [0, -1]));
  check('Expand along a new axis and one of size 1', [[2, 1]], (p, x) => p.expand(x, [3, 2, 4]));
  check('Expand of sizes known only when running', [[2, 1, 3]], (p, x) =>
    unknownSize(p, x, (v) => p.expand(v, p.int64s([2, 4, 3]), [null, null, null]), [2, 4, 3], 0),
  );
  check('Transpose', [[2, 3, 4]], (p, x) => p.transpose(x, [2, 0, 1]));
  check('Transpose of all axes', [[2, 3]], (p, x) => node(p, 'Transpose', [x], [3, 2]));
  check('Tile', [[2, 3]], (p, x) => p.tile(x, [2, 3]));
  check('DepthToSpace', [[1, 8, 2, 3]], (p, x) =>
    node(p, 'DepthToSpace', [x], [1, 2, 4, 6], { blocksize: 2 }),
  );
  check('DepthToSpace, columns first', [[1, 8, 2, 3]], (p, x) =>
    node(p, 'DepthToSpace', [x], [1, 2, 4, 6], { blocksize: 2, mode: 'CRD' }),
  );
  check('SpaceToDepth', [[1, 2, 4, 6]], (p, x) =>
    node(p, 'SpaceToDepth', [x], [1, 8, 2, 3], { blocksize: 2 }),
  );
});

describe('gradients of parts', () => {
  check(
    'Concat',
    [
      [2, 3],
      [2, 1],
    ],
    (p, a, b) => p.concat([a, b], 1),
  );
  check(
    'Concat along the last axis',
    [
      [2, 3],
      [2, 1],
    ],
    (p, a, b) => p.concat([a, b], -1),
  );
  check(
    'Concat of sizes known only when running',
    [
      [2, 3],
      [2, 1],
    ],
    (p, a, b) => unknownSize(p, a, (v) => p.concat([v, b], 1), [2, 4], 0),
  );
  check('Split, all parts', [[2, 5]], (p, x) => {
    const [a, b] = p.split(x, [2, 3], 1) as [Value, Value];
    return p.concat([p.square(b), a], 1);
  });
  check('Split, one part', [[2, 5]], (p, x) => p.split(x, [2, 3], 1)[1] as Value);
  check('Slice', [[4, 5]], (p, x) => p.slice(x, { starts: [1, -3], ends: [3, -1] }));
  check('Slice beyond the end', [[4, 5]], (p, x) => p.slice(x, { starts: [1], ends: [99], axes: [1] }));
  check('Slice of sizes known only when running', [[4, 5]], (p, x) =>
    unknownSize(p, x, (v) => p.slice(v, { starts: [1], ends: [-1], axes: [0] }), [2, 5], 0),
  );
  check('Slice with steps', [[5, 4]], (p, x) =>
    p.slice(x, { starts: [0, 3], ends: [5, 0], axes: [0, 1], steps: [2, -2] }),
  );
  check('Pad', [[2, 3]], (p, x) => p.pad(x, [1, 0, 0, 2]));
  check('Pad with a computed value', [[2, 3], []], (p, x, v) => p.pad(x, [1, 0, 0, 2], { value: v }));
  check('Pad that cuts', [[3, 4]], (p, x) => p.pad(x, [1, -1, -1, 2]));
  check('Pad by reflection', [[1, 4]], (p, x) => p.pad(x, [0, 2, 0, 3], { mode: 'reflect' }));
  check('Pad by the edge', [[2, 3]], (p, x) => p.pad(x, [1, 1, 0, 2], { mode: 'edge' }));
  check('Trilu', [[3, 3]], (p, x) => node(p, 'Trilu', [x], [3, 3], { upper: 0 }));
});

describe('gradients of gathers', () => {
  check('Gather rows, one twice, one from the end', [[4, 3]], (p, x) =>
    p.gather(x, indices(p, [2, 2], [1, 1, -1, 0])),
  );
  check('Gather along the middle axis', [[2, 3, 2]], (p, x) => p.gather(x, indices(p, [4], [2, 0, 2, 1]), 1));
  check('Gather one column', [[2, 3]], (p, x) => p.gather(x, indices(p, [], [1]), -1));
  check('GatherElements', [[3, 3]], (p, x) => p.gatherElements(x, indices(p, [2, 3], [0, 1, 2, 2, 1, 0]), 0));
  check('GatherND', [[2, 3, 2]], (p, x) =>
    node(p, 'GatherND', [x, indices(p, [3, 2], [0, 1, 1, 2, 0, 1])], [3, 2]),
  );
});
