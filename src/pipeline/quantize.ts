/** The main program: a float model and calibration data in, a quantized model and its manifest out. */
import { FxqError, canonicalJson, checkAbort, writeOutputs, type Context } from '../core/index.js';
import { emitModel, type Emission } from '../emit/index.js';
import { auditKernels } from '../engine/index.js';
import { storedTensors, tensorBytes, writeModel, type Model } from '../onnx/index.js';
import { planQuantization, type Plan } from '../plan/index.js';
import { roundToNearest, writeSidecar } from '../solve/index.js';
import { calibratePlan, type CalibratedPlan } from './calibrate-plan.js';
import { correctSolutions } from './correct-biases.js';
import { describeRun, type FinishedLayers } from './describe-run.js';
import { distillLayers } from './distill.js';
import { besideOutput, outputName, removeCompanions, samplesToReplay } from './emission.js';
import { solveWithin } from './fit-widths.js';
import { formatEvidence } from './format-evidence.js';
import { manifestPath, readManifest, writeManifest, type Manifest } from './manifest.js';
import { checkPlan, checkRequest, type QuantizeRequest, type QuantizeResult } from './quantize-request.js';
import { readyModel, type ReadyModel } from './ready-model.js';
import { fitWidths, roundWeights, type RoundedPlan } from './round-weights.js';
import { solveLayers } from './solve-layers.js';
import { packSparse, sidecarPath } from './sparse.js';
import { compareSpeed, slowerNote, type Speed } from './speed.js';

/**
 * Quantizes a model file.
 *
 * @throws FxqError for input that cannot be used; nothing is written then
 */
export async function quantize(request: QuantizeRequest, ctx: Context): Promise<QuantizeResult> {
  checkRequest(request);
  const ready = await readyModel(request, ctx);
  const { loaded } = ready;
  const skeleton = planQuantization(loaded.model, loaded.types, request.plan);
  checkPlan(loaded.model.graph, skeleton, request, ctx);
  const calibrated = await calibratePlan(skeleton, loaded, request, ctx);
  const nearest = roundWeights(loaded.model, calibrated, request, ctx);
  const rounded = await fitWidths(loaded, nearest, calibrated, request, ctx);
  const chosen = await chooseWeights(ready, rounded, calibrated, request, ctx);
  const { model, files } = await emit(ready, chosen, calibrated, request, ctx);
  checkAbort(ctx);
  const { plan, layers } = chosen;
  const written = { source: layers.model, plan, solved: layers.weights, emit: request.emit, model };
  const evidence = {
    ...calibrated.evidence,
    ...(await formatEvidence(written, request.statistics?.spec, ctx)),
  };
  const sidecar = await packSparse(model, layers, plan);
  const audit = await auditKernels(model);
  const manifest = await describeRun(request, { ready, calibrated, plan, layers, model, evidence }, ctx);
  const manifestFile = manifestPath(request.out);
  if (request.locked) checkLock(manifest, manifestFile);
  if (!request.dryRun) {
    writeModel(model, request.out, request.externalData ? { externalData: true } : {});
    removeCompanions(request.out);
    writeOutputs(besideOutput(request.out, files));
    writeManifest(manifest, manifestFile);
    if (sidecar.length > 0) writeSidecar(sidecarPath(request.out), sidecar);
  }
  const speed = await measureSpeed(loaded.source, model, plan, request, ctx);
  const { equalization, permutation, sparsity } = ready;
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
    scales: { ranges: calibrated.choice.ranges, weightRange: calibrated.choice.weightRange },
    audit,
    saturation: rounded.saturation,
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

interface ChosenWeights {
  readonly plan: Plan;
  readonly layers: FinishedLayers;
}

/** Codes and biases by the solvers, corrected and distilled where asked for, and the plan that goes with them. */
async function chooseWeights(
  { loaded: { model, types } }: ReadyModel,
  rounded: RoundedPlan,
  { choice }: CalibratedPlan,
  request: QuantizeRequest,
  ctx: Context,
): Promise<ChosenWeights> {
  const { solving, accumulator, biasCorrection = 'none' } = request;
  const spec = request.statistics?.spec;
  const { plan, answer } = await solveWithin(accumulator, rounded.plan, types, async (narrowed) => {
    const nearest =
      narrowed === rounded.plan
        ? rounded.weights
        : roundToNearest(model.graph, narrowed, choice.weightRange, ctx.seed);
    const solved = await solveLayers(model, narrowed, nearest, spec, solving, ctx);
    return correctSolutions(model, solved, narrowed, biasCorrection, request.plan, spec, ctx);
  });
  return { plan, layers: await distillLayers(model, plan, answer, spec, solving, ctx) };
}

/** The quantized model in the form asked for, with the files that go beside it. */
async function emit(
  { loaded: { model, types } }: ReadyModel,
  { plan, layers }: ChosenWeights,
  { ranges }: CalibratedPlan,
  request: QuantizeRequest,
  ctx: Context,
): Promise<Emission> {
  const { emit: form, form: options, statistics, out } = request;
  return emitModel(form, {
    model: layers.model,
    plan,
    solved: layers.weights,
    types,
    name: outputName(out),
    calibrated: ranges,
    samples: needsSamples(request) ? await samplesToReplay(model, statistics?.spec, ctx) : [],
    ...(options === undefined ? {} : { options }),
  });
}

function needsSamples({ emit, form }: QuantizeRequest): boolean {
  return emit === 'cpp' || form?.detectBeyond !== undefined;
}

async function measureSpeed(
  float: Model,
  quantized: Model,
  plan: Plan,
  { clock, statistics }: QuantizeRequest,
  ctx: Context,
): Promise<Speed | undefined> {
  if (clock === undefined || statistics?.spec === undefined) return undefined;
  const speed = await compareSpeed(float, quantized, statistics.spec, clock, ctx);
  const formats = Object.values(plan.weights).map(({ format }) => format);
  const note = speed === undefined ? undefined : slowerNote(speed, formats);
  if (note !== undefined) ctx.note(note);
  return speed;
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
