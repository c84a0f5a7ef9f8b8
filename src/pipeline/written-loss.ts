/** How models that a search has written do on the samples kept for that. */
import { required, type Context } from '../core/index.js';
import { openSession } from '../engine/index.js';
import { type Model } from '../onnx/index.js';
import {
  averageCurvature,
  curvatureLosses,
  hasAveragedCurvature,
  sampleLosses,
  type Assignment,
  type LossBySample,
} from '../search/index.js';
import { type Tensor } from '../tensor/index.js';
import { type OpenSearch } from './open-search.js';
import { type WriteModel } from './written-points.js';

/** Samples of one run. */
const BATCH = 32;

/** How far a written model is from the float one on samples that its weights are not fitted to. */
export interface WrittenLoss {
  /** Mean loss. */
  readonly loss: number;
  /** What models are compared by: the loss, or where it is possible one that few samples tell better. */
  readonly steady: number;
  /** The latter by sample. */
  readonly samples: LossBySample;
}

/** Runs written models. */
export function writtenLoss(
  write: WriteModel,
  open: OpenSearch,
  ctx: Pick<Context, 'threads'>,
): (assignment: Assignment) => Promise<WrittenLoss> {
  const { study, judged } = open;
  const { model, output, loss: kind } = study;
  // Batch by batch, so that neither samples nor large outputs are held.
  const outputsOf = async function* (models: readonly Model[]): AsyncGenerator<Tensor[]> {
    const sessions = await Promise.all(models.map((m) => openSession(m, ctx)));
    try {
      for await (const { inputs } of judged.batches(BATCH)) {
        const outputs: Tensor[] = [];
        for (const session of sessions)
          outputs.push(required((await session.run(inputs, [output])).get(output), output));
        yield outputs;
      }
    } finally {
      for (const session of sessions) await session.release();
    }
  };
  const curvatureOf = async (): Promise<Float64Array | undefined> => {
    if (!hasAveragedCurvature(kind, required(study.reference[0], 'a sample'))) return undefined;
    const references: Tensor[] = [];
    for await (const [reference] of outputsOf([model])) references.push(required(reference, output));
    return averageCurvature(kind, references);
  };
  let curvature: Promise<Float64Array | undefined> | undefined;
  return async (assignment) => {
    const averaged = await (curvature ??= curvatureOf());
    const [losses, steady]: [number[], number[]] = [[], []];
    for await (const [reference, actual] of outputsOf([model, await write(assignment)])) {
      const [a, b] = [required(reference, output), required(actual, output)];
      losses.push(...sampleLosses(kind, a, b));
      if (averaged !== undefined) steady.push(...curvatureLosses(kind, averaged, a, b));
    }
    const samples = averaged === undefined ? losses : steady;
    return { loss: mean(losses), steady: mean(samples), samples };
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
