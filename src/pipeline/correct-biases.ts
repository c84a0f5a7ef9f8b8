/** Bias correction of the layers whose weights were rounded to nearest; solved layers bring corrections of their own. */
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { feedInputs, storeTensor, withGraph, type Model } from '../onnx/index.js';
import { matchRules, type Plan, type PlanSettings } from '../plan/index.js';
import { correctBiases, type BiasCorrection, type BiasReport } from '../solve/index.js';
import { withFloatWeights, type LayerSolutions } from './solve-layers.js';

/** How biases are corrected, or `none`. */
export type BiasChoice = BiasCorrection | 'none';

export interface CorrectedSolutions extends LayerSolutions {
  readonly biases: readonly BiasReport[];
}

/**
 * Takes the mean shift that rounding leaves out of every layer that can take it.
 *
 * @param model prepared float model, the target
 * @throws FxqError E_USAGE when there are no data to take means from
 */
export async function correctSolutions(
  model: Model,
  solutions: LayerSolutions,
  plan: Plan,
  way: BiasChoice,
  settings: PlanSettings,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<CorrectedSolutions> {
  if (way === 'none') return { ...solutions, biases: [] };
  if (spec === undefined) {
    throw new FxqError('E_USAGE', `${way} bias correction looks at what layers see, which needs data`, [
      'Give --data PATH, also beside --calibration.',
      'Without data, use --bias-correction none.',
    ]);
  }
  const left = new Set([...solutions.reports.map((r) => r.node), ...excluded(model, settings)]);
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const { biases, reports } = await correctBiases(
    {
      model,
      simulated: withFloatWeights(solutions.model, plan),
      plan,
      weights: solutions.weights,
      isWanted: (node) => !left.has(node),
    },
    way,
    data,
    ctx,
  );
  noteResult(way, reports, ctx);
  const { graph } = solutions.model;
  const initializers = new Map(graph.initializers);
  for (const [name, t] of biases) initializers.set(name, storeTensor(t));
  return { ...solutions, model: withGraph(solutions.model, { ...graph, initializers }), biases: reports };
}

/** Nodes whose last rule on the matter says no. */
function excluded({ graph }: Model, { nodes }: PlanSettings): string[] {
  return [...matchRules(graph, nodes)]
    .filter(([, rules]) => rules.findLast((r) => r.biasCorrection !== undefined)?.biasCorrection === false)
    .map(([node]) => node.name);
}

function noteResult(way: BiasCorrection, reports: readonly BiasReport[], ctx: Context): void {
  const measured = reports.flatMap(({ heldOut }) => (heldOut === undefined ? [] : [heldOut]));
  const mean = (of: (e: { before: number; after: number }) => number): string => {
    const logs = measured.map((e) => Math.log10(Math.max(of(e), 1e-12)));
    return (10 ** (logs.reduce((a, b) => a + b, 0) / Math.max(logs.length, 1))).toExponential(1);
  };
  const errors =
    measured.length === 0
      ? ''
      : `: held-out error ${mean((e) => e.before)} → ${mean((e) => e.after)} (geometric mean)`;
  const message =
    reports.length === 0
      ? `no layer has a bias that ${way} correction could change`
      : `${reports.length} biases corrected (${way})${errors}`;
  ctx.note({ level: 'info', code: 'bias-correction', message });
}
