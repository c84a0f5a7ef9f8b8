/**
 * The ResNet-18 instance that HAWQ publishes with its integer program (Zhen-Dong/HAWQ, ILP.ipynb): Hessian traces per
 * parameter, squared weight changes at 4 and 8 bits, parameters, bit operations. Downsampling convolutions are tied to
 * the main branch.
 */
import { describe, expect, test } from 'vitest';
import {
  allocate,
  explain,
  keepsLimits,
  tieGroups,
  type Group,
} from '../../../src/search/allocation/index.js';

const trace = [
  0.06857826, 0.03162379, 0.03298575, 0.01205663, 0.02222431, 0.00596336, 0.06931772, 0.00807129, 0.00372905,
  0.00530698, 0.00209011, 0.00737569, 0.00210454, 0.00151197, 0.00158041, 0.00078146, 0.00451841, 0.00098745,
  0.00072944,
];
const change8 = [
  0.0235, 0.0125, 0.0102, 0.0082, 0.0145, 0.0344, 0.0023, 0.0287, 0.0148, 0.0333, 0.0682, 0.0027, 0.0448,
  0.0336, 0.0576, 0.113, 0.0102, 0.0947, 0.0532,
];
const change4 = [
  6.743, 3.9691, 3.3281, 2.6796, 4.7277, 10.5966, 0.6827, 9.0942, 4.8857, 10.7599, 21.7546, 0.8603, 14.5324,
  10.9651, 18.7706, 36.4044, 3.1572, 29.6994, 17.4016,
];
const parameters = [
  36864, 36864, 36864, 36864, 73728, 147456, 8192, 147456, 147456, 294912, 589824, 32768, 589824, 589824,
  1179648, 2359296, 131072, 2359296, 2359296,
];

const layers: Group[] = trace.map((t, l) => ({
  name: `layer${l}`,
  layers: [`layer${l}`],
  candidates: [
    { id: 'int4', amounts: { loss: t * change4[l]!, size: parameters[l]! / 2 } },
    { id: 'int8', amounts: { loss: t * change8[l]!, size: parameters[l]! } },
  ],
}));
const ties = [
  ['layer4', 'layer6'],
  ['layer9', 'layer11'],
  ['layer14', 'layer16'],
];
const size8 = parameters.reduce((a, b) => a + b);

/** A share of the way from all 4 bits to all 8 bits, as HAWQ states its limits. */
const sizeAt = (share: number): number => (size8 / 2) * (1 + share);

describe('the ResNet-18 instance of HAWQ', () => {
  const groups = tieGroups(layers, ties);
  const problem = (share: number) => ({
    groups,
    minimize: 'loss',
    limits: [{ amount: 'size', max: sizeAt(share) }],
  });

  // Optima computed independently (methods reference, B13).
  test.each([
    [0.5, 0.0745],
    [0.75, 0.0334],
  ])('has its known optimum at %f of the size range', (share, loss) => {
    for (const method of ['integer', 'dynamic'] as const) {
      const found = allocate(problem(share), method);
      expect(found.totals.loss).toBeCloseTo(loss, 4);
      expect(keepsLimits(problem(share), found)).toBe(true);
    }
  });

  test('catches greedy, which ends 22 % worse at half the range', () => {
    expect(allocate(problem(0.5), 'greedy').totals.loss).toBeCloseTo(0.091, 3);
  });

  test('gives tied layers one width', () => {
    const { choice } = allocate(problem(0.5));
    expect(groups).toHaveLength(16);
    expect(groups.find((g) => g.name === 'layer4+layer6')?.layers).toEqual(['layer4', 'layer6']);
    expect(choice).toHaveLength(16);
  });

  test('explains each choice by the one it is closest to', () => {
    const found = allocate(problem(0.5));
    const explanations = explain(problem(0.5), found);
    for (const { chosen, cheaper, better } of explanations) {
      expect(chosen === 'int8' ? cheaper?.id : better?.id).toBe(chosen === 'int8' ? 'int4' : 'int8');
    }
    // layer0 is the most sensitive per byte: giving it up costs much more than its bytes are worth.
    const first = explanations.find((e) => e.group === 'layer0');
    expect(first?.cheaper?.change.size).toBe(-36864 / 2);
    expect(first?.cheaper?.change.loss).toBeCloseTo(0.06857826 * (6.743 - 0.0235), 10);
    expect(first?.cheaper?.priced).toBeGreaterThan(0.4);
  });
});
