/** The schema of the configuration: every key and what it may hold. docs/configuration.md explains them. */
import { z } from 'zod';
import { RANGE_METHODS } from '../calibrate/index.js';
import { FxqError } from '../core/index.js';
import { ACCUMULATOR_OVERFLOWS, CPP_TYPES, FORMS, type CppTypes, type Form } from '../emit/index.js';
import { parseFormat } from '../formats/index.js';
import { PRESETS, TARGETS, type NodeMatch, type PresetName, type TargetName } from '../plan/index.js';
import { EQUALIZATIONS } from '../rewrite/index.js';
import { SENSITIVITIES, parseBudget, type SensitivityName } from '../search/index.js';
import {
  BIAS_CORRECTIONS,
  EFFORTS,
  FEATURE_WEIGHTS,
  ROUNDINGS,
  SOLVER_CHOICES,
  SPARSE_SOLVERS,
  formatPattern,
  parsePattern,
  parseSparsityTarget,
} from '../solve/index.js';
import { BINARY_POINT_METHODS, METRICS, REPORTERS, parseGate, type ReporterName } from '../report/index.js';
import { dataSchema } from './data.js';
import { parseSelector } from './selector.js';

/** A string that one of fxq's parsers turns into a value; the parser's errors become problems of the key. */
function parsed<T>(parse: (text: string) => T): z.ZodPipe<z.ZodString, z.ZodTransform<T, string>> {
  return z.string().transform((text, ctx) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof FxqError)) throw error;
      ctx.addIssue({ code: 'custom', message: [error.message, ...error.fix.slice(0, 1)].join('. ') });
      return z.NEVER;
    }
  });
}

const keys = <K extends string>(table: Record<K, unknown>): K[] => Object.keys(table) as K[];

const path = z.string().min(1);
const count = z.int().min(1);
/** Far more than any machine has; a runtime that is told to start many thousand takes all memory. */
const MOST_THREADS = 1024;

const formatOr = (...words: readonly string[]): z.ZodPipe<z.ZodString, z.ZodTransform<string, string>> =>
  parsed((name) => (words.includes(name) ? name : parseFormat(name).name));
const weights = formatOr('float');
const activations = formatOr('float', 'dynamic');

const granularity = z.union([
  z.enum(['tensor', 'channel']),
  z.strictObject({ block: count }),
  parsed((text) => {
    const block = /^block:([1-9]\d*)$/.exec(text)?.[1];
    if (block === undefined) throw new FxqError('E_CONFIG', "expected 'block:N' with N of 1 or more");
    return { block: Number(block) };
  }),
]);

const selector: z.ZodType<NodeMatch> = z.union([
  parsed(parseSelector),
  z
    .strictObject({
      node: z.string().exactOptional(),
      opType: z.string().exactOptional(),
      between: z.strictObject({ from: z.string(), to: z.string() }).exactOptional(),
    })
    .refine((match) => Object.keys(match).length > 0, { error: 'expected node, opType or between' }),
]);

/** `3/16`: the third of sixteen, counted from 0 inside. */
const shard = parsed((text) => {
  const [, place = '', total = ''] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  const shard = { index: Number(place) - 1, count: Number(total) };
  if (shard.index < 0 || shard.index >= shard.count)
    throw new FxqError('E_CONFIG', `'${text}' is no shard`, 'Write i/n with 1 ≤ i ≤ n, for example 3/16');
  return shard;
});

const solver = z.enum(SOLVER_CHOICES);
const pattern = parsed((text) => formatPattern(parsePattern(text)));

const calibration = z.strictObject({
  file: path.exactOptional(),
  shard: shard.exactOptional(),
  method: z.enum(['auto', ...RANGE_METHODS]).exactOptional(),
  percentile: z.number().gt(50).max(100).exactOptional(),
});

/** How the solver `block` learns. */
const block = z.strictObject({
  layers: count.exactOptional(),
  rounding: z.enum(ROUNDINGS).exactOptional(),
  iterations: count.exactOptional(),
  batch: count.exactOptional(),
  drop: z.number().min(0).lt(1).exactOptional(),
  importance: z.boolean().exactOptional(),
});

const quantize = z.strictObject({
  preset: z.enum(keys<PresetName>(PRESETS)).exactOptional(),
  weights: weights.exactOptional(),
  activations: activations.exactOptional(),
  granularity: granularity.exactOptional(),
  emit: z.enum(keys<Form>(FORMS)).exactOptional(),
  cppTypes: z.enum(keys<CppTypes>(CPP_TYPES)).exactOptional(),
  accumulator: z.int().min(8).max(32).exactOptional(),
  accumulatorOverflow: z.enum(ACCUMULATOR_OVERFLOWS).exactOptional(),
  weightRange: z.enum(['auto', 'range', 'mse']).exactOptional(),
  binaryPoint: z.enum(BINARY_POINT_METHODS).exactOptional(),
  wordLength: z.enum(['given', 'information']).exactOptional(),
  resolution: z.int().min(2).max(10_000).exactOptional(),
  epsilon: z.number().gt(0).max(1).exactOptional(),
  solver: solver.exactOptional(),
  equalize: z.array(z.enum(EQUALIZATIONS)).exactOptional(),
  smoothAlpha: z.union([z.literal('auto'), z.number().min(0).max(1)]).exactOptional(),
  smoothInsert: z.boolean().exactOptional(),
  activationSparsity: parsed(parseSparsityTarget).exactOptional(),
  biasCorrection: z.enum(['none', ...BIAS_CORRECTIONS]).exactOptional(),
  effort: z.enum(EFFORTS).exactOptional(),
  importance: z.boolean().exactOptional(),
  block: block.exactOptional(),
  cache: z.union([path, z.literal(false)]).exactOptional(),
  sparsity: pattern.exactOptional(),
  sparsityMethod: z.enum(SPARSE_SOLVERS).exactOptional(),
  permuteChannels: z.boolean().exactOptional(),
  distill: z.boolean().exactOptional(),
  distillation: z
    .strictObject({
      steps: count.exactOptional(),
      batch: count.exactOptional(),
      rate: z.number().gt(0).exactOptional(),
      features: z.enum(FEATURE_WEIGHTS).exactOptional(),
      featureWeight: z.number().min(0).exactOptional(),
      mix: z.number().min(0).max(1).exactOptional(),
    })
    .exactOptional(),
  avoidSaturation: z.boolean().exactOptional(),
  include: z.array(selector).exactOptional(),
  exclude: z.array(selector).exactOptional(),
  layers: z
    .array(
      z.strictObject({
        match: selector,
        quantize: z.boolean().exactOptional(),
        weights: weights.exactOptional(),
        activations: activations.exactOptional(),
        granularity: granularity.exactOptional(),
        solver: solver.exactOptional(),
        sparsity: z.union([z.literal('dense'), pattern]).exactOptional(),
        biasCorrection: z.boolean().exactOptional(),
        equalize: z.boolean().exactOptional(),
      }),
    )
    .exactOptional(),
  tensors: z
    .array(
      z
        .strictObject({
          tensor: z.string(),
          format: formatOr().exactOptional(),
          range: z
            .tuple([z.number(), z.number()])
            .refine(([low, high]) => low < high, { error: 'expected [low, high] with low below high' })
            .exactOptional(),
        })
        .refine(({ format, range }) => (format ?? range) !== undefined, {
          error: 'expected a format or a range',
        }),
    )
    .exactOptional(),
  out: path.exactOptional(),
  externalData: z.boolean().exactOptional(),
  locked: z.boolean().exactOptional(),
  fromPareto: path.exactOptional(),
  budgets: z.array(parsed((text) => parseBudget(text))).exactOptional(),
});

const metric = z.string().refine((name) => Object.hasOwn(METRICS, name) || /[./\\]/.test(name), {
  error: `expected ${keys(METRICS).join(', ')} or the path of a module (./my-metric.mjs)`,
});

/** What a candidate's weights may be rounded by, dense or sparse. */
const SEARCH_SOLVERS = [...SOLVER_CHOICES, ...SPARSE_SOLVERS];

const search = z.strictObject({
  weights: z.array(weights).min(1).exactOptional(),
  activations: z.array(activations).min(1).exactOptional(),
  granularity: z.array(granularity).min(1).exactOptional(),
  sparsity: z.array(pattern).min(1).exactOptional(),
  solver: z.union([z.enum(SEARCH_SOLVERS), z.array(z.enum(SEARCH_SOLVERS)).min(1)]).exactOptional(),
  accumulator: z.int().min(8).max(64).exactOptional(),
  sensitivity: z.enum(keys<SensitivityName>(SENSITIVITIES)).exactOptional(),
  hardware: path.exactOptional(),
  budgets: z.array(parsed((text) => parseBudget(text))).exactOptional(),
  maxLoss: z.number().gt(0).exactOptional(),
  maxDrop: z.number().min(0).exactOptional(),
  metric: z.union([z.literal('kl'), metric]).exactOptional(),
  labels: path.exactOptional(),
  scores: z.string().exactOptional(),
  data: dataSchema.exactOptional(),
  samples: count.exactOptional(),
  cache: z.union([path, z.literal(false)]).exactOptional(),
  out: path.exactOptional(),
});

const synthesize = z.strictObject({
  samples: count.exactOptional(),
  batch: count.exactOptional(),
  steps: count.exactOptional(),
  rate: z.number().gt(0).exactOptional(),
  mean: z.number().exactOptional(),
  std: z.number().gt(0).exactOptional(),
  out: path.exactOptional(),
});

const gate = z.union([
  parsed((text) => parseGate(text)),
  z
    .strictObject({ gate: parsed((text) => parseGate(text)), level: z.enum(['error', 'warn']) })
    .transform(({ gate, level }) => ({ ...gate, level })),
]);

/** `name` or `name=file`. */
const reporter = parsed((text) => {
  const [, name = '', file] = /^([^=]*)(?:=(.+))?$/.exec(text) ?? [];
  if (!Object.hasOwn(REPORTERS, name))
    throw new FxqError(
      'E_CONFIG',
      `there is no reporter '${name}'`,
      `Known are ${keys(REPORTERS).join(', ')}`,
    );
  return { name: name as ReporterName, ...(file === undefined ? {} : { file }) };
});

const report = z.strictObject({
  quantized: path.exactOptional(),
  data: dataSchema.exactOptional(),
  labels: path.exactOptional(),
  metrics: z.array(metric).exactOptional(),
  scores: z.string().exactOptional(),
  layers: z.int().min(0).exactOptional(),
  latency: z.union([z.int().min(0), z.literal('auto')]).exactOptional(),
  tensors: z.array(z.string()).exactOptional(),
  activationSparsity: parsed(parseSparsityTarget).exactOptional(),
  gates: z.array(gate).exactOptional(),
  reporters: z.array(reporter).exactOptional(),
  baseline: path.exactOptional(),
  fail: z.boolean().exactOptional(),
});

export const configSchema = z.strictObject({
  model: path.exactOptional(),
  target: z.enum(keys<TargetName>(TARGETS)).exactOptional(),
  seed: z.int().min(0).exactOptional(),
  threads: z.int().min(0).max(MOST_THREADS).exactOptional(),
  data: dataSchema.exactOptional(),
  calibration: calibration.exactOptional(),
  quantize: quantize.exactOptional(),
  search: search.exactOptional(),
  report: report.exactOptional(),
  synthesize: synthesize.exactOptional(),
});

export type Config = z.output<typeof configSchema>;
