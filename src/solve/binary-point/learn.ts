/**
 * Learned binary points (QFX, arXiv 2401.17544): all F of a block descend the error of the block's output together, block
 * after block from the quantized prefix, by the gradient of the cast with respect to F.
 */
import { FxqError, checkAbort, required, type Context } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { operatorFacts, type Node } from '../../onnx/index.js';
import { type Plan } from '../../plan/index.js';
import { type Tensor } from '../../tensor/index.js';
import { startWalk, type Walk } from '../moments/walk.js';
import { openObjective, runBlock, type BlockSamples } from './block-program.js';
import { findBlocks, type Block } from './blocks.js';
import { descendPoints, type DescendPointsOptions, type Descended } from './descend.js';
import { activationKey, openPoints, weightKey, withPoints, type OpenPoints } from './points.js';
import { type SliceScope } from './slice.js';

/** The published rate and number of steps: a few units of F in either direction are within reach. */
export const LEARN_POINTS_DEFAULTS: DescendPointsOptions = { steps: 200, rate: 0.05, sweeps: 1 };

/** What learning did in one block. */
export interface PointBlockReport {
  /** Name of the last node. */
  readonly block: string;
  /** Numbers that were free, channels counted one by one, and how many of them moved. */
  readonly points: number;
  readonly moved: number;
  /** Squared error of the block's output, relative to the output: before and after, on the samples learned from. */
  readonly before: number;
  readonly after: number;
  /** Why nothing was learned, when nothing was. */
  readonly why?: string;
}

/** What it comes to at the outputs of the model. */
export interface WholeReport {
  /** Numbers that were free, and how many of them are not where they began. */
  readonly points: number;
  readonly moved: number;
  /** Relative squared error of the outputs: at the start, with every block's own points, and in the end. */
  readonly before: number;
  readonly byBlocks: number;
  readonly after: number;
}

export interface LearnedPoints {
  readonly plan: Plan;
  readonly blocks: readonly PointBlockReport[];
  readonly whole: WholeReport;
}

/**
 * Learns every open binary point of a plan. Each block starts from the plan's own points and keeps the best iterate, so
 * no block gets worse on the samples seen.
 *
 * @param scope   model at opset 18 or later; its plan with starting scales
 * @param batches samples to learn from; every step sees all of them
 * @returns the plan with the learned scales; those of weights are to be kept by rounding
 */
export async function learnBinaryPoints(
  scope: Omit<SliceScope, 'points'>,
  batches: readonly Batch[],
  options: Partial<DescendPointsOptions>,
  ctx: Context,
): Promise<LearnedPoints> {
  const settings = { ...LEARN_POINTS_DEFAULTS, ...options };
  const { model, types, plan } = scope;
  const points = openPoints(plan, scope.weights);
  const chosen = new Map([...points].map(([key, { start }]) => [key, start]));
  const blocks = findBlocks(model.graph, types, (node) => isWeighted(plan, node));
  const walk = startWalk(model, batches, ctx);
  const prefix = new Map<string, readonly Tensor[]>();
  const settled = new Set<string>();
  const reports: PointBlockReport[] = [];
  const progress = ctx.start('Learning binary points', blocks.length);
  for (const [i, block] of blocks.entries()) {
    checkAbort(ctx);
    const inputs = await enter(block, prefix, walk);
    const targets = await Promise.all(block.outputs.map((name) => walk.compute(name)));
    const keys = keysOf(block, plan, points).filter((key) => !settled.has(key));
    const samples = { inputs, targets };
    const learned = await learnBlock(block, { ...scope, points }, samples, keys, chosen, settings);
    for (const [key, f] of learned.points) chosen.set(key, f);
    for (const key of keys) settled.add(key);
    reports.push({ ...learned.report, block: block.nodes.at(-1)?.name ?? '' });
    if (i < blocks.length - 1) {
      const outputs = await runBlock(block, { ...scope, points }, samples, chosen);
      block.outputs.forEach((name, o) => prefix.set(name, required(outputs[o], name)));
    }
    walk.release();
    progress.update(i + 1);
  }
  progress.finish(`Learned ${points.size} binary points in ${blocks.length} blocks`);
  const finished = await finish({ ...scope, points }, batches, walk, chosen, settings, ctx);
  return { plan: withPoints(plan, finished.points), blocks: reports, whole: finished.report };
}

/**
 * What is good for the blocks need not be good for the model: its outputs decide between the points learned and those it
 * began with, and the better ones take the steps that its own derivatives suggest.
 */
async function finish(
  scope: SliceScope,
  batches: readonly Batch[],
  walk: Walk,
  learned: ReadonlyMap<string, Float32Array>,
  { rate, sweeps }: DescendPointsOptions,
  ctx: Context,
): Promise<{ points: ReadonlyMap<string, Float32Array>; report: WholeReport }> {
  const { graph } = scope.model;
  const [block] = findBlocks(graph, scope.types, () => false);
  const progress = ctx.start('Settling binary points');
  const samples = {
    inputs: new Map(
      graph.inputs.flatMap(({ name }) => {
        const tensors = batches.flatMap((b) => b.inputs.get(name) ?? []);
        return tensors.length === batches.length ? [[name, tensors] as const] : [];
      }),
    ),
    targets: await Promise.all(required(block, 'a block').outputs.map((name) => walk.compute(name))),
  };
  const keys = [...learned.keys()];
  const flat = (points: ReadonlyMap<string, Float32Array>): Float64Array =>
    Float64Array.from(keys.flatMap((key) => Array.from(required(points.get(key), key))));
  const objective = await openObjective(required(block, 'a block'), scope, samples, keys, new Map());
  try {
    const began = flat(new Map([...scope.points].map(([key, { start }]) => [key, start])));
    const [before, byBlocks] = [await objective.loss(began), await objective.loss(flat(learned))];
    const start = byBlocks < before ? flat(learned) : began;
    const step = (wanted: number): Promise<Descended> =>
      descendPoints(start, objective, { steps: 0, rate, sweeps: wanted });
    const { points, after } = await step(sweeps).catch((error: unknown) => {
      if (isWithoutGradient(error)) return step(0);
      throw error;
    });
    let from = 0;
    const parts = keys.map((key) => {
      const size = required(learned.get(key), key).length;
      return [key, Float32Array.from(points.subarray(from, (from += size)))] as const;
    });
    progress.finish();
    const moved = points.filter((f, i) => f !== began[i]).length;
    return { points: new Map(parts), report: { points: points.length, moved, before, byBlocks, after } };
  } finally {
    await objective.release();
  }
}

/** Whether an operator on the way has no gradient rule. */
function isWithoutGradient(error: unknown): error is FxqError {
  return error instanceof FxqError && error.code === 'E_UNSUPPORTED';
}

function isWeighted(plan: Plan, node: Node): boolean {
  return (
    operatorFacts(node)?.category === 'weighted' &&
    Object.keys(plan.nodes[node.name]?.weights ?? {}).length > 0
  );
}

/** Values that enter a block, one tensor a batch: quantized where a block before made them, exact otherwise. */
async function enter(
  block: Block,
  prefix: ReadonlyMap<string, readonly Tensor[]>,
  walk: Walk,
): Promise<ReadonlyMap<string, readonly Tensor[]>> {
  const entries: [string, readonly Tensor[]][] = [];
  for (const name of block.inputs) entries.push([name, prefix.get(name) ?? (await walk.compute(name))]);
  return new Map(entries);
}

/** Keys of the points that quantize something in a block. */
function keysOf({ nodes }: Block, plan: Plan, points: OpenPoints): string[] {
  const keys = nodes.flatMap((node) => {
    const nodePlan = plan.nodes[node.name];
    const ids = [...(nodePlan?.inputs ?? []), ...(nodePlan?.outputs ?? [])].filter((id) => id !== null);
    return [
      ...ids.map((id) => activationKey(required(plan.activations[id], id).tie)),
      ...Object.values(nodePlan?.weights ?? {}).map(weightKey),
    ];
  });
  return [...new Set(keys)].filter((key) => points.has(key));
}

/** Learns the points of one block; `chosen` are all points as they stand. */
async function learnBlock(
  block: Block,
  scope: SliceScope,
  samples: BlockSamples,
  keys: readonly string[],
  chosen: ReadonlyMap<string, Float32Array>,
  options: DescendPointsOptions,
): Promise<{ points: ReadonlyMap<string, Float32Array>; report: Omit<PointBlockReport, 'block'> }> {
  const parts = keys.map((key) => required(chosen.get(key), key));
  const start = Float64Array.from(parts.flatMap((part) => Array.from(part)));
  const nothing = { points: start.length, moved: 0, before: 0, after: 0 };
  if (keys.length === 0) return { points: new Map(), report: nothing };
  const fixed = new Map([...chosen].filter(([key]) => !keys.includes(key)));
  const objective = await openObjective(block, scope, samples, keys, fixed);
  try {
    const { points, before, after } = await descendPoints(start, objective, options);
    let from = 0;
    const learned = parts.map((part) => Float32Array.from(points.subarray(from, (from += part.length))));
    const moved = points.filter((f, i) => f !== start[i]).length;
    return {
      points: new Map(keys.map((key, i) => [key, required(learned[i], key)])),
      report: { points: start.length, moved, before, after },
    };
  } catch (error) {
    if (!isWithoutGradient(error)) throw error;
    return { points: new Map(), report: { ...nothing, why: error.message } };
  } finally {
    await objective.release();
  }
}
