/** The two programs of distillation: measuring the student on a batch, and some steps of learning as one loop. */
import { required } from '../../core/index.js';
import { type Dim } from '../../onnx/index.js';
import {
  adam,
  cosineSchedule,
  gradients,
  createProgram,
  feedsOf,
  inlineModel,
  loop,
  openProgram,
  updateParameters,
  type OpenProgram,
  type Program,
  type Value,
} from '../../program/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { losses, type Losses, type Targets } from './objective.js';
import { concatenate, type Feeds } from './samples.js';
import { inlineStudent, type TypedModel } from './student.js';
import { learnedValues, startParameters, type Learned, type Parameters } from './weights.js';

/** The float network, the network with quantized activations, and what is learned in it. */
export interface Pair {
  readonly teacher: TypedModel;
  readonly student: TypedModel;
  readonly learned: Learned;
}

/** Where learning stands: parameters and Adam's moments, leaf by leaf. A type alias, so that it is itself a tree. */
export type LearningState<T> = {
  readonly parameters: Parameters<T>;
  readonly moments: readonly Readonly<Record<string, T>>[];
};

export interface Schedule {
  readonly steps: number;
  /** Greatest learning rate, in units of a typical weight. */
  readonly rate: number;
}

const OPTIMIZER = adam();
/** Share of the steps in which the rate rises from 0. */
const WARM_UP = 0.05;

export function startState(learned: Learned): LearningState<Tensor> {
  const parameters = startParameters(learned);
  const all = [...parameters.codes, ...parameters.stretch, ...parameters.biases];
  const moments = all.map(({ dims }) =>
    Object.fromEntries(OPTIMIZER.moments.map((name) => [name, tensor('float32', dims)])),
  );
  return { parameters, moments };
}

/** Losses of a batch as numbers. */
export interface Measured {
  readonly output: number;
  readonly features: readonly number[];
}

/** Opens the measurement for batches shaped like the given one. */
export async function openMeasure(
  pair: Pair,
  targets: Targets,
  like: Feeds,
  threads: number,
): Promise<{
  run(parameters: Parameters<Tensor>, batch: Feeds): Promise<Measured>;
  release(): Promise<void>;
}> {
  const p = createProgram();
  const inputs = declare(p, like, (dims) => dims);
  const parameters = p.inputs('parameters', startParameters(pair.learned)) as unknown as Parameters<Value>;
  const { output, features } = compare(p, pair, targets, inputs, parameters);
  const program: OpenProgram<{ output: Tensor; features: readonly Tensor[] }> = await openProgram(
    p,
    { output, features },
    { threads },
  );
  return {
    run: async (values, batch) => {
      const found = await program.run({ ...feedsOf('parameters', values), ...Object.fromEntries(batch) });
      const number = (t: Tensor): number => Number(t.data[0]);
      return { output: number(found.output), features: found.features.map(number) };
    },
    release: () => program.release(),
  };
}

/** Opens a loop of as many steps as it is given batches, over batches shaped like the given one. */
export async function openTraining(
  pair: Pair,
  targets: Targets,
  like: Feeds,
  { rate, steps: total }: Schedule,
  threads: number,
): Promise<{
  run(state: LearningState<Tensor>, first: number, batches: readonly Feeds[]): Promise<LearningState<Tensor>>;
  release(): Promise<void>;
}> {
  const p = createProgram();
  const stacked = declare(p, like, (dims) => ['steps', ...dims]);
  const steps = p.input('fxq:steps', 'int64', []);
  const first = p.input('fxq:first', 'float32', []);
  const start = p.inputs('state', startState(pair.learned)) as unknown as LearningState<Value>;
  const warm = Math.ceil(WARM_UP * total);
  const schedule = cosineSchedule(rate, 0, total);
  const { state } = loop(p, start, steps, (b, now, iteration) => {
    const inputs = Object.fromEntries(
      Object.entries(stacked).map(([name, value]) => [name, b.gather(value, iteration)]),
    );
    const { total: loss } = compare(b, pair, targets, inputs, now.parameters);
    const slopes = gradients(b, loss, now.parameters);
    const step = b.add(b.cast(iteration, 'float32'), first);
    const count = b.add(step, 1);
    const next = updateParameters(b, OPTIMIZER, now.parameters, slopes, now.moments, {
      rate: b.mul(schedule(b, step), b.min(b.div(count, warm), 1)),
      count,
    });
    return { state: { parameters: next.parameters, moments: next.state } };
  });
  const program: OpenProgram<LearningState<Tensor>> = await openProgram(p, state, { threads });
  return {
    run: (from, at, batches) =>
      program.run({
        ...feedsOf('state', from),
        ...stack(batches),
        'fxq:first': tensor('float32', [], [at]),
        'fxq:steps': tensor('int64', [], [BigInt(batches.length)]),
      }),
    release: () => program.release(),
  };
}

/** Both networks on the same inputs. */
function compare(
  p: Program,
  { teacher, student, learned }: Pair,
  targets: Targets,
  inputs: Readonly<Record<string, Value>>,
  parameters: Parameters<Value>,
): Losses {
  const names = [...new Set([...targets.outputs, ...targets.features].map(({ value }) => value))];
  const wanted = inlineModel(p, teacher.model, names, { types: teacher.types, bind: inputs });
  const bind = { ...inputs, ...learnedValues(p, learned, parameters) };
  return losses(p, targets, wanted, inlineStudent(p, student, names, bind));
}

function declare(
  p: Program,
  like: Feeds,
  shape: (dims: readonly number[]) => readonly Dim[],
): Record<string, Value> {
  return Object.fromEntries([...like].map(([name, t]) => [name, p.input(name, t.dtype, shape(t.dims))]));
}

/** Batches of one shape along a new first axis. */
function stack(batches: readonly Feeds[]): Record<string, Tensor> {
  const [first] = batches;
  return Object.fromEntries(
    [...(first ?? [])].map(([name]) => {
      const parts = batches.map((batch) => {
        const t = required(batch.get(name), name);
        return { ...t, dims: [1, ...t.dims] };
      });
      return [name, concatenate(parts, 0)];
    }),
  );
}
