/** What calibration and quantization need to know, taken from the configuration. */
import { type RangeChoice } from '../calibrate/index.js';
import { FxqError } from '../core/index.js';
import { validateDataSpec, type DataSpec } from '../data/index.js';
import { type Form, type FormOptions } from '../emit/index.js';
import { WORD_LENGTH_DEFAULTS, type FitMethod, type WordLengthOptions } from '../formats/index.js';
import { DEFAULT_SETTINGS, type NodeRule, type PlanSettings, type Sparsity } from '../plan/index.js';
import { pointRules, readPareto } from '../search/index.js';
import { type EqualizeRequest } from '../rewrite/index.js';
import { type BinaryPointMethod } from '../report/index.js';
import {
  type BiasCorrection,
  type BlockOptions,
  type DistillSettings,
  type Effort,
  type SparsityTarget,
} from '../solve/index.js';
import { formSettings } from './form-settings.js';
import { refuseIdle } from './idle-settings.js';
import { requireSetting, type LoadedConfig } from './load.js';
import { quantizedName, replaceEnding } from './output-name.js';
import { type Config } from './schema.js';

/** Where solvers keep finished layers, from the working folder. */
export const DEFAULT_CACHE = '.fxq/cache';

export interface CalibrateSettings {
  readonly model: string;
  readonly data: DataSpec;
  readonly shard?: { readonly index: number; readonly count: number };
  /** Where the statistics go. */
  readonly out: string;
}

export interface QuantizeSettings {
  readonly model: string;
  readonly out: string;
  readonly plan: PlanSettings;
  readonly emit: Form;
  readonly form?: FormOptions;
  readonly accumulator?: number;
  readonly ranges: RangeChoice;
  readonly weightRange: FitMethod | 'auto';
  readonly binaryPoint?: BinaryPointMethod;
  readonly wordLength?: WordLengthOptions;
  readonly solving: {
    readonly effort: Effort;
    readonly importance: boolean;
    readonly block?: Partial<BlockOptions>;
    readonly cache?: string;
    readonly sparsity?: Sparsity;
    readonly distill?: Partial<DistillSettings>;
  };
  readonly equalize: EqualizeRequest;
  readonly permuteChannels: boolean;
  readonly activationSparsity?: SparsityTarget;
  readonly biasCorrection: BiasCorrection | 'none';
  /** Where activation ranges come from; absent where nothing was given. */
  readonly statistics?:
    | { readonly kind: 'file'; readonly path: string; readonly spec?: DataSpec }
    | { readonly kind: 'data'; readonly spec: DataSpec };
  readonly avoidSaturation: boolean;
  readonly externalData: boolean;
  readonly locked: boolean;
}

export function calibrateSettings({ config }: LoadedConfig): CalibrateSettings {
  const model = modelOf(config);
  const { shard, file } = config.calibration ?? {};
  return {
    model,
    data: requiredData(config, 'the calibration data'),
    ...(shard === undefined ? {} : { shard }),
    out:
      file ?? replaceEnding(model, shard === undefined ? '.fxq' : `.${shard.index + 1}of${shard.count}.fxq`),
  };
}

export function quantizeSettings({ config }: LoadedConfig): QuantizeSettings {
  const model = modelOf(config);
  const {
    out,
    emit,
    cppTypes,
    accumulator,
    accumulatorOverflow,
    weightRange,
    effort,
    importance,
    block,
    cache,
    sparsity,
    sparsityMethod,
    activationSparsity,
    biasCorrection,
    distill,
    distillation,
    avoidSaturation,
    externalData,
    locked,
  } = config.quantize ?? {};
  const statistics = statisticsSource(config);
  const plan = planSettings(config);
  refuseIdle(config, plan);
  return {
    model,
    out: out ?? quantizedName(model, config.quantize),
    plan,
    emit: emit ?? 'qdq',
    ...formSettings(emit ?? 'qdq', { cppTypes, accumulator, accumulatorOverflow }),
    ranges: rangeSettings(config),
    weightRange: weightRange ?? 'auto',
    ...formatSettings(config),
    solving: {
      effort: effort ?? 'balanced',
      importance: importance ?? false,
      ...(block === undefined ? {} : { block: blockChanges(block) }),
      ...(cache === false ? {} : { cache: cache ?? DEFAULT_CACHE }),
      ...(sparsity === undefined
        ? {}
        : { sparsity: { pattern: sparsity, method: sparsityMethod ?? 'joint' } }),
      ...(distill === true ? { distill: distillation ?? {} } : {}),
    },
    equalize: equalizeRequest(config),
    permuteChannels: permutesChannels(config),
    ...(activationSparsity === undefined ? {} : { activationSparsity }),
    biasCorrection: biasCorrection ?? 'none',
    ...(statistics === undefined ? {} : { statistics }),
    avoidSaturation: avoidSaturation ?? false,
    externalData: externalData ?? false,
    locked: locked ?? false,
  };
}

/** @throws FxqError E_CONFIG where nothing is sparse */
function permutesChannels({ quantize = {} }: Config): boolean {
  const { permuteChannels = false, sparsity, layers = [], fromPareto } = quantize;
  const isSparse = sparsity !== undefined || fromPareto !== undefined || layers.some((l) => l.sparsity);
  if (permuteChannels && !isSparse)
    throw new FxqError('E_CONFIG', 'channels are permuted for sparse patterns, and no layer has one', [
      'Add --sparsity 2:4, or leave out --permute-channels.',
    ]);
  return permuteChannels;
}

/** @throws FxqError E_CONFIG for settings of smoothing without smoothing */
function equalizeRequest({ quantize = {} }: Config): EqualizeRequest {
  const { equalize = [], smoothAlpha, smoothInsert } = quantize;
  if (!equalize.includes('smooth') && (smoothAlpha !== undefined || smoothInsert === true)) {
    throw new FxqError('E_CONFIG', 'settings of smoothing are given, but activations are not smoothed', [
      'Add --equalize smooth, or leave out --smooth-alpha and --smooth-insert.',
    ]);
  }
  return { steps: equalize, alpha: smoothAlpha ?? 'auto', insert: smoothInsert ?? false };
}

/** How the words of fixed-point formats are chosen. */
function formatSettings({
  calibration = {},
  quantize = {},
}: Config): Pick<QuantizeSettings, 'binaryPoint' | 'wordLength'> {
  const { binaryPoint, weightRange, wordLength, resolution, epsilon } = quantize;
  const other = [calibration.method, weightRange].find((way) => way !== undefined && way !== 'auto');
  if (binaryPoint !== undefined && other !== undefined) {
    throw new FxqError(
      'E_CONFIG',
      `binary points by ${binaryPoint} and ranges by ${other} are asked for at once`,
      'Leave out --method and --weight-range, or --binary-point.',
    );
  }
  if (wordLength !== 'information' && (resolution !== undefined || epsilon !== undefined)) {
    throw new FxqError(
      'E_CONFIG',
      'a resolution or epsilon is given, but word lengths are not chosen by information',
      'Add --word-length information.',
    );
  }
  return {
    ...(binaryPoint === undefined ? {} : { binaryPoint }),
    ...(wordLength !== 'information'
      ? {}
      : {
          wordLength: {
            resolution: resolution ?? WORD_LENGTH_DEFAULTS.resolution,
            epsilon: epsilon ?? WORD_LENGTH_DEFAULTS.epsilon,
          },
        }),
  };
}

/** The key `layers` says how many layers blocks join. */
function blockChanges({
  layers,
  ...rest
}: NonNullable<NonNullable<Config['quantize']>['block']>): Partial<BlockOptions> {
  return { ...rest, ...(layers === undefined ? {} : { join: layers }) };
}

/** A statistics file spares the run over the data; the data then only help to choose between range methods. */
function statisticsSource({ calibration = {}, data }: Config): QuantizeSettings['statistics'] {
  const spec = data === undefined || !namesData(data) ? undefined : checkedData(data);
  if (calibration.file !== undefined)
    return { kind: 'file', path: calibration.file, ...(spec === undefined ? {} : { spec }) };
  return spec === undefined ? undefined : { kind: 'data', spec };
}

/** A configuration may say how data are read, and leave it to the command line which. */
function namesData({ path, kind, samples, rows }: DataSpec): boolean {
  return (path ?? kind ?? samples ?? rows) !== undefined;
}

export function rangeSettings({ calibration = {} }: Config): RangeChoice {
  const { method = 'auto', percentile } = calibration;
  if (percentile !== undefined && method !== 'percentile') {
    throw new FxqError(
      'E_CONFIG',
      `a percentile is given, but ranges are chosen by ${method}`,
      'Choose the method percentile, or leave the percentile out.',
    );
  }
  return { method, ...(percentile === undefined ? {} : { percentile }) };
}

export function planSettings({ target, quantize = {} }: Config): PlanSettings {
  const {
    include,
    exclude = [],
    layers = [],
    tensors = [],
    weights,
    activations,
    granularity,
    solver,
    fromPareto,
    sparsityMethod = 'joint',
  } = quantize;
  const everything: NodeRule = { match: { node: '/.*/' }, quantize: false };
  return {
    ...DEFAULT_SETTINGS,
    target: target ?? DEFAULT_SETTINGS.target,
    weights: weights ?? DEFAULT_SETTINGS.weights,
    activations: activations ?? DEFAULT_SETTINGS.activations,
    granularity: granularity ?? DEFAULT_SETTINGS.granularity,
    solver: solver ?? 'auto',
    nodes: [
      ...(include === undefined
        ? []
        : [everything, ...include.map((match): NodeRule => ({ match, quantize: true }))]),
      ...(fromPareto === undefined ? [] : paretoRules(fromPareto)),
      ...layers.map(({ sparsity, ...rule }): NodeRule => ({
        ...rule,
        ...(sparsity === undefined
          ? {}
          : { sparsity: sparsity === 'dense' ? sparsity : { pattern: sparsity, method: sparsityMethod } }),
      })),
      ...exclude.map((match): NodeRule => ({ match, quantize: false })),
    ],
    tensors,
  };
}

/** `file:point`, as rules for the planner. */
function paretoRules(text: string): NodeRule[] {
  const [, file, point] = /^(.+):(\w+)$/.exec(text) ?? [];
  if (file === undefined || point === undefined) {
    throw new FxqError(
      'E_USAGE',
      `'${text}' names no point of a Pareto file`,
      'Write FILE:POINT, for example model.pareto.json:budget.',
    );
  }
  return pointRules(readPareto(file), point);
}

export function modelOf(config: Config): string {
  return requireSetting(config.model, 'the model', 'the first argument, or model: in the configuration');
}

/** @throws FxqError E_USAGE saying how to give the data, where none are named */
export function requiredData({ data }: Config, what: string): DataSpec {
  const named = data !== undefined && namesData(data) ? data : undefined;
  return checkedData(requireSetting(named, what, '--data PATH, or data: in the configuration'));
}

export function checkedData(spec: DataSpec): DataSpec {
  validateDataSpec(spec);
  return spec;
}
