/**
 * Ranges by what layers make of them (after EasyQuant, arXiv 2006.16669): for every activation the candidate whose
 * rounding and clipping changes the outputs of the layers that read it least. All candidates of all activations are
 * measured in one pass: a layer's output moves by the layer applied to x̂ − x, since it is linear.
 */
import { checkAbort, required, type Context } from '../../core/index.js';
import { createRunner, openSession, withOutputs, type Batch, type Carry } from '../../engine/index.js';
import { parametersForRange, parseFormat } from '../../formats/index.js';
import { GraphEditor, withGraph, type Model, type Node } from '../../onnx/index.js';
import { isSymmetric, type ActivationQuantization, type Plan } from '../../plan/index.js';
import { tensor, toNumbers } from '../../tensor/index.js';
import { type Statistics } from '../statistics.js';
import { sketchOf } from './assign-ranges.js';
import { chooseRange, type Range, type RangeSettings } from './range.js';

/** Ranges tried for each activation, the widest first: a later one must be better. */
const CANDIDATES: readonly RangeSettings[] = [
  { method: 'minmax' },
  { method: 'percentile', percentile: 99.999 },
  { method: 'percentile', percentile: 99.99 },
  { method: 'percentile', percentile: 99.9 },
  { method: 'percentile', percentile: 99.5 },
  { method: 'mse' },
  { method: 'entropy' },
];

const LAYERS = new Set(['Conv', 'ConvTranspose', 'Gemm', 'MatMul']);

/** Ranges closer than this share of their width count as one. */
const ALIKE = 0.01;

/** Activations that share their parameters, and what may become of them. */
interface Trial {
  readonly tie: string;
  readonly candidates: readonly Range[];
  /** Names of the outputs with squared errors: of each candidate, of every reading layer. */
  readonly errors: readonly (readonly string[])[];
  /** Squared outputs of the reading layers. */
  readonly energies: readonly string[];
}

/**
 * The plan with ranges for all activations that some layer reads, chosen by the layers' errors. Others are left open.
 *
 * @param model   prepared model
 * @param batches calibration samples
 */
export async function rangesByLayerError(
  model: Model,
  plan: Plan,
  statistics: Statistics,
  batches: readonly Batch[],
  carry: Carry,
  ctx: Context,
): Promise<Plan> {
  const editor = new GraphEditor(model.graph);
  const trials = [...tiesOf(plan)].flatMap(([tie, members]) =>
    members.some(([, m]) => m.range?.method === 'given')
      ? []
      : addTrial(editor, tie, members, plan, statistics),
  );
  const outputs = [...new Set(trials.flatMap((t) => [...t.errors.flat(), ...t.energies]))];
  if (outputs.length === 0) return plan;
  const tapped = withOutputs(withGraph(model, editor.finish()), [...outputs, ...carry.values()], true);
  const session = await openSession(tapped, { threads: ctx.threads });
  const runner = createRunner(session, carry);
  const sums = new Map(outputs.map((name) => [name, 0]));
  try {
    for (const { inputs } of batches) {
      checkAbort(ctx);
      const results = await runner.run(inputs, outputs);
      for (const name of outputs)
        sums.set(name, (sums.get(name) ?? 0) + (toNumbers(required(results.get(name), name))[0] ?? 0));
    }
  } finally {
    await session.release();
  }
  const chosen = new Map(trials.map((trial) => [trial.tie, bestOf(trial, sums)]));
  const activations = Object.entries(plan.activations).map(([id, a]) => {
    const range = chosen.get(a.tie);
    return [id, range === undefined ? a : { ...a, range }] as const;
  });
  return { ...plan, activations: Object.fromEntries(activations) };
}

function tiesOf(plan: Plan): Map<string, [string, ActivationQuantization][]> {
  const ties = new Map<string, [string, ActivationQuantization][]>();
  for (const entry of Object.entries(plan.activations))
    ties.set(entry[1].tie, [...(ties.get(entry[1].tie) ?? []), entry]);
  return ties;
}

/** Adds what measures the candidates of one tie; nothing where no layer reads it or there is one candidate only. */
function addTrial(
  editor: GraphEditor,
  tie: string,
  members: readonly [string, ActivationQuantization][],
  plan: Plan,
  statistics: Statistics,
): Trial[] {
  const all = members.map(([, activation]) => activation);
  const [first] = all;
  const format = first === undefined ? undefined : parseFormat(first.format);
  if (first === undefined || format?.uniform !== true || !format.integer) return [];
  const readers = members.flatMap(([id, { value }]) => readersOf(editor, plan, id, value));
  if (readers.length === 0) return [];
  const symmetric = isSymmetric(first.format);
  const sketch = sketchOf(all, statistics);
  const candidates: Range[] = [];
  for (const settings of CANDIDATES) {
    const range = chooseRange(sketch, settings, { format, symmetric });
    if (!candidates.some((known) => isAlike(known, range))) candidates.push(range);
  }
  if (candidates.length < 2) return [];
  const square = (value: string): string =>
    editor.emit('ReduceSumSquare', [value], { keepdims: 0 }, 'fxq_square');
  const errors = candidates.map((range) => {
    const { scale, zeroPoint } = parametersForRange(format, range, { symmetric });
    const ends = [format.low, format.high].map((code) => (code - zeroPoint) * scale) as [number, number];
    const changes = new Map<string, string>();
    return readers.map(({ node, input, value }) => {
      const change = changes.get(value) ?? roundingError(editor, value, scale, ends);
      changes.set(value, change);
      const inputs = node.inputs.slice(0, 2);
      inputs[input] = change;
      const output = editor.uniqueName('fxq_moved');
      editor.add({ ...node, name: editor.uniqueName('fxq_moved_node'), inputs, outputs: [output] });
      return square(output);
    });
  });
  return [{ tie, candidates, errors, energies: readers.map(({ node }) => square(node.outputs[0] ?? '')) }];
}

interface Reader {
  readonly node: Node;
  readonly input: number;
  readonly value: string;
}

/** Layers that read an activation as integers. */
function readersOf(editor: GraphEditor, plan: Plan, id: string, value: string): Reader[] {
  return editor.consumers(value).flatMap((node) => {
    if (node.domain !== '' || !LAYERS.has(node.opType)) return [];
    const input = (plan.nodes[node.name]?.inputs ?? []).indexOf(id);
    return input === 0 || input === 1 ? [{ node, input, value }] : [];
  });
}

/** x̂ − x on the grid of multiples of `scale` between the ends. */
function roundingError(
  editor: GraphEditor,
  value: string,
  scale: number,
  [low, high]: readonly [number, number],
): string {
  const scalar = (x: number): string => editor.addInitializer('fxq_number', tensor('float32', [], [x]));
  const clipped = editor.emit('Clip', [value, scalar(low), scalar(high)], {}, 'fxq_clipped');
  const steps = editor.emit('Round', [editor.emit('Mul', [clipped, scalar(1 / scale)], {}, 'fxq_steps')]);
  return editor.emit('Sub', [editor.emit('Mul', [steps, scalar(scale)], {}, 'fxq_rounded'), value]);
}

function isAlike(a: Range, b: Range): boolean {
  const width = Math.max(a.high - a.low, b.high - b.low);
  return Math.abs(a.low - b.low) + Math.abs(a.high - b.high) <= ALIKE * width;
}

/** The candidate with the least sum of relative errors. */
function bestOf({ candidates, errors, energies }: Trial, sums: ReadonlyMap<string, number>): Range {
  const costs = errors.map((names) =>
    names.reduce((cost, name, i) => {
      const energy = sums.get(energies[i] ?? '') ?? 0;
      return cost + (energy === 0 ? 0 : (sums.get(name) ?? 0) / energy);
    }, 0),
  );
  const best = costs.reduce((a, cost, i) => (cost < (costs[a] as number) ? i : a), 0);
  const { low, high } = required(candidates[best], 'a candidate');
  return { low, high, method: 'layer-error' };
}
