/** The main program: a float model and calibration data in, a quantized model and its manifest out. */
import { existsSync, realpathSync } from 'node:fs';
import { assignRanges, hashModel, type RangeChoice, type Statistics } from '../calibrate/index.js';
import { FxqError, canonicalJson, checkAbort, writeOutputs, type Context, type Note } from '../core/index.js';
import {
  checkFormOptions,
  emitModel,
  fitAccumulators,
  isIntegerForm,
  opsetForSettings,
  type CalibratedRanges,
  type Form,
  type FormOptions,
} from '../emit/index.js';
import { auditKernels, runtimeVersion, type KernelAudit } from '../engine/index.js';
import { parseFormat, type FitMethod, type WordLengthOptions } from '../formats/index.js';
import { opsetOf, storedTensors, tensorBytes, writeModel, type Model } from '../onnx/index.js';
import {
  guardBiases,
  planQuantization,
  preferUnsigned,
  valuesToCalibrate,
  type NodeRule,
  type Plan,
  type PlanSettings,
  type SolvedWeight,
} from '../plan/index.js';
import { GRADIENT_OPSET } from '../program/index.js';
import { type EqualizeReport, type EqualizeRequest } from '../rewrite/index.js';
import {
  BLOCK_SOLVER,
  isSolverName,
  findSaturation,
  findWeightedLayers,
  isWorthSolving,
  withBiases,
  writeSidecar,
  type BiasReport,
  type ChannelPermutation,
  type DistillReport,
  type LayerReport,
  roundToNearest,
  scalesWithoutSaturation,
  type SaturationRisk,
  type SparsityTarget,
} from '../solve/index.js';
import { type BinaryPointEvidence, type BinaryPointMethod, type FormatEvidence } from '../report/index.js';
import { chooseBinaryPoints } from './binary-points.js';
import { withSparseActivations, type ActivationSparsity } from './activation-sparsity.js';
import { chooseRanges, unmeasuredWeightRange, type Choice } from './choose-ranges.js';
import { equalize } from './equalize.js';
import { correctSolutions, type BiasChoice } from './correct-biases.js';
import { statisticsFrom, type StatisticsSource } from './calibrate.js';
import { besideOutput, calibratedRanges, outputName, samplesToReplay } from './emission.js';
import { solveWithin } from './fit-widths.js';
import { formatEvidence } from './format-evidence.js';
import { distillLayers } from './distill.js';
import { loadModel, type LoadedModel } from './load-model.js';
import { fxqVersion, manifestPath, readManifest, writeManifest, type Manifest } from './manifest.js';
import { permuteChannels } from './permute-channels.js';
import { packSparse, sidecarPath } from './sparse.js';
import { solveLayers, type SolverRequest } from './solve-layers.js';
import { compareSpeed, slowerNote, type Speed } from './speed.js';
import { assignWordLengths } from './word-lengths.js';

export interface QuantizeRequest {
  readonly model: string;
  /** Path of the quantized model; the manifest goes beside it. */
  readonly out: string;
  readonly plan: PlanSettings;
  readonly emit: Form;
  readonly form?: FormOptions;
  readonly ranges: RangeChoice;
  /** How weight scales are chosen before rounding. */
  readonly weightRange: FitMethod | 'auto';
  /** How binary points are chosen, in place of the two above. */
  readonly binaryPoint?: BinaryPointMethod;
  /** Words of fixed-point formats by information content. */
  readonly wordLength?: WordLengthOptions;
  /** Calibration data, or a file written by `fxq calibrate`; neither when no activation is quantized ahead of time. */
  readonly statistics?: StatisticsSource;
  /** How much work solvers may do, and where they keep finished layers. */
  readonly solving: SolverRequest;
  /** Transforms of the float model before anything is planned; none when absent. */
  readonly equalize?: EqualizeRequest;
  /** Permutes channels so that sparse patterns lose less. */
  readonly permuteChannels?: boolean;
  /** Leaves out small activations in front of layers, as far as this much loss allows. */
  readonly activationSparsity?: SparsityTarget;
  /** How biases of layers rounded to nearest make up for the shift of the mean; not at all when absent. */
  readonly biasCorrection?: BiasChoice;
  /** Keeps the codes of channels that could saturate on processors without VNNI within ±64. */
  readonly avoidSaturation: boolean;
  /** Bits that no sum of an integer form may exceed; weights of layers that would get coarser. */
  readonly accumulator?: number;
  readonly externalData: boolean;
  /** Plans and solves, writes nothing. */
  readonly dryRun: boolean;
  /** Fails when the manifest beside the output records other decisions. */
  readonly locked: boolean;
  /** Milliseconds since any moment; with it, and with data, the models' speed is compared. */
  readonly clock?: () => number;
}

export interface QuantizeResult {
  readonly out: string;
  readonly manifest: Manifest;
  readonly manifestFile: string;
  readonly source: Model;
  readonly model: Model;
  /** What weights and other constants take in both models. */
  readonly bytes: { readonly float: number; readonly quantized: number };
  readonly plan: Plan;
  readonly audit: KernelAudit;
  readonly saturation: readonly SaturationRisk[];
  /** What thresholds on activations do, where asked for. */
  readonly activations?: ActivationSparsity;
  /** What solvers did. */
  readonly layers: readonly LayerReport[];
  /** What was evened out before. */
  readonly equalization?: EqualizeReport;
  /** What permuting channels was worth. */
  readonly permutation?: ChannelPermutation;
  /** Biases that were corrected. */
  readonly biases: readonly BiasReport[];
  /** What distillation learned. */
  readonly distilled?: DistillReport;
  /** True when calibrated on random or synthesized data. */
  readonly synthetic: boolean;
  readonly speed?: Speed;
}

/**
 * Quantizes a model file.
 *
 * @throws FxqError for input that cannot be used; nothing is written then
 */
export async function quantize(request: QuantizeRequest, ctx: Context): Promise<QuantizeResult> {
  refuseOverwrite(request);
  refuseUnguarded(request);
  checkFormOptions(request.emit, request.form ?? {});
  refuseIntegerThresholds(request);
  const { loaded: even, equalization } = await loadEqualized(request, ctx);
  const { spec } = request.statistics ?? {};
  const { loaded: dense, permutation = undefined } =
    request.permuteChannels === true
      ? await permuteChannels(even, request.plan, request.solving.sparsity, spec, ctx)
      : { loaded: even };
  const { activationSparsity: target } = request;
  const { loaded: read, sparsity = undefined } =
    target === undefined ? { loaded: dense } : await withSparseActivations(dense, target, spec, ctx);
  const correction = request.biasCorrection ?? 'none';
  const loaded =
    request.solving.sparsity !== undefined ||
    request.solving.distill !== undefined ||
    correction !== 'none' ||
    asksForSolver(request.plan)
      ? withBiasesOf(read)
      : read;
  const skeleton = planQuantization(loaded.model, loaded.types, request.plan);
  const calibrated = await calibratePlan(skeleton, loaded, request, ctx);
  const rounded = await fitWidths(
    loaded,
    solve(loaded.model, calibrated, request, ctx),
    calibrated,
    request,
    ctx,
  );
  const fitted = await solveWithin(request.accumulator, rounded.plan, loaded.types, async (plan) => {
    const weights =
      plan === rounded.plan
        ? rounded.weights
        : roundToNearest(loaded.model.graph, plan, calibrated.choice.weightRange, ctx.seed);
    return correctSolutions(
      loaded.model,
      await solveLayers(loaded.model, plan, weights, spec, request.solving, ctx),
      plan,
      correction,
      request.plan,
      spec,
      ctx,
    );
  });
  const solved = { ...rounded, plan: fitted.plan };
  const layers = await distillLayers(loaded.model, solved.plan, fitted.answer, spec, request.solving, ctx);
  const { model, files } = await emitModel(request.emit, {
    model: layers.model,
    plan: solved.plan,
    solved: layers.weights,
    types: loaded.types,
    name: outputName(request.out),
    calibrated: calibrated.ranges,
    samples: needsSamples(request) ? await samplesToReplay(loaded.model, spec, ctx) : [],
    ...(request.form === undefined ? {} : { options: request.form }),
  });
  checkAbort(ctx);
  const written = {
    source: layers.model,
    plan: solved.plan,
    solved: layers.weights,
    emit: request.emit,
    model,
  };
  const evidence = { ...calibrated.evidence, ...(await formatEvidence(written, spec, ctx)) };
  const sidecar = await packSparse(model, layers, solved.plan);
  const audit = await auditKernels(model);
  const manifest: Manifest = {
    manifestVersion: 1,
    fxq: fxqVersion(),
    onnxruntime: await runtimeVersion(),
    seed: ctx.seed,
    hashes: {
      source: hashModel(loaded.source),
      data: calibrated.dataHash,
      output: hashModel(model),
    },
    settings: {
      plan: request.plan,
      emit: request.emit,
      ...(request.form === undefined ? {} : { form: request.form }),
      ...(equalization === undefined ? {} : { equalize: request.equalize }),
      ...(permutation === undefined ? {} : { permuteChannels: true }),
      ...(correction === 'none' ? {} : { biasCorrection: correction }),
      ...calibrated.choice,
      ...(request.binaryPoint === undefined ? {} : { binaryPoint: request.binaryPoint }),
      ...(request.wordLength === undefined ? {} : { wordLength: request.wordLength }),
    },
    plan: withWeights(solved.plan, layers.weights),
    weights: Object.fromEntries(layers.reports.map((report) => [report.weight, report])),
    ...(equalization === undefined ? {} : { equalization }),
    ...(permutation === undefined ? {} : { permutation }),
    ...(sparsity === undefined ? {} : { activations: sparsity }),
    ...(layers.biases.length === 0
      ? {}
      : { biases: Object.fromEntries(layers.biases.map((report) => [report.bias, report])) }),
    ...(Object.keys(evidence).length === 0 ? {} : { formats: evidence }),
    ...(layers.distilled === undefined ? {} : { distillation: layers.distilled }),
  };
  const manifestFile = manifestPath(request.out);
  if (request.locked) checkLock(manifest, manifestFile);
  if (!request.dryRun) {
    writeModel(model, request.out, request.externalData ? { externalData: true } : {});
    writeOutputs(besideOutput(request.out, files));
    writeManifest(manifest, manifestFile);
    if (sidecar.length > 0) writeSidecar(sidecarPath(request.out), sidecar);
  }
  const speed = await measureSpeed(loaded.source, model, request, ctx);
  return {
    ...(sparsity === undefined ? {} : { activations: sparsity }),
    ...(speed === undefined ? {} : { speed }),
    out: request.out,
    manifest,
    manifestFile,
    source: loaded.source,
    model,
    bytes: { float: bytesOf(loaded.source), quantized: bytesOf(model) },
    plan: manifest.plan,
    audit,
    saturation: solved.saturation,
    layers: layers.reports,
    biases: layers.biases,
    ...(equalization === undefined ? {} : { equalization }),
    ...(permutation === undefined ? {} : { permutation }),
    ...(layers.distilled === undefined ? {} : { distilled: layers.distilled }),
    synthetic: calibrated.synthetic,
  };
}

const bytesOf = ({ graph }: Model): number =>
  [...storedTensors(graph)].reduce((sum, stored) => sum + tensorBytes(stored), 0);

/** The opset that formats need, and gradients where blocks are learned or errors weighed. */
function opsetOfRequest({ plan, binaryPoint, wordLength, solving }: QuantizeRequest): number {
  const solvesBlocks = [plan, ...plan.nodes].some((rule) => rule.solver === BLOCK_SOLVER);
  const learns = solvesBlocks || solving.importance === true || binaryPoint === 'learned';
  return Math.max(
    opsetForSettings(plan),
    learns ? GRADIENT_OPSET : 0,
    wordLength === undefined ? 0 : Math.max(parseFormat('fix16').opset, parseFormat('fix2').opset),
  );
}

/** The prepared model, with channels evened out where that is asked for. */
async function loadEqualized(
  request: QuantizeRequest,
  ctx: Context,
): Promise<{ readonly loaded: LoadedModel; readonly equalization?: EqualizeReport }> {
  const loaded = await loadModel(request.model, opsetOfRequest(request), ctx);
  for (const note of loaded.notes) ctx.note(note);
  const { equalize: wanted, statistics, plan } = request;
  if (wanted === undefined || wanted.steps.length === 0) return { loaded };
  const equalized = await equalize(loaded, wanted, plan, statistics?.spec, ctx);
  return { loaded: equalized.loaded, equalization: equalized.report };
}

/** Whether some weight may go to a solver: one is named, or some format is narrow enough for `auto`. */
function asksForSolver({ solver, weights, nodes }: PlanSettings): boolean {
  const rules: readonly NodeRule[] = [{ match: {}, solver, weights }, ...nodes];
  if (rules.some(({ sparsity }) => typeof sparsity === 'object')) return true;
  const named = rules.some(({ solver: name = 'auto' }) => isSolverName(name));
  const isNarrow = (format = 'float'): boolean => format !== 'float' && isWorthSolving(format);
  return (
    named || (rules.some((rule) => rule.solver === 'auto') && rules.some((rule) => isNarrow(rule.weights)))
  );
}

/** Solvers correct biases, so layers without one get zeros. */
function withBiasesOf(loaded: LoadedModel): LoadedModel {
  return { ...loaded, model: withBiases(loaded.model, findWeightedLayers(loaded.model.graph)) };
}

async function measureSpeed(
  float: Model,
  quantized: Model,
  { clock, statistics }: QuantizeRequest,
  ctx: Context,
): Promise<Speed | undefined> {
  if (clock === undefined || statistics?.spec === undefined) return undefined;
  const speed = await compareSpeed(float, quantized, statistics.spec, clock, ctx);
  const note = speed === undefined ? undefined : slowerNote(speed);
  if (note !== undefined) ctx.note(note);
  return speed;
}

interface CalibratedPlan {
  readonly plan: Plan;
  readonly dataHash: string | null;
  readonly synthetic: boolean;
  readonly choice: Omit<Choice, 'plan'>;
  readonly evidence: FormatEvidence;
  /** Extremes seen, by activation id. */
  readonly ranges: CalibratedRanges;
}

/** Without activations there is nothing to measure. */
function withoutActivations({ weightRange, plan }: QuantizeRequest): Omit<Choice, 'plan'> {
  return {
    ranges: { method: 'minmax' },
    weightRange: weightRange === 'auto' ? unmeasuredWeightRange(plan.weights) : weightRange,
    trials: [],
  };
}

/** The plan with scales of all activations, and lower limits on the weight scales that follow from them. */
async function calibratePlan(
  skeleton: Plan,
  loaded: LoadedModel,
  request: QuantizeRequest,
  ctx: Context,
): Promise<CalibratedPlan> {
  if (Object.keys(skeleton.activations).length === 0)
    return {
      plan: skeleton,
      dataHash: null,
      synthetic: false,
      choice: withoutActivations(request),
      evidence: {},
      ranges: new Map(),
    };
  if (request.statistics === undefined) {
    throw new FxqError('E_USAGE', 'activations are quantized ahead of time, which needs calibration data', [
      'Give --data PATH, or --calibration FILE written by fxq calibrate.',
      'Without data, use --preset dynamic or --preset weight-only.',
    ]);
  }
  const statistics = await statisticsFrom(loaded, request.statistics, valuesToCalibrate(skeleton), ctx);
  const planned = preferUnsigned(skeleton, (value) => statistics.tensors.get(value)?.min);
  const { wordLength, binaryPoint } = request;
  const sized =
    wordLength === undefined
      ? undefined
      : assignWordLengths(loaded, planned, statistics, wordLength, binaryPoint === undefined);
  const scaled = await chooseScales(sized?.plan ?? planned, loaded, statistics, request, ctx);
  const plan = guardBiases(scaled.plan, loaded.model.graph);
  const { dataHash, synthetic } = statistics;
  const evidence = {
    ...(scaled.points === undefined ? {} : { binaryPoints: scaled.points }),
    ...(sized === undefined ? {} : { wordLengths: sized.evidence }),
  };
  const ranges = calibratedRanges(plan, statistics);
  return { plan, dataHash, synthetic, choice: scaled.choice, evidence, ranges };
}

interface ScaledPlan {
  readonly plan: Plan;
  readonly choice: Omit<Choice, 'plan'>;
  readonly points?: BinaryPointEvidence;
}

/** Scales of all activations: by ranges, or as binary points. */
async function chooseScales(
  planned: Plan,
  loaded: LoadedModel,
  statistics: Statistics,
  request: QuantizeRequest,
  ctx: Context,
): Promise<ScaledPlan> {
  const { binaryPoint, emit, solving } = request;
  const spec = request.statistics?.spec;
  if (binaryPoint === undefined) {
    const { plan, ...choice } = await chooseRanges(loaded, planned, statistics, request, spec, ctx);
    return { plan: assignRanges(plan, statistics, choice.ranges, ctx), choice };
  }
  const { plan, ranges, weightRange, evidence } = await chooseBinaryPoints(
    binaryPoint,
    loaded,
    planned,
    statistics,
    { spec, emit, effort: solving.effort },
    ctx,
  );
  return { plan, choice: { ranges: { method: ranges }, weightRange, trials: [] }, points: evidence };
}

interface SolvedPlan {
  readonly plan: Plan;
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly saturation: readonly SaturationRisk[];
}

/** Codes for all weights; channels that could saturate get a coarser grid when that is asked for. */
function solve(
  model: Model,
  { plan, choice }: CalibratedPlan,
  request: QuantizeRequest,
  ctx: Context,
): SolvedPlan {
  const progress = ctx.start('Rounding weights');
  const weights = roundToNearest(model.graph, plan, choice.weightRange, ctx.seed);
  // The integer forms store weights so that no processor saturates.
  const saturation = isIntegerForm(request.emit) ? [] : findSaturation(model.graph, plan, weights);
  progress.finish(`Rounded ${weights.size} weights`);
  if (saturation.length === 0 || !request.avoidSaturation) {
    if (saturation.length > 0) ctx.note(saturationNote(saturation));
    return { plan, weights, saturation };
  }
  const guarded = { ...plan.weights };
  for (const risk of saturation) {
    const weight = guarded[risk.initializer];
    const codes = weights.get(risk.initializer);
    if (weight === undefined || codes === undefined) continue;
    const known = weight.minimumScale ?? [];
    const minimumScale = scalesWithoutSaturation(risk, codes).map((scale, c) =>
      Math.max(scale, known[c] ?? 0),
    );
    guarded[risk.initializer] = { ...weight, minimumScale };
  }
  const safer = { ...plan, weights: guarded };
  const rounded = roundToNearest(model.graph, safer, choice.weightRange, ctx.seed);
  return { plan: safer, weights: rounded, saturation: findSaturation(model.graph, safer, rounded) };
}

/** Coarser weights where sums would need more bits than asked for. */
async function fitWidths(
  { model, types }: LoadedModel,
  solved: SolvedPlan,
  { choice }: CalibratedPlan,
  { accumulator, emit }: QuantizeRequest,
  ctx: Context,
): Promise<SolvedPlan> {
  if (accumulator === undefined) return solved;
  if (!isIntegerForm(emit)) {
    throw new FxqError(
      'E_USAGE',
      `a width of accumulators is asked for, but the form ${emit} leaves them to the runtime`,
      'Choose --emit integer or cpp.',
    );
  }
  const input = {
    graph: model.graph,
    types,
    opset: opsetOf(model),
    plan: solved.plan,
    solved: solved.weights,
  };
  const fitted = await fitAccumulators(input, accumulator, (plan) =>
    roundToNearest(model.graph, plan, choice.weightRange, ctx.seed),
  );
  if (fitted.narrowed.size > 0) {
    const layers = [...fitted.narrowed].map(([node, channels]) => `${node} (${channels})`).join(', ');
    const message = `weights got coarser to keep sums within ${accumulator} bits; channels: ${layers}`;
    ctx.note({ level: 'info', code: 'accumulator', message });
  }
  return { ...solved, plan: fitted.plan, weights: fitted.solved };
}

function saturationNote(risks: readonly SaturationRisk[]): Note {
  const channels = risks.reduce((sum, risk) => sum + risk.channels.length, 0);
  return {
    level: 'warn',
    code: 'saturation',
    message:
      `on processors without VNNI, ${channels} output channels of ${risks.length} layers can saturate 16-bit sums ` +
      '(results there may differ); --avoid-saturation takes one bit from these channels',
  };
}

/** Scales and zero points of the weights as solved, for the manifest. */
function withWeights(plan: Plan, weights: ReadonlyMap<string, SolvedWeight>): Plan {
  const entries = Object.entries(plan.weights).map(([name, quantization]) => {
    const solved = weights.get(name);
    return [
      name,
      {
        ...quantization,
        format: solved?.format ?? quantization.format,
        scale: Array.from(solved?.scale ?? []),
        zeroPoint: Array.from(solved?.zeroPoint ?? []),
        ...(solved?.levels === undefined ? {} : { levels: Array.from(solved.levels) }),
      },
    ] as const;
  });
  return { ...plan, weights: Object.fromEntries(entries) };
}

/** The output must not replace the model it is made from, nor the external data that model still reads. */
function refuseOverwrite({ model, out }: QuantizeRequest): void {
  if (!existsSync(model) || !existsSync(out) || realpathSync(model) !== realpathSync(out)) return;
  throw new FxqError(
    'E_OUTPUT',
    `the output would overwrite the float model ${model}`,
    'Choose another path with --out.',
  );
}

/** Learned codes go anywhere on the grid, where these settings promise that some are never used. */
function refuseUnguarded({ solving, avoidSaturation, accumulator }: QuantizeRequest): void {
  if (solving.distill === undefined || (!avoidSaturation && accumulator === undefined)) return;
  throw new FxqError(
    'E_USAGE',
    `distillation moves codes over the whole grid, which ${avoidSaturation ? '--avoid-saturation' : '--accumulator'} forbids`,
    'Give one of the two.',
  );
}

function needsSamples({ emit, form }: QuantizeRequest): boolean {
  return emit === 'cpp' || form?.detectBeyond !== undefined;
}

/** Thresholds on activations compare floats. */
function refuseIntegerThresholds({ emit, activationSparsity }: QuantizeRequest): void {
  if (activationSparsity === undefined || !isIntegerForm(emit)) return;
  throw new FxqError(
    'E_USAGE',
    `activation thresholds compare floats in front of layers, and the form ${emit} has no float between layers`,
    'Choose --emit qdq or qoperator, or leave out --activation-sparsity.',
  );
}

/** Compares decisions, not versions: the plan and the hash of what would be written. */
function checkLock(manifest: Manifest, file: string): void {
  const locked = readManifest(file);
  const differences = (['hashes', 'settings', 'plan'] as const).filter(
    (key) => canonicalJson(locked[key]) !== canonicalJson(manifest[key]),
  );
  if (differences.length === 0) return;
  throw new FxqError('E_GATE', `${file} records other ${differences.join(', ')} than this run would write`, [
    'Run without --locked to accept the change, and review the difference of the manifest.',
  ]);
}
