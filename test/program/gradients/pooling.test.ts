/** Gradient rules of pooling and resizing. */
import { describe, expect, it } from 'vitest';
import { float } from '../../../src/onnx/index.js';
import { createProgram, pullBack } from '../../../src/program/index.js';
import { tensor } from '../../../src/tensor/index.js';
import { expectGradient, node, spaced, unknownSize } from '../expect-gradient.js';

const once = { points: 1 };
const distinct = { points: 1, draw: spaced };

describe('gradients of AveragePool', () => {
  it('2×2', () =>
    expectGradient((p, x) => p.averagePool(x, [2, 2], { strides: [2, 2] }), [[2, 2, 4, 4]], once));
  it('3×3 with pads that do not count', () =>
    expectGradient((p, x) => p.averagePool(x, [3, 3], { pads: [1, 1, 1, 1] }), [[1, 2, 4, 4]], once));
  it('3×3 with pads that count', () =>
    expectGradient(
      (p, x) => p.averagePool(x, [3, 3], { pads: [1, 1, 1, 1], countIncludePad: true }),
      [[1, 2, 4, 4]],
      once,
    ));
  it('rounding the size up', () =>
    expectGradient(
      (p, x) =>
        node(p, 'AveragePool', [x], [1, 1, 3, 2], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }),
      [[1, 1, 5, 4]],
      once,
    ));
  it('rounding the size up, with pads that count', () =>
    expectGradient(
      (p, x) =>
        node(p, 'AveragePool', [x], [1, 1, 3, 3], {
          kernel_shape: [3, 3],
          strides: [2, 2],
          pads: [1, 1, 1, 1],
          ceil_mode: 1,
          count_include_pad: 1,
        }),
      [[1, 1, 4, 4]],
      once,
    ));
  it('SAME_UPPER', () =>
    expectGradient(
      (p, x) =>
        node(p, 'AveragePool', [x], [1, 1, 3, 3], {
          kernel_shape: [3, 3],
          strides: [2, 2],
          auto_pad: 'SAME_UPPER',
        }),
      [[1, 1, 5, 6]],
      once,
    ));
  it('with sizes known only when running', () =>
    expectGradient(
      (p, x) => unknownSize(p, x, (v) => p.averagePool(v, [2, 2], { strides: [2, 2] }), [1, 2, 2, 2]),
      [[1, 2, 5, 4]],
      once,
    ));
});

describe('gradients of MaxPool', () => {
  it('2×2', () =>
    expectGradient((p, x) => p.maxPool(x, [2, 2], { strides: [2, 2] }), [[2, 2, 4, 4]], distinct));
  it('overlapping, with pads', () =>
    expectGradient(
      (p, x) => p.maxPool(x, [3, 3], { strides: [1, 2], pads: [1, 1, 1, 1] }),
      [[1, 2, 4, 4]],
      distinct,
    ));
  it('with indices by columns', () =>
    expectGradient(
      (p, x) =>
        node(p, 'MaxPool', [x], [1, 2, 2, 2], { kernel_shape: [2, 2], strides: [2, 2], storage_order: 1 }),
      [[1, 2, 4, 4]],
      distinct,
    ));
  it('dilated, one axis', () =>
    expectGradient((p, x) => p.maxPool(x, [2], { dilations: [2] }), [[1, 2, 6]], distinct));
});

describe('gradients of global pooling', () => {
  it('GlobalAveragePool', () =>
    expectGradient((p, x) => p.globalAveragePool(x), [[2, 3, 2, 3]], {
      closedForm: (_x, g) => [Array.from({ length: 36 }, (_, i) => (g[Math.floor(i / 6)] ?? 0) / 6)],
    }));
  it('GlobalMaxPool', () =>
    expectGradient((p, x) => node(p, 'GlobalMaxPool', [x], [2, 3, 1, 1]), [[2, 3, 2, 3]], distinct));
});

describe('gradients of Resize', () => {
  const cases = [
    ['nearest ×2, as exporters write it', 'nearest', 'asymmetric', [2, 2], { nearest_mode: 'floor' }],
    ['linear ×2', 'linear', 'half_pixel', [2, 2], {}],
    ['linear ×2 with aligned corners', 'linear', 'align_corners', [2, 2], {}],
    ['linear by different factors', 'linear', 'pytorch_half_pixel', [1.5, 3], {}],
    ['nearest down', 'nearest', 'half_pixel', [0.5, 0.5], {}],
    ['cubic ×2', 'cubic', 'half_pixel', [2, 2], { cubic_coeff_a: float(-0.75) }],
  ] as const;
  for (const [name, mode, coordinates, [sh, sw], extra] of cases) {
    it(name, () =>
      expectGradient(
        (p, x) =>
          node(
            p,
            'Resize',
            [x, undefined, p.vector([1, 1, sh, sw])],
            [1, 2, Math.floor(4 * sh), Math.floor(4 * sw)],
            {
              mode,
              coordinate_transformation_mode: coordinates,
              ...extra,
            },
          ),
        [[1, 2, 4, 4]],
        once,
      ),
    );
  }
  it('to sizes', () =>
    expectGradient(
      (p, x) =>
        node(
          p,
          'Resize',
          [x, undefined, undefined, p.constant(tensor('int64', [4], [1, 2, 5, 3]))],
          [1, 2, 5, 3],
          { mode: 'linear' },
        ),
      [[1, 2, 3, 4]],
      once,
    ));
  it('with sizes known only when running', () =>
    expectGradient(
      (p, x) =>
        unknownSize(
          p,
          x,
          (v) =>
            p.tape.op(
              'Resize',
              [v, undefined, p.vector([1, 1, 2, 1.5])],
              { dtype: 'float32', dims: [1, 2, null, null] },
              { mode: 'linear' },
            ),
          [1, 2, 6, 6],
        ),
      [[1, 2, 3, 4]],
      once,
    ));
  it('refuses regions and kept aspect ratios', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [1, 1, 4, 4]);
    for (const attributes of [
      { coordinate_transformation_mode: 'tf_crop_and_resize' },
      { keep_aspect_ratio_policy: 'not_larger' },
    ]) {
      const y = node(p, 'Resize', [x, undefined, p.vector([1, 1, 2, 2])], [1, 1, 8, 8], attributes);
      expect(() => pullBack(p, [[y, y]], x)).toThrow(/no gradient rule for .* of Resize/);
    }
  });
  it('of chosen axes', () =>
    expectGradient(
      (p, x) => node(p, 'Resize', [x, undefined, p.vector([2])], [1, 2, 3, 8], { mode: 'linear', axes: [3] }),
      [[1, 2, 3, 4]],
      once,
    ));
});
