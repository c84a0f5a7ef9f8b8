/** Sensitivities that follow from one backward pass: by Gram matrix, by importance of the weights, by Hessian trace. */
import { assert, required, type Context } from '../../core/index.js';
import { sizeOf, toFloat32, type Tensor } from '../../tensor/index.js';
import { loadTensor } from '../../onnx/index.js';
import {
  collectMoments,
  matrixSize,
  openProducts,
  productsByGroup,
  toMatrix,
  type InputMoments,
  type WeightedLayer,
  lossProbe,
} from '../../solve/index.js';
import { bitsOf, countMacs } from '../costs/index.js';
import { type LayerCandidate, type SearchLayer } from '../layers.js';
import { type ActivationGrid, type Realization } from '../simulate.js';
import { backwardPass, type LayerGradients, type NetworkGradients } from './backward.js';
import { isFloat, type Sensitivity, type Study } from './study.js';

/** What a cheap method makes of one layer at one candidate, and of that under given gradients. */
type Estimate = (layer: SearchLayer, change: Change) => Weigh | Promise<Weigh>;
type Weigh = (gradients: LayerGradients) => number;

interface Change {
  readonly realization: Realization;
  /** Ŵ − W, in the initializer's order. */
  readonly difference: Float32Array;
  /** Bits of the weight and of the input. */
  readonly bits: number;
  readonly activationBits: number;
}

/**
 * By Gram matrix: ½ Σ_c g_c · (Δw_c H Δw_c′ + |w_c|² · s²/12).
 *
 * The first term is the layer's own quadratic error, weighted by how much the loss minds each output channel; the second
 * the error of a rounded input with step s, seen through the weights.
 */
export async function gramSensitivity(study: Study, ctx: Context): Promise<Sensitivity> {
  const layers = study.groups.flatMap((g) => g.layers);
  const moments = await momentsOf(study, layers, ctx);
  const { product, release } = await openProducts(ctx.threads);
  const estimate: Estimate = async (layer, { difference, realization }) => {
    const { rows, cols } = matrixSize(layer.layer.layout);
    const { gram, mean } = required(moments.get(layer.layer), `moments of ${layer.node}`);
    const change = toMatrix(layer.layer.layout, difference);
    const [changed] = await productsByGroup({ rows, cols, groups: gram.length }, gram, [change], product);
    const weight = toMatrix(layer.layer.layout, realization.weight);
    const noise = inputNoise(realization.activation);
    const errors = Array.from({ length: rows }, (_, r) => {
      const g = Math.floor((r * gram.length) / rows);
      const row = change.subarray(r * cols, (r + 1) * cols);
      const norm = noise === 0 ? 0 : weight.subarray(r * cols, (r + 1) * cols).reduce((s, w) => s + w * w, 0);
      const offset = dot(row, required(mean[g], 'means')) ** 2;
      const squares = dot(row, required(changed, 'a product').subarray(r * cols, (r + 1) * cols));
      return { offset, rest: squares - offset + noise * norm };
    });
    return ({ output, shift }) =>
      errors.reduce(
        (sum, { offset, rest }, r) =>
          sum + importanceOf(layer, output, r) * rest + importanceOf(layer, shift, r) * offset,
        0,
      ) / 2;
  };
  const work = gramWork(study, layers, moments);
  try {
    return await estimateAll('gram', study, layers, await probed(study, layers, ctx), estimate, work);
  } finally {
    await release();
  }
}

/**
 * By importance: Σ|w · ∂L/∂w| · 4^−bits, L being half the mean squared output. Rounding noise falls by four with every
 * bit, so the more a layer's weights matter to the output the more bits they deserve.
 */
export async function importanceSensitivity(study: Study, ctx: Context): Promise<Sensitivity> {
  const layers = study.groups.flatMap((g) => g.layers);
  const estimate: Estimate =
    (_, { bits, activationBits }) =>
    ({ attribution }) =>
      attribution * (noisePower(bits) + noisePower(activationBits));
  return estimateAll(
    'importance',
    study,
    layers,
    await backwardPass(study, layers, scaledOutput, ctx),
    estimate,
  );
}

/**
 * By Hessian trace: ½ · Tr(H)/n · |Ŵ − W|² (HAWQ-V2, with n the number of weights), the trace by Hutchinson's method.
 * Rounded inputs count as in {@link gramSensitivity}.
 */
export async function hessianSensitivity(study: Study, ctx: Context): Promise<Sensitivity> {
  const layers = study.groups.flatMap((g) => g.layers);
  const estimate: Estimate = (layer, { difference, realization }) => {
    const square = difference.reduce((sum, d) => sum + d * d, 0);
    const noise = inputNoise(realization.activation);
    const energy = noise === 0 ? 0 : realization.weight.reduce((sum, w) => sum + w * w, 0);
    return ({ squared, output }) =>
      ((squared / layer.elements) * square) / 2 +
      (noise * output.reduce((a, b) => a + b, 0) * energy) / layer.channels / 2;
  };
  return estimateAll('hessian', study, layers, await probed(study, layers, ctx), estimate);
}

/** A forward and a backward pass, which multiplies about twice as much. */
const BACKWARD_WORK = 3;

function probed(study: Study, layers: readonly SearchLayer[], ctx: Context): Promise<NetworkGradients> {
  const rng = ctx.rng.fork('sensitivity probes');
  return backwardPass(study, layers, (reference) => lossProbe(study.loss, reference, rng), ctx);
}

/** ∂(½ mean z²)/∂z: what pulls every output toward zero. */
function scaledOutput(reference: Tensor): Tensor {
  const perSample = sizeOf(reference.dims.slice(1));
  return { ...reference, dtype: 'float32', data: toFloat32(reference).map((v) => v / perSample) };
}

async function estimateAll(
  method: string,
  study: Study,
  layers: readonly SearchLayer[],
  { all, halves }: NetworkGradients,
  estimate: Estimate,
  work = 0,
): Promise<Sensitivity> {
  const places = new Map(layers.map((layer, i) => [layer, i]));
  const found = [all, ...(halves ?? [])].map((gradients) => ({ gradients, loss: [] as number[][] }));
  for (const group of study.groups) {
    const rows = found.map(({ gradients, loss }) => {
      const row = group.candidates.map(() => 0);
      loss.push(row);
      return { gradients, row };
    });
    for (const [c, candidate] of group.candidates.entries())
      for (const layer of isFloat(candidate) ? [] : group.layers) {
        const of = await estimate(layer, await changeOf(study, layer, candidate));
        const place = required(places.get(layer), 'a layer of the study');
        for (const { gradients, row } of rows)
          row[c] = (row[c] ?? 0) + of(required(gradients[place], 'gradients of a layer'));
      }
  }
  const [whole, first, second] = found.map(({ loss }) => loss);
  return {
    method,
    loss: whole ?? [],
    ...(first === undefined || second === undefined ? {} : { halves: [first, second] }),
    work: BACKWARD_WORK + work,
  };
}

async function changeOf(study: Study, layer: SearchLayer, candidate: LayerCandidate): Promise<Change> {
  const realization = await study.realize(layer, candidate);
  return {
    realization,
    difference: differenceOf(study, layer.layer, realization),
    bits: bitsOf(candidate.weights),
    activationBits: bitsOf(candidate.activations),
  };
}

function differenceOf({ model }: Study, { weight }: WeightedLayer, realization: Realization): Float32Array {
  const stored = required(model.graph.initializers.get(weight), weight);
  const values = toFloat32(loadTensor(stored, weight));
  assert(values.length === realization.weight.length, `a realization of ${weight} of another size`);
  return realization.weight.map((w, i) => w - (values[i] as number));
}

/** Variance of uniform rounding noise: s²/12. */
function inputNoise(grid: ActivationGrid | undefined): number {
  return grid === undefined ? 0 : grid.scale ** 2 / 12;
}

function noisePower(bits: number): number {
  return bits >= 32 ? 0 : 4 ** -bits;
}

/** A row of a lookup table meets all output channels alike. */
function importanceOf({ layer, channels }: SearchLayer, output: Float64Array, row: number): number {
  if (layer.patches.kind !== 'lookup') return output[row] ?? 0;
  return output.reduce((a, b) => a + b, 0) / channels / layer.layout.in;
}

function dot(a: Float32Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** Errors are only measured on H, never solved for, so few rows a column are enough. */
const MOMENTS = { heldOut: 0, rowsPerColumn: 4 };

async function momentsOf(
  { model, data }: Study,
  layers: readonly SearchLayer[],
  ctx: Context,
): Promise<Map<WeightedLayer, InputMoments>> {
  const found = await collectMoments(
    model,
    layers.map((l) => l.layer),
    data,
    ctx,
    MOMENTS,
  );
  return new Map([...found].map(([layer, { fit }]) => [layer, fit]));
}

/** Multiplications of Gram matrices and quadratic forms, in forward passes. */
function gramWork(
  { model, types, batches, groups }: Study,
  layers: readonly SearchLayer[],
  moments: ReadonlyMap<WeightedLayer, InputMoments>,
): number {
  const samples = batches.reduce((sum, b) => sum + b.count, 0);
  const forward = samples * model.graph.nodes.reduce((sum, n) => sum + countMacs(n, { types }), 0);
  const seen = new Set<InputMoments>();
  let macs = 0;
  for (const { layer } of layers) {
    const { rows, cols } = matrixSize(layer.layout);
    const candidates = groups.find((g) => g.layers.some((l) => l.layer === layer))?.candidates.length ?? 0;
    macs += candidates * rows * cols * cols;
    const own = moments.get(layer);
    if (own === undefined || seen.has(own) || layer.patches.kind === 'lookup') continue;
    seen.add(own);
    macs += own.count * cols * (cols + layer.layout.kernel) * layer.layout.groups;
  }
  return forward === 0 ? 0 : macs / forward;
}
