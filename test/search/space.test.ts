import { expect, test, describe } from 'vitest';
import { inferValueTypes } from '../../src/engine/index.js';
import { DEFAULT_SETTINGS, matchRules, planQuantization } from '../../src/plan/index.js';
import {
  FLOAT_FORMATS,
  HARDWARE,
  INT8_FORMATS,
  allocationGroups,
  assignmentOf,
  assignmentRules,
  candidateId,
  candidatesFor,
  groupLayers,
  limitsOf,
  parseBudget,
  restOf,
  searchLayers,
  totalsAt,
  type LayerCandidate,
  type SearchSpace,
} from '../../src/search/index.js';
import { model } from '../helpers/model.js';

const net = model`
  opset 17
  (float32[batch,16] x) => (float32[batch,16] y) {
    w: float32[16,16] = random()
    v: float32[16,16] = random()
    b: float32[16] = random()
    a = [first] MatMul(x, w)
    c = [second] MatMul(a, w)
    d = [third] MatMul(c, v)
    y = Add(d, b)
  }`;
const plan = planQuantization(net, await inferValueTypes(net), DEFAULT_SETTINGS);
const types = await inferValueTypes(net);
const layers = searchLayers(net, types, plan);
const candidates: LayerCandidate[] = ['int8', 'int4', 'float'].map((weights) => ({
  weights,
  activations: weights === 'float' ? 'float' : 'uint8',
  granularity: 'channel',
  solver: 'nearest',
}));
const space: SearchSpace = {
  groups: groupLayers(layers, () => candidates),
  hardware: HARDWARE.generic,
  costs: ['size', 'bops'],
  rest: restOf(net, types, plan, layers),
};

describe('candidatesFor', () => {
  const axes = {
    weights: ['int4', 'float'],
    activations: ['uint8', 'float'],
    granularity: ['channel', { block: 32 }] as const,
    sparsity: ['dense', '2:4'],
    solvers: ['nearest', 'joint'],
  };
  test('combines the axes, without patterns where they are not allowed and without settings of float weights', () => {
    const ids = candidatesFor(layers[0]!, axes, () => false).map(candidateId);
    expect(ids).toEqual([
      'int4/uint8',
      'int4/uint8 block32',
      'int4/float',
      'int4/float block32',
      'float/float',
    ]);
    const sparse = candidatesFor(layers[0]!, axes, (node, pattern) => node === 'first' && pattern === '2:4');
    expect(sparse.filter((c) => c.sparsity === '2:4')).toHaveLength(4);
  });

  test('leaves out what needs a wider accumulator', () => {
    const wide = {
      ...axes,
      weights: ['int4', 'int8'],
      activations: ['uint8'],
      granularity: ['channel'] as const,
      sparsity: ['dense'],
      solvers: ['nearest'],
    };
    // 16 products: 4 + 8 + 4 bits.
    const fitting = candidatesFor(layers[0]!, { ...wide, maxAccumulator: 16 }, () => false);
    expect(fitting.map((c) => c.weights)).toEqual(['int4']);
  });
});

describe('groups and costs', () => {
  test('layers that share a weight are one group, which stores it once and multiplies twice', () => {
    expect(space.groups.map((g) => g.layers.map((l) => l.node))).toEqual([['first', 'second'], ['third']]);
    const groups = allocationGroups(space, {
      loss: [
        [1, 2, 0],
        [3, 4, 0],
      ],
    });
    const [shared, single, rest] = groups;
    expect(shared!.candidates[0]!.amounts).toEqual({ loss: 1, size: 256 + 16 * 5, bops: 2 * 256 * 64 });
    expect(single!.candidates[1]!.amounts).toEqual({ loss: 4, size: 128 + 16 * 4 + 8, bops: 256 * 32 });
    expect(rest!.candidates).toEqual([
      { id: 'as it is', amounts: expect.objectContaining({ loss: 0, size: 16 * 4, bops: 0 }) },
    ]);
  });

  test('ties of the caller join further layers', () => {
    const tied = groupLayers(layers, () => candidates, [['second', 'third']]);
    expect(tied).toHaveLength(1);
  });

  test('budgets are shares of all float or all 8 bits', () => {
    expect(totalsAt(space, FLOAT_FORMATS).size).toBe(2 * 256 * 4 + 64);
    expect(totalsAt(space, INT8_FORMATS).size).toBe(2 * (256 + 80) + 64);
    const [size, bops] = limitsOf(space, [parseBudget('size=50%@int8'), parseBudget('bops=10%')]);
    expect(size).toEqual({ amount: 'size', max: (2 * 336 + 64) / 2 });
    expect(bops?.max).toBeCloseTo((3 * 256 * 32 * 32) / 10, 6);
  });
});

test('an assignment becomes rules that the planner follows', () => {
  const assignment = assignmentOf(space, [1, 2, 0]);
  const rules = assignmentRules(assignment, 'uint8', new Map([['first', 'because']]));
  expect(rules).toEqual([
    {
      match: { node: 'first' },
      weights: 'int4',
      activations: 'uint8',
      results: 'uint8',
      why: 'because',
      granularity: 'channel',
      solver: 'nearest',
    },
    {
      match: { node: 'second' },
      weights: 'int4',
      activations: 'uint8',
      results: 'uint8',
      granularity: 'channel',
      solver: 'nearest',
    },
    { match: { node: 'third' }, quantize: false },
  ]);
  expect(matchRules(net.graph, rules).size).toBe(3);
  const planned = planQuantization(net, types, { ...DEFAULT_SETTINGS, nodes: rules });
  expect(planned.weights.w?.format).toBe('int4');
  expect(planned.nodes.third?.decision).toBe('float');
});
