/** From a prepared model and data to a question that sensitivity methods answer and a space that allocation searches. */
import { hashModel, type RangeSettings, type Statistics } from '../calibrate/index.js';
import { FxqError, hashValue, required, type Context } from '../core/index.js';
import { type DataSet } from '../data/index.js';
import { NO_CARRY, readAll } from '../engine/index.js';
import { type FitMethod } from '../formats/index.js';
import { type Model, type TensorType } from '../onnx/index.js';
import { planQuantization, type PlanSettings } from '../plan/index.js';
import { collectMoments, parsePattern, sparseEligibility } from '../solve/index.js';
import { type SearchCache } from './cache.js';
import { type CostName, type Hardware } from './costs/index.js';
import { candidatesFor, searchLayers, type CandidateAxes, type LayerCandidate } from './layers.js';
import { createRealizer } from './realize.js';
import { chooseLoss, outputsOf, type LossKind, type Study } from './sensitivity/index.js';
import { groupLayers, restOf, type SearchGroup, type SearchSpace } from './space.js';

export interface StudySettings {
  /** The prepared float model, with the types of its values. */
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  /** Samples on which losses are measured. */
  readonly data: DataSet;
  /** Samples that candidates' weights are fitted to; losses on these flatter what fits them. Default: the same. */
  readonly fitData?: DataSet;
  /** Ranges of activations; needed where candidates round them. */
  readonly statistics?: Statistics;
  readonly plan: PlanSettings;
  readonly ranges: RangeSettings;
  readonly weightRange: FitMethod;
  readonly axes: CandidateAxes;
  /** Axes of single layers instead of the common ones, by node name. */
  readonly perLayer?: Readonly<Record<string, CandidateAxes>>;
  /** Sets of nodes that take one candidate. */
  readonly ties?: readonly (readonly string[])[];
  readonly hardware: Hardware;
  readonly costs: readonly CostName[];
  /** Output compared; the first when absent. */
  readonly output?: string;
  readonly loss?: LossKind;
  /** Samples of one run. */
  readonly batch: number;
  /** Keeps measured losses, so that an interrupted search goes on. */
  readonly cache?: SearchCache;
  /** Lets the first and the last layer be sparse. */
  readonly sparseEnds?: boolean;
}

export interface OpenStudy {
  readonly study: Study & { readonly groups: readonly SearchGroup[] };
  readonly space: SearchSpace;
}

/** Samples that ranges by layer error look at. */
const RANGING_SAMPLES = 64;

/**
 * Opens a study.
 *
 * @throws FxqError E_UNSUPPORTED for models that carry state from sample to sample
 */
export async function openStudy(settings: StudySettings, ctx: Context): Promise<OpenStudy> {
  const { model, types, data, fitData = data, hardware, costs } = settings;
  if (data.carry !== NO_CARRY && data.carry.size > 0) {
    throw new FxqError(
      'E_UNSUPPORTED',
      'a search needs samples that do not depend on each other, but this model carries state between them',
      'Give sequences as whole samples.',
    );
  }
  const plan = planQuantization(model, types, settings.plan);
  const layers = searchLayers(model, types, plan);
  if (layers.length === 0)
    throw new FxqError(
      'E_UNSUPPORTED',
      'no layer of the model can be quantized in more than one way',
      'Check the target and the rules.',
    );
  const groups = groupLayers(layers, offers(settings), settings.ties);
  const empty = groups.find((g) => g.candidates.length === 0);
  if (empty !== undefined)
    throw new FxqError(
      'E_UNSUPPORTED',
      `no candidate fits '${empty.name}'`,
      'Offer narrower formats, allow a wider accumulator, or correct the rules of this layer.',
    );
  const looksAtInputs = groups.some((g) =>
    g.candidates.some((c) => c.weights !== 'float' && c.solver !== 'nearest'),
  );
  const moments = looksAtInputs
    ? await collectMoments(
        model,
        layers.map((l) => l.layer),
        fitData,
        ctx,
      )
    : undefined;
  const batches = await readAll(data.batches(settings.batch));
  const output = settings.output ?? required(model.graph.outputs[0], 'an output').name;
  const reference = await outputsOf(model, batches, output, ctx);
  const ranging =
    settings.ranges.method === 'layer-error'
      ? await readAll(fitData.batches(settings.batch, 0, Math.min(RANGING_SAMPLES, fitData.samples)))
      : [];
  const realize = createRealizer(
    { ...settings, batches: ranging, ...(moments === undefined ? {} : { moments }) },
    ctx,
  );
  const loss = settings.loss ?? chooseLoss(required(reference[0], 'a sample'));
  const key = hashValue({
    model: hashModel(model),
    data: [data.hash(), fitData.hash()],
    statistics: settings.statistics?.dataHash,
    groups: groups.map((g) => [g.name, g.candidates]),
    settings: [settings.plan, settings.ranges, settings.weightRange, output, loss, ctx.seed],
  });
  const memory = settings.cache === undefined ? {} : { memory: { cache: settings.cache, key } };
  return {
    study: { model, types, data, batches, output, loss, reference, groups, realize, ...memory },
    space: { groups, hardware, costs, rest: restOf(model, types, plan, layers) },
  };
}

function offers({
  model,
  axes,
  perLayer = {},
  sparseEnds = false,
}: StudySettings): Parameters<typeof groupLayers>[1] {
  const eligible = new Map<string, ReadonlySet<string>>();
  const allows = (node: string, pattern: string): boolean => {
    let nodes = eligible.get(pattern);
    if (nodes === undefined) {
      const found = sparseEligibility(model.graph, parsePattern(pattern), { ends: sparseEnds });
      nodes = new Set(found.filter((e) => e.layer !== undefined).map((e) => e.node));
      eligible.set(pattern, nodes);
    }
    return nodes.has(node);
  };
  return (layer): LayerCandidate[] => candidatesFor(layer, perLayer[layer.node] ?? axes, allows);
}
