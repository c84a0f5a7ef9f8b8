/** Gradient rules of normalizations. */
import { describe, expect, it } from 'vitest';
import { createProgram, pullBack } from '../../../src/program/index.js';
import { expectGradient, node, normal, positive } from '../expect-gradient.js';

describe('gradients of normalizations', () => {
  it('LayerNormalization over the last axis', () =>
    expectGradient((p, x, s, b) => p.layerNormalization(x, s, b), [[2, 3, 5], [5], [5]]));
  it('LayerNormalization without bias', () =>
    expectGradient((p, x, s) => p.layerNormalization(x, s), [[2, 5], [5]]));
  it('LayerNormalization over two axes', () =>
    expectGradient(
      (p, x, s, b) => p.layerNormalization(x, s, b, { axis: 1 }),
      [
        [2, 3, 4],
        [3, 4],
        [3, 4],
      ],
    ));
  it('BatchNormalization by given statistics, which get gradients as well', () =>
    expectGradient(
      (p, x, scale, bias, mean, variance) => p.batchNormalization(x, { scale, bias, mean, variance }),
      [[2, 3, 2, 2], [3], [3], [3], [3]],
      { draw: [normal, normal, normal, normal, positive] },
    ));
  it('BatchNormalization of vectors', () =>
    expectGradient(
      (p, x, scale, bias, mean, variance) => p.batchNormalization(x, { scale, bias, mean, variance }),
      [[4, 3], [3], [3], [3], [3]],
      { draw: [normal, normal, normal, normal, positive] },
    ));
  it('BatchNormalization by statistics of the batch, as in training', () =>
    expectGradient(
      (p, x, scale, bias) => {
        const mean = p.reduceMean(x, [0, 2, 3]);
        const variance = p.sub(p.reduceMean(p.square(x), [0, 2, 3]), p.square(mean));
        return p.batchNormalization(x, { scale, bias, mean, variance });
      },
      [[3, 2, 2, 2], [2], [2]],
    ));
  it('InstanceNormalization', () =>
    expectGradient((p, x, s, b) => p.instanceNormalization(x, s, b), [[2, 3, 2, 3], [3], [3]]));

  it('GroupNormalization', () =>
    expectGradient(
      (p, x, s, b) => node(p, 'GroupNormalization', [x, s, b], [2, 4, 2, 2], { num_groups: 2 }),
      [[2, 4, 2, 2], [4], [4]],
      { points: 1 },
    ));
  it('RMSNormalization', () =>
    expectGradient(
      (p, x, s) => {
        p.tape.requireOpset(23);
        return node(p, 'RMSNormalization', [x, s], [2, 3, 4]);
      },
      [[2, 3, 4], [4]],
    ));

  it('refuse the training mode of BatchNormalization', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [2, 3]);
    const v = p.vector([1, 1, 1]);
    const y = node(p, 'BatchNormalization', [x, v, v, v, v], [2, 3], { training_mode: 1 });
    expect(() => pullBack(p, [[y, y]], x)).toThrow(/training mode of BatchNormalization/);
  });
});
