/** Points of a search as the models that quantize would write. */
import { type Context } from '../core/index.js';
import { type DataSpec } from '../data/index.js';
import { type Model } from '../onnx/index.js';
import { assignmentRules, type Assignment } from '../search/index.js';
import { type OpenSearch, type StudyRequest } from './open-search.js';
import { type QuantizeRequest } from './quantize-request.js';
import { quantize } from './quantize.js';
import { type SolverRequest } from './solve-layers.js';

/** How points are written: what `fxq quantize --from-pareto` does with the rest of the settings. */
export interface WritingRequest extends StudyRequest {
  readonly out: string;
  readonly solving: SolverRequest;
  /** How scales are chosen. */
  readonly scales: Scales;
}

type Scales = Pick<QuantizeRequest, 'ranges' | 'weightRange'>;

/** The model of an assignment: solved front to back with corrected biases and every activation of the plan quantized. */
export type WriteModel = (assignment: Assignment) => Promise<Model>;

/** Makes models of assignments, each once. */
export function pointWriter(request: WritingRequest, open: OpenSearch, ctx: Context): WriteModel {
  return writer(request, open, { spec: request.data, sameScales: false }, ctx);
}

/**
 * Makes models to compare, fitted to the samples that are kept for that. All choose scales as the first one found best:
 * their formats make the difference.
 */
export function trialWriter(request: WritingRequest, open: OpenSearch, ctx: Context): WriteModel {
  return writer(request, open, { spec: open.fitSpec, sameScales: true }, ctx);
}

function writer(
  request: WritingRequest,
  open: OpenSearch,
  { spec, sameScales }: { readonly spec: DataSpec; readonly sameScales: boolean },
  ctx: Context,
): WriteModel {
  const quiet: Context = {
    ...ctx,
    note: () => undefined,
    start: () => ({ update: () => undefined, finish: () => undefined }),
  };
  let found: Scales | undefined;
  const written = new Map<string, Promise<Model>>();
  const write = async (nodes: ReturnType<typeof assignmentRules>): Promise<Model> => {
    const { model, scales } = await quantize(
      {
        model: request.model,
        out: request.out,
        plan: { ...request.plan, nodes: [...request.plan.nodes, ...nodes] },
        emit: 'qdq',
        ...(found ?? request.scales),
        statistics: { kind: 'known', statistics: open.statistics, spec },
        solving: request.solving,
        avoidSaturation: false,
        externalData: false,
        dryRun: true,
        locked: false,
      },
      quiet,
    );
    if (sameScales) found ??= scales;
    return model;
  };
  return (assignment) => {
    const rules = assignmentRules(assignment, request.plan.activations);
    const key = JSON.stringify(rules);
    const model = written.get(key) ?? write(rules);
    written.set(key, model);
    return model;
  };
}
