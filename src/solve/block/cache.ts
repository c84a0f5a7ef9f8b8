/** Finished blocks by content, so that an interrupted run continues with the same bytes. */
import { hashModel } from '../../calibrate/index.js';
import { canonicalJson, required, sha256 } from '../../core/index.js';
import { type SolvedWeight } from '../../plan/index.js';
import { tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type CachedBlock } from '../cache.js';
import { type BlockReport, type NetworkValues } from '../solved.js';
import { type BlockProblem } from './block-problem.js';

/** Counts up when learning changes what it gives for the same block. */
const GENERATION = 1;

/** A block with its codes and what learning them bought. */
export interface SolvedBlock extends NetworkValues {
  readonly report: BlockReport;
}

/** Hash of all that determines the answer for a block: its nodes, samples, starts, options and the seed. */
export function blockKey(
  problem: BlockProblem,
  starts: readonly NetworkValues[],
  options: unknown,
  seed: number,
): string {
  const { slice, units, batch, inputs, targets, importance, weights, name } = problem;
  const parts: (Uint8Array | string)[] = [];
  const add = (label: string, t: Pick<Tensor, 'data' | 'dims'>): void => {
    const { buffer, byteOffset, byteLength } = t.data;
    parts.push(`${label}[${t.dims.join()}]`, new Uint8Array(buffer, byteOffset, byteLength));
  };
  for (const [value, { lossy, exact }] of inputs) {
    add(`lossy ${value}`, lossy);
    if (exact !== undefined) add(`exact ${value}`, exact);
  }
  for (const [value, t] of targets) add(`target ${value}`, t);
  for (const [value, t] of importance) add(`importance ${value}`, t);
  for (const { weights: codes, biases } of starts) {
    for (const [weight, { codes: data, scale, zeroPoint }] of codes)
      for (const array of [data, scale, zeroPoint]) add(weight, { data: array, dims: [array.length] });
    for (const [bias, t] of biases) add(bias, t);
  }
  const facts = {
    GENERATION,
    name,
    model: hashModel(slice.model),
    units,
    batch,
    weights: weights.map(({ layer, grid, minimumScale, keepsZeros }) => [
      layer.weight,
      grid,
      minimumScale,
      keepsZeros,
    ]),
    options,
    seed,
  };
  return sha256(canonicalJson(facts), ...parts);
}

/** A solved block as facts and arrays. */
export function toCached({ weights, biases, report }: SolvedBlock): CachedBlock {
  const arrays = new Map<string, Tensor>();
  [...weights.values()].forEach(({ codes, scale, zeroPoint }, i) => {
    arrays.set(`codes_${i}`, tensor('int32', [codes.length], codes));
    arrays.set(`scale_${i}`, tensor('float32', [scale.length], scale));
    arrays.set(`zero_point_${i}`, tensor('int32', [zeroPoint.length], zeroPoint));
  });
  [...biases.values()].forEach((t, i) => arrays.set(`bias_${i}`, t));
  return { facts: { report, weights: [...weights.keys()], biases: [...biases.keys()] }, arrays };
}

/** The solved block that was kept. */
export function fromCached({ facts, arrays }: CachedBlock): SolvedBlock {
  const { report, weights, biases } = facts as {
    readonly report: BlockReport;
    readonly weights: readonly string[];
    readonly biases: readonly string[];
  };
  const at = (name: string): Tensor => required(arrays.get(name), name);
  return {
    report,
    weights: new Map(
      weights.map((initializer, i) => {
        const solved: SolvedWeight = {
          initializer,
          codes: at(`codes_${i}`).data as Int32Array,
          scale: toFloat32(at(`scale_${i}`)),
          zeroPoint: at(`zero_point_${i}`).data as Int32Array,
        };
        return [initializer, solved] as const;
      }),
    ),
    biases: new Map(biases.map((name, i) => [name, at(`bias_${i}`)] as const)),
  };
}
