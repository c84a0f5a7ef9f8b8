import { describe, expect, test } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { chooseLoss, lossProbe, sampleLosses, type LossKind } from '../../src/solve/index.js';
import { softmax, tensor, type Tensor } from '../../src/tensor/index.js';

const rng = createRng(3);
const logits = tensor(
  'float32',
  [2, 3, 5],
  Float32Array.from({ length: 30 }, () => rng.normal()),
);
const rows = (t: Tensor, width: number, f: (row: Float32Array) => ArrayLike<number>): Tensor => {
  const data = t.data as Float32Array;
  const out = new Float32Array(data.length);
  for (let i = 0; i < data.length; i += width) out.set(f(data.subarray(i, i + width)), i);
  return tensor('float32', t.dims, out);
};
const distributions = rows(logits, 5, softmax);
const single = tensor('float32', [6, 1], [0.1, 0.9, 0.5, 0.3, 0.02, 0.7]);
const image = tensor(
  'float32',
  [2, 3, 2, 2],
  Float32Array.from({ length: 24 }, () => rng.normal()),
);

test.each([
  ['kl', logits],
  ['probability-kl', distributions],
  ['bernoulli-kl', single],
  ['relative', image],
] as const)('chooses %s', (kind, output) => {
  expect(chooseLoss(output)).toBe(kind);
});

describe('sampleLosses', () => {
  test('is the mean KL over the rows of each sample', () => {
    const shifted = rows(logits, 5, (row) => row.map((v, i) => v + (i === 0 ? 1 : 0)));
    const losses = sampleLosses('kl', logits, shifted);
    const direct = [0, 1].map((s) => {
      let sum = 0;
      for (let r = 0; r < 3; r++) {
        const [p, q] = [logits, shifted].map((t) =>
          softmax((t.data as Float32Array).subarray((s * 3 + r) * 5, (s * 3 + r + 1) * 5)),
        );
        for (let i = 0; i < 5; i++) sum += p![i]! * Math.log(p![i]! / q![i]!);
      }
      return sum / 3;
    });
    expect(losses).toBeAllclose(direct, { atol: 1e-9, rtol: 1e-6 });
    expect(sampleLosses('kl', logits, logits)).toBeAllclose([0, 0], { atol: 1e-12, rtol: 0 });
  });

  test('of logits equals that of the distributions they make', () => {
    const other = rows(logits, 5, (row) => row.map((v, i) => v * (1 + i / 10)));
    const [a, b] = [
      sampleLosses('kl', logits, other),
      sampleLosses('probability-kl', distributions, rows(other, 5, softmax)),
    ];
    expect(a).toBeAllclose(b, { atol: 1e-7, rtol: 1e-5 });
  });
});

// The change must keep distributions distributions; logits may change in any direction.
test.each([
  ['kl', logits, 1e-2],
  ['probability-kl', distributions, 1e-3],
  ['bernoulli-kl', single, 1e-3],
  ['relative', image, 1e-1],
] as [LossKind, Tensor, number][])(
  'a probe of %s measures small changes without bias',
  (kind, reference, size) => {
    const noise = createRng(5);
    let change = (reference.data as Float32Array).map(() => size * noise.normal());
    if (kind === 'probability-kl') {
      const centred = rows(tensor('float32', reference.dims, change), 5, (row) => {
        const mean = row.reduce((a, b) => a + b) / 5;
        return row.map((v) => (v - mean) * 0.2);
      });
      change = Float32Array.from(centred.data as Float32Array);
    }
    const actual = tensor(
      'float32',
      reference.dims,
      (reference.data as Float32Array).map((v, i) => v + change[i]!),
    );
    const expected = sampleLosses(kind, reference, actual).reduce((a, b) => a + b);
    let sum = 0;
    const draws = 20_000;
    for (let d = 0; d < draws; d++) {
      const probe = lossProbe(kind, reference, noise).data as Float32Array;
      const samples = reference.dims[0]!;
      const per = probe.length / samples;
      // Samples are independent, so the squared sum over all estimates the sum of the squares.
      let inner = 0;
      for (let i = 0; i < samples * per; i++) inner += probe[i]! * change[i]!;
      sum += inner * inner;
    }
    expect(sum / draws / 2 / expected).toBeGreaterThan(0.93);
    expect(sum / draws / 2 / expected).toBeLessThan(1.07);
  },
);
