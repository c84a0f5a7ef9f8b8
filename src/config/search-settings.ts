/** What a search needs to know, taken from the configuration; see docs/search.md. */
import { type RangeChoice, type RangeSettings } from '../calibrate/index.js';
import { FxqError } from '../core/index.js';
import { type DataSpec } from '../data/index.js';
import { type FitMethod } from '../formats/index.js';
import { type PlanSettings } from '../plan/index.js';
import {
  DEFAULT_AXES,
  findHardware,
  type Budget,
  type CandidateAxes,
  type Hardware,
  type SensitivityName,
} from '../search/index.js';
import { type Effort } from '../solve/index.js';
import { requireSetting, type LoadedConfig } from './load.js';
import { type Config } from './schema.js';
import { replaceEnding } from './output-name.js';
import {
  DEFAULT_CACHE,
  checkedData,
  modelOf,
  planSettings,
  rangeSettings,
  requiredData,
} from './settings.js';

export interface SearchSettings {
  readonly model: string;
  readonly data: DataSpec;
  readonly out: string;
  readonly plan: PlanSettings;
  readonly ranges: RangeSettings;
  readonly weightRange: FitMethod;
  /** How models that are written for a trial get their scales. */
  readonly scales: { readonly ranges: RangeChoice; readonly weightRange: FitMethod | 'auto' };
  readonly axes: CandidateAxes;
  readonly sensitivity: SensitivityName;
  readonly hardware: Hardware;
  readonly budgets: readonly Budget[];
  readonly maxLoss?: number;
  readonly maxDrop?: DropSettings;
  readonly samples: number;
  readonly cache?: string;
  readonly solving: { readonly effort: Effort; readonly cache?: string };
}

export interface DropSettings {
  readonly max: number;
  readonly metric: string;
  readonly labels: string;
  readonly data: DataSpec;
  readonly scores?: string;
}

/** Sensitivities of one layer at a time rank well from this many samples. */
const SEARCH_SAMPLES = 128;

/** Where a search looks and what it keeps to. */
export function searchSettings({ config }: LoadedConfig): SearchSettings {
  const model = modelOf(config);
  const { search: wanted = {}, quantize: { effort = 'balanced' } = {} } = config;
  const { sensitivity, hardware, budgets, samples, cache, out } = wanted;
  const plan = planSettings(config);
  const { method, ...ranges } = rangeSettings(config);
  const data = requiredData(config, 'the data to search with');
  const kept = cache === false ? {} : { cache: cache ?? DEFAULT_CACHE };
  const floors = floorSettings(config, data);
  return {
    model,
    data,
    out: out ?? replaceEnding(model, '.pareto.json'),
    plan,
    // What layers choose for themselves suits every format, and takes no trials of whole models.
    ranges: { ...ranges, method: method === 'auto' ? 'layer-error' : method },
    weightRange: 'mse',
    scales: { ranges: rangeSettings(config), weightRange: config.quantize?.weightRange ?? 'auto' },
    axes: axesOf(wanted, plan.activations, Object.keys(floors).length > 0),
    sensitivity: sensitivity ?? 'measured',
    hardware: findHardware(hardware ?? (plan.target === 'generic' ? 'generic' : 'onnxruntime-cpu')),
    budgets: budgets ?? [],
    ...floors,
    samples: samples ?? SEARCH_SAMPLES,
    ...kept,
    solving: { effort, ...kept },
  };
}

/**
 * The search that `fxq quantize --budget` starts with; undefined without budgets.
 *
 * @param out where the model goes; the Pareto file goes beside it
 */
export function budgetSettings(loaded: LoadedConfig, out: string): SearchSettings | undefined {
  const { budgets = [], fromPareto, sparsity } = loaded.config.quantize ?? {};
  if (budgets.length === 0) return undefined;
  const other = fromPareto === undefined ? sparsity && '--sparsity' : '--from-pareto';
  if (other !== undefined)
    throw new FxqError('E_USAGE', `--budget and ${other} both decide about the layers`, [
      other === '--sparsity'
        ? 'Offer patterns to the search instead: search.sparsity in the configuration.'
        : 'Give one of them.',
    ]);
  const { maxLoss: _loss, maxDrop: _drop, ...settings } = searchSettings(loaded);
  return { ...settings, budgets, out: out.replace(/(\.onnx)?$/, '.pareto.json') };
}

/** A floor can always be reached when layers may stay float, so they may unless formats are given. */
function axesOf(
  { weights, activations, granularity, sparsity = [], solver, accumulator }: NonNullable<Config['search']>,
  planned: string,
  hasFloor: boolean,
): CandidateAxes {
  return {
    ...DEFAULT_AXES,
    weights: weights ?? [...(hasFloor ? ['float'] : []), 'int8', 'int6', 'int4', 'int2'],
    activations: activations ?? [planned],
    ...(granularity === undefined ? {} : { granularity }),
    sparsity: ['dense', ...sparsity],
    solvers: typeof solver === 'string' ? [solver] : (solver ?? ['auto']),
    ...(accumulator === undefined ? {} : { maxAccumulator: accumulator }),
  };
}

/** Limits on the loss. A drop is one of KL where there are no labels. */
function floorSettings(
  { search: wanted = {} }: Config,
  data: DataSpec,
): Pick<SearchSettings, 'maxLoss' | 'maxDrop'> {
  const { maxLoss, maxDrop, labels, scores, data: own } = wanted;
  const metric = wanted.metric ?? (labels === undefined ? 'kl' : 'top1');
  if (maxDrop === undefined || metric === 'kl') {
    const [idle] = Object.entries({ labels, scores, data: own }).filter(([, value]) => value !== undefined);
    if (idle !== undefined || (maxDrop === undefined && wanted.metric !== undefined))
      throw new FxqError(
        'E_USAGE',
        `search.${idle?.[0] ?? 'metric'} is given, but no drop of a metric is limited`,
        'Give --max-drop, and --metric other than kl.',
      );
    if (maxDrop !== undefined && maxLoss !== undefined)
      throw new FxqError('E_USAGE', '--max-loss and --max-drop both limit the KL divergence', 'Give one.');
    const limit = maxLoss ?? maxDrop;
    return limit === undefined ? {} : { maxLoss: limit };
  }
  // How samples are read is the same as for the search unless said otherwise; which samples never is.
  const { rows: _rows, samples: _samples, ...reading } = data;
  return {
    ...(maxLoss === undefined ? {} : { maxLoss }),
    maxDrop: {
      max: maxDrop,
      metric,
      labels: requireSetting(labels, `a file of labels for ${metric}`, '--labels FILE, or search.labels'),
      data: own === undefined ? data : checkedData({ ...reading, ...own }),
      ...(scores === undefined ? {} : { scores }),
    },
  };
}
