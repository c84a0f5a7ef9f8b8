/** Whole optimizations inside one run of the session. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  adam,
  adaMax,
  cosineSchedule,
  createProgram,
  gradients,
  keepBest,
  loop,
  runProgram,
  sgd,
  signDescent,
  startBest,
  startOptimizer,
  updateParameters,
  type Optimizer,
} from '../../src/program/index.js';
import { tensor } from '../../src/tensor/index.js';

/** Minimizes |w − target|² and returns the end point and the losses. */
async function minimize(optimizer: Optimizer, rate: number, steps: number) {
  const p = createProgram();
  const target = p.vector([1, -2, 3]);
  const start = { w: p.vector([0, 0, 0]) };
  const { state, record } = loop(
    p,
    { parameters: start, optimizer: startOptimizer(p, optimizer, start), best: startBest(p, start) },
    steps,
    (b, s, iteration) => {
      const loss = b.reduceSum(b.square(b.sub(s.parameters.w, target)));
      const step = b.cast(iteration, 'float32');
      const next = updateParameters(
        b,
        optimizer,
        s.parameters,
        gradients(b, loss, s.parameters),
        s.optimizer,
        {
          rate: cosineSchedule(rate, 0, steps)(b, step),
          count: b.add(step, 1),
        },
      );
      return {
        state: {
          parameters: next.parameters,
          optimizer: next.state,
          best: keepBest(b, s.best, loss, s.parameters),
        },
        record: { loss },
      };
    },
  );
  return runProgram(p, { w: state.parameters.w, best: state.best, loss: record.loss });
}

describe('optimizers in a loop', () => {
  const cases: [string, Optimizer, number][] = [
    ['sgd', sgd(), 0.1],
    ['sgd with momentum', sgd({ momentum: 0.9 }), 0.02],
    ['adam', adam(), 0.2],
    ['adaMax', adaMax(), 0.3],
    ['sign descent', signDescent(), 0.1],
  ];
  for (const [name, optimizer, rate] of cases) {
    it(`${name} reaches the minimum`, async () => {
      const result = await minimize(optimizer, rate, 200);
      expect(result.w.data as Float32Array).toBeAllclose([1, -2, 3], { atol: 0.01, rtol: 0 });
      expect(result.loss.dims).toEqual([200]);
      expect((result.loss.data as Float32Array)[0]).toBeCloseTo(14, 4);
    });
  }

  it('keep the best iterate where the last one is worse', async () => {
    const p = createProgram();
    const { state } = loop(p, { x: p.scalar(0), best: startBest(p, p.scalar(-1)) }, 6, (b, s) => ({
      state: { x: b.add(s.x, 1), best: keepBest(b, s.best, b.square(b.sub(s.x, 2)), s.x) },
    }));
    const result = await runProgram(p, state);
    expect([result.x, result.best.iterate, result.best.loss].map((t) => (t.data as Float32Array)[0])).toEqual(
      [6, 2, 0],
    );
  });

  it('takes the Adam step of the paper', async () => {
    const optimizer = adam({ beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1 });
    const result = await minimize(optimizer, 0.1, 3);
    const steps = 3;
    let [w, m, v] = [
      [0, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
    ];
    for (let t = 1; t <= steps; t++) {
      const rate = 0.05 * (1 + Math.cos((Math.PI * (t - 1)) / steps));
      const g = w.map((x, i) => 2 * (x - ([1, -2, 3][i] ?? 0)));
      m = m.map((x, i) => 0.9 * x + 0.1 * (g[i] ?? 0));
      v = v.map((x, i) => 0.99 * x + 0.01 * (g[i] ?? 0) ** 2);
      w = w.map(
        (x, i) =>
          x -
          rate * ((m[i] ?? 0) / (1 - 0.9 ** t) / (Math.sqrt((v[i] ?? 0) / (1 - 0.99 ** t)) + 1e-8) + 0.1 * x),
      );
    }
    expect(result.w.data as Float32Array).toBeAllclose(w, { atol: 1e-5, rtol: 1e-5 });
  });
});

describe('loops', () => {
  it('read values from outside, and refuse values of a body outside of it', async () => {
    const p = createProgram();
    const outside = p.add(p.scalar(2), 1);
    const { state } = loop(p, p.scalar(1), 4, (b, x) => ({ state: b.mul(x, outside) }));
    expect(((await runProgram(p, { state })).state.data as Float32Array)[0]).toBe(81);
    expect(() => loop(p, p.scalar(1), 4, (b, x) => ({ state: p.mul(b.mul(x, 2), 1) }))).toThrow(
      /belongs to another program or to a loop body/,
    );
  });

  it('nest', async () => {
    const p = createProgram();
    const { state } = loop(p, p.scalar(1), 3, (b, x) => ({
      state: loop(b, x, 2, (c, y) => ({ state: c.mul(y, 2) })).state,
    }));
    expect(((await runProgram(p, { state })).state.data as Float32Array)[0]).toBe(64);
  });

  it('refuse a state of another shape', () => {
    const p = createProgram();
    expect(() => loop(p, p.vector([1, 2]), 1, (b, x) => ({ state: b.reduceSum(x) }))).toThrow(/loop state/);
  });

  it('give the same bytes with one thread and two', async () => {
    const rng = createRng(3);
    const random = (...dims: number[]) =>
      tensor(
        'float32',
        dims,
        Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => rng.normal()),
      );
    const x = random(128, 96);
    const y = random(128, 64);
    const w = random(96, 64);
    const train = async (threads: number) => {
      const p = createProgram();
      const [a, b] = [p.constant(x), p.constant(y)];
      const { state } = loop(p, p.constant(w), 50, (body, v) => {
        const loss = body.reduceMean(body.square(body.sub(body.matmul(a, v), b)));
        return { state: body.sub(v, body.mul(gradients(body, loss, v), 10)) };
      });
      return (await runProgram(p, { state }, {}, { threads })).state.data;
    };
    expect(await train(2)).toEqual(await train(1));
  });
});
