/** Learned binary points: the gradient rule of the cast, and what descent finds where points do not interact. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../../src/core/index.js';
import { binaryPointSlope, chooseBinaryPoint, fixedPoint } from '../../../src/formats/index.js';
import { createProgram, gradients, openProgram, runProgram } from '../../../src/program/index.js';
import { descendPoints, type PointObjective } from '../../../src/solve/binary-point/descend.js';
import { quantizeAt } from '../../../src/solve/binary-point/slice.js';
import { tensor, toFloat32, type Tensor } from '../../../src/tensor/index.js';

const rng = createRng(11);
/** Tensors with tails of different weight and scales apart by up to a factor of eight. */
const tensors = Array.from({ length: 24 }, (_, i) => {
  const spread = 2 ** ((i % 10) / 3);
  return Float32Array.from({ length: 400 }, () => spread * Math.log(1 - rng.uniform()) * rng.normal());
});

describe('quantizeAt', () => {
  it("has QFX's derivative by F, inside the range and where values are clipped", async () => {
    const x = Float32Array.of(0.83, -0.31, 100, -100, 1.74, 0);
    const p = createProgram();
    const f = p.constant(tensor('float32', [1], [2]));
    const point = { low: -8, high: 7, start: Float32Array.of(2) };
    const slopes = Array.from(x, (v, i) => {
      const y = quantizeAt(p, p.constant(tensor('float32', [1], [v])), f, point);
      return [`d${i}`, gradients(p, p.reduceSum(y), { f }).f] as const;
    });
    const results: Record<string, Tensor> = await runProgram(p, Object.fromEntries(slopes));
    Array.from(x).forEach((v, i) => {
      const code = Math.min(Math.max(Math.round(v * 4), -8), 7);
      expect(toFloat32(results[`d${i}`]!)[0]).toBeCloseTo(binaryPointSlope(point, v, code / 4, 0.25), 5);
    });
  });
});

/** Sum over the tensors of each one's error relative to its energy. */
async function separateErrors(bits: number, of = tensors): Promise<PointObjective> {
  const { low, high } = fixedPoint({ bits });
  const p = createProgram();
  const f = p.input('f', 'float32', [of.length]);
  const terms = of.map((values, i) => {
    const x = p.constant(tensor('float32', [values.length], values));
    const at = p.slice(f, { starts: [i], ends: [i + 1], axes: [0] });
    const error = p.square(p.sub(quantizeAt(p, x, at, { low, high, start: Float32Array.of(0) }), x));
    return p.div(
      p.reduceSum(error),
      values.reduce((sum, v) => sum + v * v, 0),
    );
  });
  const loss = terms.reduce((sum, term) => p.add(sum, term));
  const program = await openProgram(p, { loss, slope: gradients(p, loss, { f }).f }, { threads: 1 });
  const slope = async (points: Float64Array): Promise<{ loss: number; slope: Float32Array }> => {
    const results = await program.run({ f: tensor('float32', [points.length], Float32Array.from(points)) });
    return { loss: toFloat32(results.loss)[0] ?? NaN, slope: toFloat32(results.slope) };
  };
  return { slope, loss: async (points) => (await slope(points)).loss };
}

describe('descendPoints', () => {
  it.each([4, 6, 8])('finds the exhaustive F of 95 in 100 separate tensors, W = %i', async (bits) => {
    const format = fixedPoint({ bits });
    const [ranges, searched] = (['range', 'search'] as const).map((method) =>
      tensors.map((values) => chooseBinaryPoint(format, { values }, method)),
    ) as [number[], number[]];
    const objective = await separateErrors(bits);
    const options = { steps: 200, rate: 0.05, sweeps: 2 };
    const { points, before, after } = await descendPoints(Float64Array.from(ranges), objective, options);
    const same = searched.filter((f, i) => f === points[i]).length;
    expect(same / tensors.length).toBeGreaterThanOrEqual(0.95);
    expect(after).toBeLessThan(before);
  });

  it('gains much over ranges at 4 bits, less at 6, next to nothing at 8', async () => {
    // The range falls on different places between two powers of two.
    const gaussian = Array.from({ length: 10 }, (_, i) =>
      Float32Array.from({ length: 4000 }, () => 2 ** (i / 10) * rng.normal()),
    );
    const gains = await Promise.all(
      [4, 6, 8].map(async (bits) => {
        const format = fixedPoint({ bits });
        const ranges = gaussian.map((values) => chooseBinaryPoint(format, { values }, 'range'));
        const objective = await separateErrors(bits, gaussian);
        const options = { steps: 200, rate: 0.05, sweeps: 1 };
        const { before, after } = await descendPoints(Float64Array.from(ranges), objective, options);
        return before / after;
      }),
    );
    const [four = 0, six = 0, eight = 0] = gains;
    expect(four).toBeGreaterThan(2);
    expect(six).toBeGreaterThan(1.3);
    expect(six).toBeLessThan(four);
    expect(eight).toBeLessThan(1.2);
  });

  it('is never worse than its start', async () => {
    // A derivative that always points the wrong way.
    const objective: PointObjective = {
      loss: (points) => Promise.resolve(points.reduce((sum, f) => sum + f * f, 1)),
      slope: async (points) => ({ loss: await objective.loss(points), slope: points.map((f) => -1 - f) }),
    };
    const start = Float64Array.of(0, 0, 0);
    const { points, before, after } = await descendPoints(start, objective, {
      steps: 100,
      rate: 0.05,
      sweeps: 2,
    });
    expect(points).toEqual(start);
    expect(after).toBe(before);
  });
});
