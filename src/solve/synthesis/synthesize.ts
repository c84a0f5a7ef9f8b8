/** Inputs made from what a network remembers of its training data, batch by batch. */
import { FxqError, checkAbort, required, type Context, type Rng } from '../../core/index.js';
import { CAN_START_SESSIONS } from '../../engine/index.js';
import { sizeOf, tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { threadCount } from '../layer-runner.js';
import {
  openSearch,
  startState,
  type Scaling,
  type SearchProblem,
  type SearchProgram,
  type SearchState,
  type SoughtInput,
} from './program.js';

/** Relative squared error of the statistics of a batch, mean over the normalizations: of noise, and of what it became. */
export interface BatchLoss {
  readonly start: number;
  readonly end: number;
}

export interface Synthesized {
  /** By input, all batches one after the other. */
  readonly arrays: ReadonlyMap<string, Tensor>;
  readonly losses: readonly BatchLoss[];
  /** Deviation of the noise that each input started from. */
  readonly scales: ReadonlyMap<string, number>;
}

/** Steps of one run of the loop, between which an interrupt is noticed. */
const PIECE = 20;

/** Deviations that noise may start from: powers of two that cover pixels of 0…255 as well as small signals. */
const SCALES = Array.from({ length: 15 }, (_, i) => 2 ** (i - 6));

/**
 * Makes batches of inputs. Each is optimized by itself, as many at once as there are threads.
 *
 * @throws FxqError E_UNSUPPORTED where an operator has no gradient (naming the node), or the search diverges
 */
export async function synthesizeInputs(
  problem: SearchProblem,
  batches: number,
  ctx: Context,
): Promise<Synthesized> {
  const { inputs, steps } = problem;
  const rng = ctx.rng.fork('synthesize');
  const progress = ctx.start('Synthesizing', batches * steps);
  const lanes = CAN_START_SESSIONS ? Math.min(threadCount(ctx.threads), batches) : 1;
  const programs = await openDifferentiable(problem, lanes);
  let done = 0;
  try {
    const scaling = await startScaling(required(programs[0], 'a program'), inputs, rng, ctx);
    const made = await shareBatches(batches, programs, ctx, (program, batch, watched) => {
      const start = startState(noise(inputs, rng.fork(`batch ${batch}`)));
      return search(program, start, scaling, steps, watched, (count, loss) => {
        done += count;
        progress.update(done, `loss ${loss.toPrecision(3)}`);
      });
    });
    const losses = made.map(({ loss }) => loss);
    const mean = (key: keyof BatchLoss): string =>
      (losses.reduce((sum, l) => sum + l[key], 0) / batches).toPrecision(3);
    progress.finish(`Synthesized in ${steps} steps a batch: loss ${mean('start')} → ${mean('end')}`);
    const parts = made.map(({ latent }) => scaled(latent, scaling));
    return {
      arrays: new Map(inputs.map(({ name }, i) => [name, stacked(parts.map((m) => required(m[i], name)))])),
      losses,
      scales: new Map(inputs.map(({ name }, i) => [name, required(scaling[i], name).scale])),
    };
  } finally {
    await Promise.all(programs.map((program) => program.release()));
  }
}

/** Each program takes the next batch when it is free. Where one fails, the others stop after their current run. */
async function shareBatches<T>(
  batches: number,
  programs: readonly SearchProgram[],
  ctx: Context,
  work: (program: SearchProgram, batch: number, ctx: Pick<Context, 'signal'>) => Promise<T>,
): Promise<T[]> {
  const stop = new AbortController();
  const watched = { signal: AbortSignal.any([ctx.signal, stop.signal]) };
  const results: T[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const take = async (program: SearchProgram): Promise<void> => {
    try {
      while (next < batches) {
        const batch = next++;
        results[batch] = await work(program, batch, watched);
      }
    } catch (error) {
      failures.push(error);
      stop.abort();
    }
  };
  await Promise.all(programs.map(take));
  if (failures.length > 0) throw failures[0];
  return results;
}

interface Batch {
  readonly latent: readonly Tensor[];
  readonly loss: BatchLoss;
}

/** All steps of one batch. */
async function search(
  program: SearchProgram,
  start: SearchState,
  scaling: readonly Scaling[],
  steps: number,
  ctx: Pick<Context, 'signal'>,
  report: (count: number, loss: number) => void,
): Promise<Batch> {
  const losses: number[] = [];
  let state = start;
  while (losses.length < steps) {
    checkAbort(ctx);
    const count = Math.min(PIECE, steps - losses.length);
    const { state: reached, loss } = await program.run(state, scaling, losses.length, count);
    state = reached;
    losses.push(...toFloat32(loss));
    const now = required(losses.at(-1), 'a loss');
    requireFinite(now, losses.length);
    report(count, now);
  }
  const [first, last] = [required(losses[0], 'a loss'), required(losses.at(-1), 'a loss')];
  return { latent: state.latent, loss: { start: first, end: last } };
}

/** @throws FxqError E_UNSUPPORTED with a remedy that fits: here no layer can be left out */
async function openDifferentiable(problem: SearchProblem, lanes: number): Promise<SearchProgram[]> {
  try {
    return await openSearch(problem, lanes);
  } catch (error) {
    if (!(error instanceof FxqError) || error.code !== 'E_UNSUPPORTED') throw error;
    throw new FxqError(
      error.code,
      `inputs cannot be moved through this model: ${error.message}`,
      'Calibrate on real data, or on --random.',
      { cause: error },
    );
  }
}

/**
 * Mean and deviation as known, or zero and the power of two from which noise comes closest to the statistics; input by input.
 */
async function startScaling(
  program: SearchProgram,
  inputs: readonly SoughtInput[],
  rng: Rng,
  ctx: Context,
): Promise<Scaling[]> {
  const state = startState(noise(inputs, rng.fork('scale')));
  const chosen = inputs.map(({ known }): Scaling => ({ mean: known?.mean ?? 0, scale: known?.std ?? 1 }));
  for (const [i, { known }] of inputs.entries()) {
    if (known !== undefined) continue;
    let least = Infinity;
    for (const scale of SCALES) {
      checkAbort(ctx);
      const tried = chosen.map((own, k) => (k === i ? { mean: 0, scale } : own));
      const { loss } = await program.run(state, tried, 0, 1);
      const found = required(toFloat32(loss)[0], 'a loss');
      if (!(found < least)) continue;
      least = found;
      chosen[i] = { mean: 0, scale };
    }
  }
  return chosen;
}

function noise(inputs: readonly SoughtInput[], rng: Rng): Tensor[] {
  return inputs.map(({ name, dims }) => {
    const own = rng.fork(name);
    return tensor(
      'float32',
      dims,
      Float32Array.from({ length: sizeOf(dims) }, () => own.normal()),
    );
  });
}

function scaled(latent: readonly Tensor[], scaling: readonly Scaling[]): Tensor[] {
  return latent.map((t, i) => {
    const { mean, scale } = required(scaling[i], 'a scaling');
    return tensor(
      'float32',
      t.dims,
      toFloat32(t).map((v) => mean + scale * v),
    );
  });
}

/** Batches along their first axis. */
function stacked(parts: readonly Tensor[]): Tensor {
  const [, ...sample] = required(parts[0], 'a batch').dims;
  const count = parts.reduce((sum, { dims }) => sum + (dims[0] ?? 0), 0);
  const data = new Float32Array(count * sizeOf(sample));
  parts.forEach((part, i) => data.set(toFloat32(part), i * toFloat32(part).length));
  return tensor('float32', [count, ...sample], data);
}

function requireFinite(loss: number, step: number): void {
  if (Number.isFinite(loss)) return;
  throw new FxqError('E_UNSUPPORTED', `the inputs diverged: their loss is ${loss} at step ${step}`, [
    'Choose a lower --learning-rate.',
    'Or say what the inputs are like: --input-mean and --input-std.',
  ]);
}
