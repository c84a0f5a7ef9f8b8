/** Integer and QDQ forms of a benchmark model from the same plan, and its test inputs. */
import { join } from 'node:path';
import { assignRanges } from '../src/calibrate/index.js';
import { createContext, required } from '../src/core/index.js';
import { openDataSet } from '../src/data/index.js';
import { emitInteger, emitQdq, opsetForSettings, type EmittedIntegers } from '../src/emit/index.js';
import { type FitMethod, type WordLengthOptions } from '../src/formats/index.js';
import { feedInputs, loadTensor, readModel, type Model } from '../src/onnx/index.js';
import { loadModel } from '../src/pipeline/index.js';
import { chooseBinaryPoints } from '../src/pipeline/binary-points.js';
import { statisticsFrom } from '../src/pipeline/calibrate.js';
import { solveLayers } from '../src/pipeline/solve-layers.js';
import { assignWordLengths } from '../src/pipeline/word-lengths.js';
import {
  DEFAULT_SETTINGS,
  guardBiases,
  planQuantization,
  preferUnsigned,
  valuesToCalibrate,
  type Plan,
  type PlanSettings,
} from '../src/plan/index.js';
import {
  type BinaryPointEvidence,
  type BinaryPointMethod,
  type WordLengthEvidence,
} from '../src/report/index.js';
import { findWeightedLayers, roundToNearest, withBiases } from '../src/solve/index.js';
import { tensor, toFloat32, type Tensor } from '../src/tensor/index.js';
import { inFolder, type BenchModel } from './models.js';

const ctx = createContext();

export interface IntegerBench {
  readonly plan: Plan;
  readonly emitted: EmittedIntegers;
  readonly qdq: Model;
  readonly words?: WordLengthEvidence;
  readonly points?: BinaryPointEvidence;
  /** Values of a float weight. */
  weights(initializer: string): Float32Array;
}

export interface IntegerSettings extends Partial<PlanSettings> {
  readonly fit?: FitMethod;
  /** In place of `fit`. */
  readonly binaryPoint?: BinaryPointMethod;
  readonly wordLength?: WordLengthOptions;
}

/** GELU and 16-bit types exist as operators and QDQ types from here on. */
const OPSET = 21;

/** Calibrates, rounds or solves, and emits. `fit` chooses weight scales; activations use the method of that name. */
export async function integerBenchModel(
  folder: string,
  model: BenchModel,
  { fit: given = 'range', binaryPoint, wordLength, ...formats }: IntegerSettings,
): Promise<IntegerBench> {
  const settings: PlanSettings = { ...DEFAULT_SETTINGS, ...formats, target: 'integer' };
  const read = await loadModel(join(folder, model.model), Math.max(OPSET, opsetForSettings(settings)), ctx);
  const loaded =
    settings.solver === 'nearest'
      ? read
      : { ...read, model: withBiases(read.model, findWeightedLayers(read.model.graph)) };
  const skeleton = planQuantization(loaded.model, loaded.types, settings);
  const source = { kind: 'data', spec: inFolder(folder, model.calibration) } as const;
  const statistics = await statisticsFrom(loaded, source, valuesToCalibrate(skeleton), ctx);
  const method = given === 'range' ? 'minmax' : 'mse';
  const unsized = preferUnsigned(skeleton, (value) => statistics.tensors.get(value)?.min);
  const sized =
    wordLength === undefined ? undefined : assignWordLengths(loaded, unsized, statistics, wordLength, true);
  const planned = sized?.plan ?? unsized;
  const points =
    binaryPoint === undefined
      ? { plan: assignRanges(planned, statistics, { method }, ctx), weightRange: given }
      : await chooseBinaryPoints(
          binaryPoint,
          loaded,
          planned,
          statistics,
          { spec: source.spec, emit: 'integer', effort: 'balanced' },
          ctx,
        );
  const fit = points.weightRange;
  const plan = guardBiases(points.plan, loaded.model.graph);
  const rounded = roundToNearest(loaded.model.graph, plan, fit);
  const effort = { effort: 'balanced' } as const;
  const { weights: solved, ...layers } = await solveLayers(
    loaded.model,
    plan,
    rounded,
    source.spec,
    effort,
    ctx,
  );
  const calibrated = new Map(
    Object.entries(plan.activations).flatMap(([id, { value }]) => {
      const seen = statistics.tensors.get(value);
      return seen === undefined ? [] : [[id, { low: seen.min, high: seen.max }] as const];
    }),
  );
  return {
    plan,
    ...(sized === undefined ? {} : { words: sized.evidence }),
    ...('evidence' in points ? { points: points.evidence } : {}),
    weights: (name) => toFloat32(loadTensor(required(loaded.model.graph.initializers.get(name), name), name)),
    emitted: await emitInteger(layers.model, plan, solved, loaded.types, calibrated),
    qdq: emitQdq(layers.model, plan, solved),
  };
}

/** The first test rows as one batch. */
export async function testInputs(
  folder: string,
  model: BenchModel,
  count: number,
): Promise<ReadonlyMap<string, Tensor>> {
  const graph = readModel(join(folder, model.model)).graph;
  const data = await openDataSet(inFolder(folder, model.test), feedInputs(graph), ctx);
  for await (const { inputs } of data.batches(count)) {
    return new Map([...inputs].map(([name, t]) => [name, tensor('float32', t.dims, toFloat32(t))]));
  }
  throw new Error(`${model.name} has no test rows`);
}
