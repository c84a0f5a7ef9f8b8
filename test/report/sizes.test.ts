import { describe, expect, it } from 'vitest';
import { graph, model, node, value } from '../../src/onnx/index.js';
import { compareSizes } from '../../src/report/sizes.js';
import { cutAt, sharedValues } from '../../src/report/segments.js';
import { tensor } from '../../src/tensor/index.js';
import { floatModel, quantizedModel } from './models.js';

describe('compareSizes', () => {
  const size = compareSizes(
    { graph: floatModel().graph, fileBytes: 1000 },
    { graph: quantizedModel().graph, fileBytes: 400 },
  );

  it('adds up stored bytes by element type, the largest first', () => {
    expect(size).toMatchObject({ float: 1000, quantized: 400 });
    expect(size.floatTypes).toEqual({ float32: 4 * (128 + 16 + 64) });
    expect(Object.entries(size.quantizedTypes)).toEqual([
      ['int8', 128 + 64 + 1],
      ['float32', 4 * (16 + 4)],
      ['uint8', 2],
    ]);
  });

  it('gives every layer the bytes first read there, scales and bias included', () => {
    // fc1: codes, bias, the weight's step, the input's scale and zero points.
    expect(size.layers[0]).toMatchObject({
      node: 'fc1',
      floatBytes: 4 * 144,
      bytes: 128 + 64 + 4 + 1 + 4 + 1,
    });
    expect(size.layers[0]!.bits).toBeCloseTo((8 * 202) / 144, 9);
    // The zero point of the weights is shared, so fc2 pays only for its step and its input's parameters.
    expect(size.layers[1]).toMatchObject({ node: 'fc2', floatBytes: 256, bytes: 64 + 4 + 4 + 1 });
  });
});

describe('segments', () => {
  const folded = (): ReturnType<typeof model> =>
    model(
      graph({
        inputs: [value('x', 'float32', [1, 4])],
        outputs: [value('y', 'float32', [1, 4])],
        initializers: [['w', tensor('float32', [4, 4])]],
        nodes: [
          node('Transpose', ['w'], ['wt'], { perm: [1, 0] }),
          node('MatMul', ['x', 'wt'], ['h']),
          node('Relu', ['h'], ['y']),
        ],
      }),
    );

  it('shares only values that depend on the input', () => {
    expect(sharedValues(folded().graph, folded().graph)).toEqual(['h', 'y']);
  });

  it('counts the constants behind folded arithmetic and Constant nodes', () => {
    const [segment] = cutAt(folded().graph, ['h', 'y']);
    expect([...segment!.constants.keys()]).toEqual(['w']);
    const withConstant = graph({
      inputs: [value('x', 'float32', [1])],
      outputs: [value('y', 'float32', [1])],
      nodes: [
        node('Constant', [], ['c'], { value: tensor('float32', [20]) }),
        node('Add', ['x', 'c'], ['y']),
      ],
    });
    expect(cutAt(withConstant, ['y'])[0]!.constants.get('c')?.dims).toEqual([20]);
  });
});
