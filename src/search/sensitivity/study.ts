/** What every sensitivity method is given, and what it answers. */
import { required, type Context } from '../../core/index.js';
import { openSession, type Batch } from '../../engine/index.js';
import { type Model, type TensorType } from '../../onnx/index.js';
import { type Tensor } from '../../tensor/index.js';
import { type SearchCache } from '../cache.js';
import { type LayerCandidate, type SearchLayer } from '../layers.js';
import { type Realization } from '../simulate.js';
import { type LayerData, type LossKind } from '../../solve/index.js';

/** Layers that take one candidate together, and the candidates. */
export interface StudyGroup {
  readonly layers: readonly SearchLayer[];
  readonly candidates: readonly LayerCandidate[];
}

/** Numbers for a layer at a candidate; the same every time. */
export type Realize = (layer: SearchLayer, candidate: LayerCandidate) => Promise<Realization>;

/** A network, samples, and a question about its layers. */
export interface Study {
  /** The prepared float model. */
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  readonly data: LayerData;
  /** All samples of the data. */
  readonly batches: readonly Batch[];
  /** The output compared. */
  readonly output: string;
  readonly loss: LossKind;
  /** The float model's output for every batch. */
  readonly reference: readonly Tensor[];
  readonly groups: readonly StudyGroup[];
  /** Numbers of a candidate for one of its layers. */
  readonly realize: Realize;
  /** Remembers losses that were measured; nothing is remembered when absent. */
  readonly memory?: StudyMemory;
}

/** Where measured losses are kept, under a key that holds what they depend on besides group and candidates. */
export interface StudyMemory {
  readonly cache: SearchCache;
  readonly key: string;
}

/** Expected loss of each candidate with only its group changed, [groups][candidates]. */
export interface Sensitivity {
  readonly method: string;
  readonly loss: readonly (readonly number[])[];
  /** The same from one half of the samples (or batches), and from the other; absent where they cannot be halved. */
  readonly halves?: readonly [readonly (readonly number[])[], readonly (readonly number[])[]];
  /** Work beyond one forward pass of the samples, in forward passes (counted in multiplications). */
  readonly work: number;
}

/** One way to tell how much a candidate hurts. */
export type SensitivityMethod = (study: Study, ctx: Context) => Promise<Sensitivity>;

/** The output of a model for every batch. */
export async function outputsOf(
  model: Model,
  batches: readonly Batch[],
  output: string,
  ctx: Context,
): Promise<Tensor[]> {
  const session = await openSession(model, { threads: ctx.threads });
  try {
    const results: Tensor[] = [];
    for (const { inputs } of batches)
      results.push(required((await session.run(inputs, [output])).get(output), output));
    return results;
  } finally {
    await session.release();
  }
}

/** Whether a candidate leaves its layer as it is. */
export function isFloat({ weights, activations }: LayerCandidate): boolean {
  return weights === 'float' && activations === 'float';
}
