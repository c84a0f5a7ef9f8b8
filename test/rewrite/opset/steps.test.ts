/** Every version step: the text it gives, and the same numbers in onnxruntime before and after. */
import { describe, expect, it } from 'vitest';
import { FxqError } from '../../../src/core/index.js';
import { opsetOf } from '../../../src/onnx/index.js';
import { convertOpset } from '../../../src/rewrite/opset/convert.js';
import { STEPS } from '../../../src/rewrite/opset/steps.js';
import { tensor, type Tensor } from '../../../src/tensor/index.js';
import { EXACT, expectEquivalent, expectRewrite, type Tolerance } from '../../helpers/equivalence.js';
import { parseText } from '../../helpers/model.js';

interface Case {
  readonly name: string;
  readonly opset: number;
  readonly before: string;
  /** Text at the opset after; the result is also compared at opset 26. */
  readonly after?: readonly [opset: number, text: string];
  readonly feeds?: Readonly<Record<string, Tensor>>;
  readonly dims?: Readonly<Record<string, number>>;
  readonly tolerance?: Tolerance;
  /** Where onnxruntime has no kernel for the operator at 26: the highest opset that it has one for. */
  readonly highest?: number;
}

/** Room for a sum in another order. */
const ROUNDING: Tolerance = { atol: 1e-6, rtol: 1e-6 };

const CASES: Case[] = [
  {
    name: 'Squeeze and Unsqueeze',
    opset: 12,
    before:
      '(float32[2,1,3] x) => (y) { a = Squeeze<axes=[1]>(x)  b = Unsqueeze<axes=[0, 3]>(a)  y = Squeeze(b) }',
    after: [
      13,
      `(float32[2,1,3] x) => (y) {
        axes: int64[1] = {1}
        axes_1: int64[2] = {0, 3}
        a = Squeeze(x, axes)
        b = Unsqueeze(a, axes_1)
        y = Squeeze(b)
      }`,
    ],
  },
  {
    name: 'Split, equal and not',
    opset: 12,
    before: `(float32[2,6] x) => (a, b, c, d) {
      a, b = Split<axis=1>(x)
      c, d = Split<axis=1, split=[2, 4]>(x)
    }`,
    after: [
      18,
      `(float32[2,6] x) => (a, b, c, d) {
        split: int64[2] = {2, 4}
        a, b = Split<axis=1, num_outputs=2>(x)
        c, d = Split<axis=1>(x, split)
      }`,
    ],
  },
  {
    name: 'Slice',
    opset: 9,
    before:
      '(float32[4,6] x) => (a, b) { a = Slice<starts=[1, -4], ends=[3, 99], axes=[0, 1]>(x)  b = Slice<starts=[1], ends=[2]>(x) }',
    after: [
      10,
      `(float32[4,6] x) => (a, b) {
        starts: int64[2] = {1, -4}
        ends: int64[2] = {3, 99}
        axes: int64[2] = {0, 1}
        starts_1: int64[1] = {1}
        ends_1: int64[1] = {2}
        a = Slice(x, starts, ends, axes)
        b = Slice(x, starts_1, ends_1)
      }`,
    ],
  },
  {
    name: 'TopK',
    opset: 9,
    before: '(float32[3,8] x) => (v, i) { v, i = TopK<axis=1, k=3>(x) }',
    after: [
      11,
      `(float32[3,8] x) => (v, i) {
        k: int64[1] = {3}
        v, i = TopK<axis=1>(x, k)
      }`,
    ],
  },
  {
    name: 'Pad with zeros, a value, edges',
    opset: 10,
    before: `(float32[2,3] x, float16[2,3] h) => (a, b, c, d) {
      a = Pad<pads=[0, 1, 0, 2]>(x)
      b = Pad<pads=[1, 0, 0, 0], value=0.5>(x)
      c = Pad<mode="edge", pads=[0, 1, 0, 1], value=3.0>(x)
      d = Pad<mode="reflect", pads=[0, -1, 0, 1]>(x)
    }`,
    after: [
      11,
      `(float32[2,3] x, float16[2,3] h) => (a, b, c, d) {
        pads: int64[4] = {0, 1, 0, 2}
        pads_1: int64[4] = {1, 0, 0, 0}
        pad_value: float32 = {0.5}
        pads_2: int64[4] = {0, 1, 0, 1}
        pads_3: int64[4] = {0, -1, 0, 1}
        a = Pad(x, pads)
        b = Pad(x, pads_1, pad_value)
        c = Pad<mode="edge">(x, pads_2)
        d = Pad<mode="reflect">(x, pads_3)
      }`,
    ],
  },
  {
    name: 'Clip, with and without limits',
    opset: 10,
    before: `(float32[9] x) => (a, b, c) {
      a = Clip<min=-0.5, max=0.5>(x)
      b = Clip<max=0.25>(x)
      c = Clip(x)
    }`,
    after: [
      11,
      `(float32[9] x) => (a, b, c) {
        min: float32 = {-0.5}
        max: float32 = {0.5}
        max_1: float32 = {0.25}
        a = Clip(x, min, max)
        b = Clip(x, _, max_1)
        c = Clip(x)
      }`,
    ],
  },
  {
    name: 'Dropout with a mask nobody reads',
    opset: 9,
    before: '(float32[4] x) => (y, z) { y, mask = Dropout<ratio=0.25>(x)  z = Dropout(x) }',
    after: [
      12,
      `(float32[4] x) => (y, z) {
        ratio: float32 = {0.25}
        y = Dropout(x, ratio)
        z = Dropout(x)
      }`,
    ],
  },
  {
    name: 'BatchNormalization',
    opset: 8,
    before: `(float32[2,3,4] x) => (y) {
      s: float32[3] = random()
      b: float32[3] = random()
      m: float32[3] = random()
      v: float32[3] = random(low=0.5, high=2)
      y = BatchNormalization<epsilon=0.001, momentum=0.9, spatial=1>(x, s, b, m, v)
    }`,
  },
  {
    name: 'Softmax and relatives over the last axis',
    opset: 12,
    before: `(float32[2,5] x) => (a, b, c) {
      a = Softmax(x)
      b = LogSoftmax<axis=-1>(x)
      c = Hardmax<axis=1>(x)
    }`,
    after: [
      13,
      `(float32[2,5] x) => (a, b, c) {
        a = Softmax<axis=-1>(x)
        b = LogSoftmax<axis=-1>(x)
        c = Hardmax<axis=-1>(x)
      }`,
    ],
  },
  {
    name: 'Softmax over several axes of which one is longer than 1',
    opset: 12,
    before: '(float32[2,5,1,1] x) => (a) { a = Softmax(x) }',
    after: [13, '(float32[2,5,1,1] x) => (a) {\n  a = Softmax<axis=1>(x)\n}'],
  },
  {
    name: 'Softmax and relatives over several axes',
    opset: 11,
    before: `(float32[N,3,4] x) => (a, b, c) {
      a = Softmax(x)
      b = LogSoftmax<axis=-2>(x)
      c = Hardmax<axis=0>(x)
    }`,
    after: [
      13,
      `(float32[N,3,4] x) => (a, b, c) {
        a_Flatten = Flatten<axis=1>(x)
        a_Softmax = Softmax<axis=-1>(a_Flatten)
        a_Shape = Shape(x)
        a = Reshape(a_Softmax, a_Shape)
        b_Flatten = Flatten<axis=-2>(x)
        b_LogSoftmax = LogSoftmax<axis=-1>(b_Flatten)
        b_Shape = Shape(x)
        b = Reshape(b_LogSoftmax, b_Shape)
        c_Flatten = Flatten<axis=0>(x)
        c_Hardmax = Hardmax<axis=-1>(c_Flatten)
        c_Shape = Shape(x)
        c = Reshape(c_Hardmax, c_Shape)
      }`,
    ],
  },
  {
    name: 'GroupNormalization',
    opset: 18,
    before: `(float32[2,6,3,3] x) => (y) {
      s: float32[3] = random()
      b: float32[3] = random()
      y = GroupNormalization<num_groups=3, epsilon=0.001>(x, s, b)
    }`,
    tolerance: ROUNDING,
  },
  ...[
    'ReduceL1',
    'ReduceL2',
    'ReduceLogSum',
    'ReduceLogSumExp',
    'ReduceMax',
    'ReduceMean',
    'ReduceMin',
    'ReduceProd',
    'ReduceSum',
    'ReduceSumSquare',
  ].map((op): Case => ({
    name: op,
    opset: 11,
    before: `(float32[2,3,4] x) => (a, b, c) { z = Abs(x)  a = ${op}<axes=[0, -1], keepdims=0>(z)  b = ${op}(z)  c = ${op}<axes=[1]>(z) }`,
    after: [
      18,
      `(float32[2,3,4] x) => (a, b, c) {
        axes: int64[2] = {0, -1}
        axes_1: int64[1] = {1}
        z = Abs(x)
        a = ${op}<keepdims=0>(z, axes)
        b = ${op}(z)
        c = ${op}(z, axes_1)
      }`,
    ],
    tolerance: ROUNDING,
  })),
  {
    name: 'Scatter',
    opset: 9,
    before: `(float32[3,3] x, float32[2,3] u) => (y) {
      i: int64[2,3] = {1, 0, 2, 0, 2, 1}
      y = Scatter<axis=0>(x, i, u)
    }`,
    after: [
      11,
      `(float32[3,3] x, float32[2,3] u) => (y) {
        i: int64[2,3] = {1, 0, 2, 0, 2, 1}
        y = ScatterElements<axis=0>(x, i, u)
      }`,
    ],
  },
  {
    name: 'OneHot',
    opset: 10,
    before: `(int64[4] i) => (y) {
      depth: int64 = 5
      values: float32[2] = {-1, 2}
      y = OneHot(i, depth, values)
    }`,
    feeds: { i: tensor('int64', [4], [0, 4, 7, -1]) },
  },
  {
    name: 'Upsample, nearest and linear',
    opset: 8,
    before: `(float32[1,2,3,4] x) => (a, b, c) {
      a = Upsample<mode="nearest", scales=[1.0, 1.0, 2.0, 3.0]>(x)
      b = Upsample<mode="linear", scales=[1.0, 1.0, 2.0, 2.5]>(x)
      c = Upsample<scales=[1.0, 1.0, 1.7, 1.3]>(x)
    }`,
    after: [
      11,
      `(float32[1,2,3,4] x) => (a, b, c) {
        scales: float32[4] = {1, 1, 2, 3}
        scales_1: float32[4] = {1, 1, 2, 2.5}
        scales_2: float32[4] = {1, 1, 1.7, 1.3}
        roi: float32[0] = {}
        a = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, roi, scales)
        b = Resize<mode="linear", coordinate_transformation_mode="asymmetric">(x, roi, scales_1)
        c = Resize<coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, roi, scales_2)
      }`,
    ],
    tolerance: ROUNDING,
  },
  {
    name: 'Resize of opset 10, larger and smaller',
    opset: 10,
    before: `(float32[1,2,7,9] x) => (a, b, c, d) {
      up: float32[4] = {1, 1, 2, 1.4}
      down: float32[4] = {1, 1, 0.5, 0.6}
      a = Resize(x, up)
      b = Resize(x, down)
      c = Resize<mode="linear">(x, down)
      two = Constant<value=float32[4] {1, 1, 2, 2}>()
      d = Resize(x, two)
    }`,
    tolerance: ROUNDING,
  },
  {
    name: 'Resize of opset 11 in every mode',
    opset: 11,
    before: `(float32[1,1,5,6] x) => (a, b, c, d, e, f, g, h, i) {
      roi: float32[0] = {}
      no: float32[0] = {}
      up: float32[4] = {1, 1, 2, 1.5}
      down: float32[4] = {1, 1, 0.6, 0.5}
      size: int64[4] = {1, 1, 7, 4}
      a = Resize(x, roi, up)
      b = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor">(x, roi, up)
      c = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn", nearest_mode="floor">(x, roi, down)
      d = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, roi, up)
      e = Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, roi, down)
      f = Resize<mode="cubic", cubic_coeff_a=-0.5>(x, roi, up)
      g = Resize<mode="linear">(x, roi, no, size)
      h = Resize<nearest_mode="ceil">(x, roi, down)
      i = Resize<coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, roi, no, size)
    }`,
    tolerance: ROUNDING,
  },
  {
    name: 'RoiAlign',
    opset: 15,
    highest: 21,
    before: `(float32[1,2,6,6] x) => (y) {
      rois: float32[2,4] = {0, 0, 3, 4, 1, 1, 5, 5}
      batch: int64[2] = {0, 0}
      y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2, spatial_scale=1.0>(x, rois, batch)
    }`,
    after: [
      16,
      `(float32[1,2,6,6] x) => (y) {
        rois: float32[2,4] = {0, 0, 3, 4, 1, 1, 5, 5}
        batch: int64[2] = {0, 0}
        y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2, spatial_scale=1.0, coordinate_transformation_mode="output_half_pixel">(x, rois, batch)
      }`,
    ],
    tolerance: ROUNDING,
  },
  {
    name: 'GridSample',
    opset: 16,
    before: `(float32[1,1,4,4] x, float32[1,3,3,2] g) => (a, b, c, d) {
      a = GridSample(x, g)
      b = GridSample<mode="bicubic">(x, g)
      c = GridSample<mode="nearest">(x, g)
      d = GridSample<mode="bilinear", align_corners=1, padding_mode="border">(x, g)
    }`,
    tolerance: ROUNDING,
  },
  {
    name: 'DFT',
    opset: 17,
    before:
      '(float32[2,8,1] x) => (a, b, c) { l: int64 = 6  a = DFT(x)  b = DFT<onesided=1, axis=1>(x)  c = DFT(x, l) }',
    after: [
      20,
      `(float32[2,8,1] x) => (a, b, c) {
        l: int64 = {6}
        axis: int64 = {1}
        a = DFT(x, _, axis)
        b = DFT<onesided=1>(x, _, axis)
        c = DFT(x, l, axis)
      }`,
    ],
    tolerance: ROUNDING,
  },
  {
    name: 'pooling past its padding (no step, but onnxruntime has other kernels from 19 on)',
    opset: 11,
    before: `(float32[1,2,8,9] x) => (a, b, c, d, e, f, g) {
      a = AveragePool<kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=1>(x)
      b = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1>(x)
      c = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1>(x)
      d = AveragePool<kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1>(x)
      e = AveragePool<kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER", ceil_mode=1, count_include_pad=1>(x)
      f = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1>(x)
      g = LpPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]>(x)
    }`,
    tolerance: ROUNDING,
  },
  {
    name: 'Scan over a batch',
    opset: 8,
    before: `(float32[N,2] s, float32[N,T,2] x) => (f, y, z) {
      f, y, z = Scan<num_scan_inputs=1, body=(float32[2] a, float32[2] b) => (float32[2] c, float32[2] d, float32[2] e) {
        c = Add(a, b)
        d = Identity(c)
        e = Mul(a, b)
      }>(_, s, x)
    }`,
    dims: { N: 3, T: 4 },
  },
  {
    name: 'a Scan that runs backwards',
    opset: 8,
    before: `(float32[N,2] s, float32[N,T,2] x, float32[N,T,2] z) => (f, y) {
      f, y = Scan<num_scan_inputs=2, directions=[1, 0], body=(float32[2] a, float32[2] b, float32[2] g) => (float32[2] c, float32[2] d) {
        h = Mul(b, g)
        c = Add(a, h)
        d = Softmax<axis=0>(c)
      }>(_, s, x, z)
    }`,
    dims: { N: 2, T: 3 },
    tolerance: ROUNDING,
  },
  {
    name: 'operators in subgraphs, and values around them',
    opset: 9,
    before: `(bool c, float32[2,5] x) => (y) {
      k: float32[2,5] = random()
      s = Softmax(x)
      y = If<then_branch=() => (t) {
        a = Add(s, k)
        u = Unsqueeze<axes=[0]>(a)
        w = Clip<min=0.0, max=0.3>(u)
        t = Squeeze<axes=[0]>(w)
      }, else_branch=() => (t) {
        u = Slice<starts=[1], ends=[3], axes=[1]>(s)
        w = ReduceMean<axes=[1]>(u)
        t = Mul(s, w)
      }>(c)
    }`,
    tolerance: ROUNDING,
  },
];

describe.each(CASES)(
  '$name',
  ({ opset, before, after, feeds = {}, dims = {}, tolerance = EXACT, highest = 26 }) => {
    const model = parseText(`opset ${opset} ${before}`);
    if (after !== undefined)
      it(`is written anew at opset ${after[0]}`, () =>
        expectRewrite({
          rewrite: async (m) => (await convertOpset(m, after[0])).model,
          before: model,
          after: `opset ${after[0]}\n${after[1].replace(/^ {6}/gm, '')}`,
          tolerance,
          inputs: { feeds, dims },
        }));
    it(`computes the same at opset ${highest}`, async () => {
      const { model: raised } = await convertOpset(model, highest);
      expect(opsetOf(raised)).toBe(highest);
      await expectEquivalent(raised, model, tolerance, { feeds, dims });
    });
  },
);

/** What has no equivalent, and what is said of it. */
const REFUSALS: [op: string, version: number, before: string, message: string][] = [
  [
    'BatchNormalization',
    9,
    'opset 8 (float32[2,3] x, float32[3] s) => (y) { y = BatchNormalization<spatial=0>(x, s, s, s, s) }',
    "BatchNormalization 'BatchNormalization_y': it normalizes every position on its own (spatial=0)",
  ],
  [
    'BatchNormalization',
    14,
    'opset 13 (float32[2,3] x, float32[3] s) => (y) { y, m, v = BatchNormalization(x, s, s, s, s) }',
    'it gives out statistics of training',
  ],
  [
    'Dropout',
    10,
    'opset 9 (float32[3] x) => (y, m) { y, m = Dropout(x) }',
    "its mask 'm' is read, which became boolean at opset 10",
  ],
  [
    'Clip',
    11,
    'opset 10 (float32[3] x) => (y) { z = custom:Op(x)  y = Clip<max=6.0>(z) }',
    'the element type of its input is not known',
  ],
  [
    'Pad',
    11,
    'opset 10 (float32[3] x) => (y) { z = custom:Op(x)  y = Pad<pads=[1, 1], value=1.0>(z) }',
    'the element type of its input is not known',
  ],
  [
    'GroupNormalization',
    21,
    'opset 18 (float32[2,C,4] x, float32[2] s) => (y) { y = GroupNormalization<num_groups=2>(x, s, s) }',
    'the number of its channels is not known',
  ],
  [
    'Resize',
    11,
    'opset 10 (float32[1,1,4,4] x, float32[4] s) => (y) { y = Resize(x, s) }',
    'its scales are computed',
  ],
  [
    'Resize',
    11,
    'opset 10 (float32[1,1,4,4] x) => (y) { s: float32[4] = {1, 1, 2, 0.5}  y = Resize(x, s) }',
    'it enlarges one axis and shrinks another',
  ],
  [
    'Resize',
    13,
    `opset 12 (float32[1,1,4,4] x, float32[0] r) => (y) {
      s: float32[4] = {1, 1, 2, 2}
      y = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn">(x, r, s)
    }`,
    'its coordinates (tf_half_pixel_for_nn) went at opset 13',
  ],
  [
    'Scan',
    9,
    'opset 8 (int64[1] l, float32[1,2] s, float32[1,3,2] x) => (f) { f = Scan<num_scan_inputs=1, body=(a, b) => (c) { c = Add(a, b) }>(l, s, x) }',
    'it has sequence lengths',
  ],
  [
    'Attention',
    25,
    'opset 24 (float32[1,2,3,4] q) => (y) { y = Attention(q, q, q) }',
    'what changed in it is not known to fxq',
  ],
];

describe('what cannot be written anew', () => {
  it.each(REFUSALS)('%s %d: %s', async (_op, version, before, message) => {
    const model = parseText(before);
    const conversion = convertOpset(model, version);
    await expect(conversion).rejects.toThrow(FxqError);
    await expect(conversion).rejects.toThrow(message);
    await expect(conversion).rejects.toThrow(`the model cannot be raised to opset ${version}`);
    // Up to the version before, nothing stands in the way.
    await convertOpset(model, version - 1);
  });
});

it('every step has a case', () => {
  const steps = Object.entries(STEPS).flatMap(([op, versions]) =>
    Object.keys(versions).map((v) => `${op} ${v}`),
  );
  const tried = CASES.flatMap(({ opset, before, highest = 26 }) =>
    Object.entries(STEPS).flatMap(([op, versions]) =>
      new RegExp(`\\b${op}\\b`).test(before)
        ? Object.keys(versions)
            .filter((v) => Number(v) > opset && Number(v) <= highest)
            .map((v) => `${op} ${v}`)
        : [],
    ),
  );
  const refused = REFUSALS.map(([op, version]) => `${op} ${version}`);
  expect(steps.filter((step) => ![...tried, ...refused].includes(step))).toEqual([]);
});
