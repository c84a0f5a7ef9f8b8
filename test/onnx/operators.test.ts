import { describe, expect, it } from 'vitest';
import { OPERATORS, dataInputs, dataOutputs, operatorFacts, weightSlots } from '../../src/onnx/operators.js';
import { openSession } from '../../src/engine/index.js';
import { graph, model, node, type AttributeInput, type Node } from '../../src/onnx/index.js';

const make = (
  opType: string,
  inputs: readonly string[],
  attributes: Record<string, AttributeInput> = {},
): Node => node(opType, inputs, ['y'], attributes);

describe('operatorFacts', () => {
  it('finds operators by domain and name', () => {
    expect(operatorFacts(make('Conv', ['x', 'w']))?.category).toBe('weighted');
    expect(operatorFacts(node('FastGelu', ['x'], ['y'], {}, { domain: 'com.microsoft' }))?.category).toBe(
      'elementwise',
    );
    expect(operatorFacts(node('Conv', ['x', 'w'], ['y'], {}, { domain: 'my.domain' }))).toBeUndefined();
    expect(operatorFacts(make('NoSuchOperator', ['x']))).toBeUndefined();
    expect(operatorFacts(make('toString', ['x']))).toBeUndefined();
  });

  it('tells nearest neighbour, which copies, from interpolation, which averages', () => {
    expect(operatorFacts(make('Resize', ['x']))?.category).toBe('movement');
    expect(operatorFacts(make('Resize', ['x'], { mode: 'linear' }))?.category).toBe('reduction');
  });

  it('lists value inputs and outputs, present ones only', () => {
    expect(dataInputs(make('Clip', ['x', '', 'max']))).toEqual([0]);
    expect(dataInputs(make('Where', ['c', 'a', 'b']))).toEqual([1, 2]);
    expect(dataInputs(make('Concat', ['a', 'b', 'c']))).toEqual([0, 1, 2]);
    expect(dataInputs(make('LSTM', ['x', 'w', 'r', '', '', 'h', '']))).toEqual([0, 5]);
    expect(dataInputs(make('Shape', ['x']))).toEqual([]);
    expect(dataOutputs(node('Split', ['x'], ['a', 'b']))).toEqual([0, 1]);
    expect(dataOutputs(node('MaxPool', ['x'], ['y', 'indices']))).toEqual([0]);
    expect(dataOutputs(node('ArgMax', ['x'], ['y']))).toEqual([]);
  });
});

/** Output channel axis, reduction axes and groups of the weight at an input, as the ONNX specification lays it out. */
const LAYOUTS: [
  name: string,
  node: Node,
  input: number,
  rank: number,
  axis: number,
  reduction: number[],
  groups: number,
][] = [
  ['Conv [M, C/g, kH, kW]', make('Conv', ['x', 'w'], { group: 2 }), 1, 4, 0, [1, 2, 3], 2],
  ['ConvTranspose [C, M/g, kH, kW]', make('ConvTranspose', ['x', 'w'], { group: 2 }), 1, 4, 1, [0, 2, 3], 2],
  ['Gemm [K, N]', make('Gemm', ['x', 'w']), 1, 2, 1, [0], 1],
  ['Gemm [N, K]', make('Gemm', ['x', 'w'], { transB: 1 }), 1, 2, 0, [1], 1],
  ['MatMul [K, N]', make('MatMul', ['x', 'w']), 1, 2, 1, [0], 1],
  ['MatMul [B, K, N]', make('MatMul', ['x', 'w']), 1, 3, 2, [1], 1],
  ['MatMul [M, K] on the left', make('MatMul', ['w', 'x']), 0, 2, 0, [1], 1],
  ['Gather [V, D]', make('Gather', ['w', 'i']), 0, 2, 0, [1], 1],
  ['Gather [D, V] along its last axis', make('Gather', ['w', 'i'], { axis: -1 }), 0, 2, 1, [0], 1],
  ['LSTM W [D, 4H, I]', make('LSTM', ['x', 'w', 'r']), 1, 3, 1, [2], 1],
  ['GRU R [D, 3H, H]', make('GRU', ['x', 'w', 'r']), 2, 3, 1, [2], 1],
];

it.each(LAYOUTS)('the weight of %s', (_, layer, input, rank, axis, reduction, groups) => {
  const slot = weightSlots(layer).find((s) => s.input === input);
  expect(slot?.channelAxis(layer, rank)).toBe(axis);
  expect(slot?.reductionAxes(layer, rank)).toEqual(reduction);
  expect(slot?.groups(layer)).toBe(groups);
});

/** Operators the runtime's schemas do not have, out of these. */
async function unregistered(names: readonly string[]): Promise<string[]> {
  const missing: string[] = [];
  for (const name of names) {
    const dot = name.lastIndexOf('.');
    const probe = node(name.slice(dot + 1), [], ['y'], {}, { domain: name.slice(0, Math.max(dot, 0)) });
    const parts = { inputs: [], outputs: [{ name: 'y', type: undefined, proto: {} }], nodes: [probe] };
    const error = await openSession(model(graph(parts), 26, { 'com.microsoft': 1 })).catch((e: unknown) => e);
    if (/No Op registered|is not a registered/.test(String(error))) missing.push(name);
  }
  return missing;
}

it('lists operators that exist, under their names', async () => {
  expect(await unregistered([...Object.keys(OPERATORS), 'Nope', 'com.microsoft.Nope'])).toEqual([
    'Nope',
    'com.microsoft.Nope',
  ]);
});
