/** Gradient rules of convolutions: groups, strides, dilations, pads, one to three spatial axes. */
import { describe, expect, it } from 'vitest';
import { createProgram, pullBack, type ConvTransposeOptions } from '../../../src/program/index.js';
import { expectGradient, node, unknownSize } from '../expect-gradient.js';

type Options = Omit<ConvTransposeOptions, 'bias'>;

function conv(name: string, x: readonly number[], w: readonly number[], options: Options = {}): void {
  it(name, () =>
    expectGradient((p, a, k, bias) => p.conv(a, k, { ...options, bias }), [x, w, [w[0] ?? 0]], { points: 1 }),
  );
}

describe('gradients of Conv', () => {
  conv('1×1', [2, 3, 2, 3], [4, 3, 1, 1]);
  conv('1×1, stride 2', [1, 2, 4, 5], [2, 2, 1, 1], { strides: [2, 2] });
  conv('3×3, no pads', [1, 2, 4, 4], [2, 2, 3, 3]);
  conv('3×3, pads 1', [2, 2, 3, 4], [3, 2, 3, 3], { pads: [1, 1, 1, 1] });
  conv('more output channels than positions', [2, 2, 3, 3], [5, 2, 2, 2]);
  conv('asymmetric pads and kernel', [1, 2, 4, 5], [2, 2, 2, 3], { pads: [0, 1, 1, 2] });
  conv('pads wider than the kernel', [1, 1, 2, 2], [1, 1, 2, 2], { pads: [2, 2, 2, 2] });
  conv('stride 2, what is left over in one axis', [1, 2, 5, 6], [2, 2, 3, 3], {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
  });
  conv('dilation 2', [1, 2, 5, 5], [2, 2, 3, 3], { dilations: [2, 2], pads: [1, 1, 1, 1] });
  conv('dilation and stride', [1, 1, 6, 7], [2, 1, 2, 2], { dilations: [2, 3], strides: [2, 3] });
  conv('two groups', [2, 4, 3, 3], [6, 2, 3, 3], { group: 2, pads: [1, 1, 1, 1] });
  conv('depthwise', [2, 3, 4, 4], [3, 1, 3, 3], { group: 3, pads: [1, 1, 1, 1] });
  conv('depthwise with multiplier 2, stride 2', [1, 2, 5, 5], [4, 1, 3, 3], {
    group: 2,
    strides: [2, 2],
    pads: [1, 1, 1, 1],
  });
  conv('one spatial axis', [2, 2, 6], [3, 2, 3], { strides: [2], pads: [1, 1] });
  conv('three spatial axes', [1, 1, 3, 3, 3], [2, 1, 2, 2, 2], { pads: [0, 0, 0, 1, 1, 1] });

  for (const auto of ['SAME_UPPER', 'SAME_LOWER', 'VALID']) {
    for (const stride of [1, 2]) {
      const same = (n: number) =>
        auto === 'VALID' ? Math.floor((n - 2) / stride) + 1 : Math.ceil(n / stride);
      const attributes = { auto_pad: auto, strides: [stride, stride], kernel_shape: [2, 2] };
      it(`${auto}, stride ${stride}`, () =>
        expectGradient(
          (p, x, w) => node(p, 'Conv', [x, w], [1, 2, same(4), same(5)], attributes),
          [
            [1, 2, 4, 5],
            [2, 2, 2, 2],
          ],
          { points: 1 },
        ));
    }
  }

  it('with spatial sizes known only when running', () =>
    expectGradient(
      (p, x, w) =>
        unknownSize(p, x, (v) => p.conv(v, w, { strides: [2, 2], pads: [1, 1, 1, 1] }), [1, 2, 3, 3]),
      [
        [1, 2, 6, 5],
        [2, 2, 3, 3],
      ],
      { points: 1 },
    ));
});

describe('gradients of ConvTranspose', () => {
  const check = (name: string, x: readonly number[], w: readonly number[], options: Options = {}) =>
    it(name, () =>
      expectGradient(
        (p, a, k, bias) => p.convTranspose(a, k, { ...options, bias }),
        [x, w, [(w[1] ?? 0) * (options.group ?? 1)]],
        { points: 1 },
      ),
    );
  check('2×2, stride 2', [1, 2, 2, 3], [2, 3, 2, 2], { strides: [2, 2] });
  check('3×3 with pads', [2, 2, 3, 3], [2, 2, 3, 3], { pads: [1, 1, 1, 1] });
  check('stride 2 with output padding', [1, 2, 2, 2], [2, 2, 3, 3], {
    strides: [2, 2],
    pads: [1, 1, 1, 1],
    outputPadding: [1, 1],
  });
  check('output padding without pads', [1, 1, 2, 2], [1, 2, 2, 2], {
    strides: [2, 2],
    outputPadding: [1, 0],
  });
  check('groups and dilation', [1, 4, 3, 3], [4, 1, 2, 2], { group: 2, dilations: [2, 2] });
  check('one spatial axis', [2, 2, 3], [2, 2, 3], { strides: [2] });

  it('refuse pads that follow from the output', () => {
    const p = createProgram();
    const [x, w] = [p.input('x', 'float32', [1, 1, 2, 2]), p.input('w', 'float32', [1, 1, 2, 2])];
    const y = node(p, 'ConvTranspose', [x, w], [1, 1, 4, 4], { strides: [2, 2], output_shape: [4, 4] });
    expect(() => pullBack(p, [[y, y]], x)).toThrow(/computed pads of ConvTranspose/);
  });
});
