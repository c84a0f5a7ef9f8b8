import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { observeTensors, valueNamed } from '../../src/report/tensors.js';
import { type LayerResult } from '../../src/report/result.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';
import { floatModel, quantizedModel } from './models.js';

const { graph } = quantizedModel();
const rng = createRng(11);
const values = Array.from({ length: 20_000 }, () => rng.normal());
const run = (data: readonly number[]): Map<string, Tensor> =>
  new Map([['r', tensor('float32', [data.length], data)]]);

const layer = (value: string, activation: number): LayerResult => ({
  value,
  node: value,
  opType: 'Relu',
  own: 0,
  share: 0,
  accumulated: 0,
  activation,
});

describe('observeTensors', () => {
  it('spreads the sketch of all batches over equal steps', () => {
    const observer = observeTensors(graph, ['r']);
    observer.observe(run(values.slice(0, 5000)));
    observer.observe(run(values.slice(5000)));
    const [r] = observer.results([]);
    const stored = values.map(Math.fround);
    expect(r).toMatchObject({ value: 'r', min: Math.min(...stored), max: Math.max(...stored) });
    const total = r!.histogram.reduce((a, b) => a + b, 0);
    expect(total).toBeCloseTo(values.length, -1);
    // Bins are a sixteenth of an octave wide: far coarser than a step at the edge, so counts are compared by thirds.
    const third = (from: number): number =>
      r!.histogram.slice(24 * from, 24 * (from + 1)).reduce((a, b) => a + b, 0);
    const edge = (i: number): number => r!.min + ((r!.max - r!.min) * i) / 3;
    for (const i of [0, 1, 2]) {
      const exact = values.filter((v) => v >= edge(i) && v < edge(i + 1)).length;
      expect(Math.abs(third(i) - exact)).toBeLessThan(0.02 * values.length);
    }
  });

  it('knows the grid of a quantized value', () => {
    const observer = observeTensors(graph, ['r']);
    observer.observe(run([0, 1]));
    const { grid } = observer.results([])[0]!;
    expect(grid!.step).toBeCloseTo(0.05, 6);
    expect([grid!.low, grid!.high]).toEqual([0, 255 * grid!.step]);
  });

  it('shows what rounding hurts most when nothing is asked for', () => {
    const observer = observeTensors(graph, []);
    observer.observe(
      new Map([...run([0, 1]), ['x', tensor('float32', [1], [2])], ['h', tensor('float32', [1], [2])]]),
    );
    const layers = [layer('x', 40), layer('r', 20), layer('h', 10)];
    expect(observer.results(layers).map((t) => t.value)).toEqual(['r', 'x']);
  });

  it('draws a constant as one step', () => {
    const observer = observeTensors(graph, ['r']);
    observer.observe(run([3, 3, 3]));
    expect(observer.results([])[0]).toMatchObject({
      min: 3,
      max: 3,
      histogram: [3, ...new Array<number>(71).fill(0)],
    });
  });

  it('takes the name of a node for what the node makes', () => {
    const float = floatModel().graph;
    expect(['relu', 'r', 'x', 'none'].map((name) => valueNamed(float, name))).toEqual([
      'r',
      'r',
      'x',
      'none',
    ]);
  });

  it('suggests the value that was meant', () => {
    const observer = observeTensors(graph, ['logit']);
    observer.observe(new Map([['logits', tensor('float32', [1], [2])]]));
    expect(() => observer.results([])).toThrow(/'logit'/);
  });
});
