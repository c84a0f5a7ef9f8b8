/** How far a network's output is from that of the float network, without labels. */
import { assert, type Rng } from '../../core/index.js';
import { klDivergence, softmax, tensor, toFloat32, type Tensor } from '../../tensor/index.js';

/**
 * - `kl`: rows of scores (logits) along the last axis, KL of their softmax
 * - `probability-kl`: rows that are distributions already
 * - `bernoulli-kl`: single probabilities
 * - `relative`: squared error relative to the reference's energy
 */
export type LossKind = 'kl' | 'probability-kl' | 'bernoulli-kl' | 'relative';

/** The kind that fits an output: scores and distributions of vectors and sequences by KL, everything else by distance. */
export function chooseLoss(reference: Tensor): LossKind {
  const { dims } = reference;
  const values = toFloat32(reference);
  const width = dims[dims.length - 1] ?? 1;
  const isShare = values.every((v) => v >= 0 && v <= 1);
  if (width === 1 || dims.length === 1) return isShare ? 'bernoulli-kl' : 'relative';
  if (dims.length > 3) return 'relative';
  if (!isShare) return 'kl';
  for (let from = 0; from < values.length; from += width) {
    const sum = values.subarray(from, from + width).reduce((a, b) => a + b, 0);
    if (Math.abs(sum - 1) > 1e-3) return 'relative';
  }
  return 'probability-kl';
}

/** Loss of every sample (first axis), the mean over its rows. */
export function sampleLosses(kind: LossKind, reference: Tensor, actual: Tensor): Float64Array {
  const [p, q] = [toFloat32(reference), toFloat32(actual)];
  assert(p.length === q.length, 'outputs of different sizes');
  const samples = reference.dims[0] ?? 1;
  const size = p.length / samples;
  return Float64Array.from({ length: samples }, (_, s) => {
    const [a, b] = [p.subarray(s * size, (s + 1) * size), q.subarray(s * size, (s + 1) * size)];
    return kind === 'relative' ? relative(a, b) : meanOverRows(kind, a, b, rowWidth(kind, reference));
  });
}

/**
 * A random direction d in output space with E[(d·δ)²] = 2·loss(δ), up to third order in a small change δ of the output.
 *
 * From random signs e, d = √p∘e − p·(√p·e) for scores has the covariance diag(p) − ppᵀ, the Hessian of the KL, as has the
 * gradient of log p(y) at a label y drawn from the prediction p; but d is of a like length at every draw, where labels give
 * almost nothing most of the time and much in between when p is confident. For distributions the Hessian is diag(1/p).
 */
export function lossProbe(kind: LossKind, reference: Tensor, rng: Rng): Tensor {
  const values = toFloat32(reference);
  const out = new Float32Array(values.length);
  const samples = reference.dims[0] ?? 1;
  const size = values.length / samples;
  const sign = (): number => (rng.uniform() < 0.5 ? -1 : 1);
  if (kind === 'relative') {
    for (let s = 0; s < samples; s++) {
      const energy = values.subarray(s * size, (s + 1) * size).reduce((sum, v) => sum + v * v, 0);
      for (let i = s * size; i < (s + 1) * size; i++)
        out[i] = sign() * Math.sqrt(2 / Math.max(energy, Number.MIN_VALUE));
    }
    return tensor('float32', reference.dims, out);
  }
  const width = rowWidth(kind, reference);
  const share = Math.sqrt(width / size);
  for (let from = 0; from < values.length; from += width) {
    const row = values.subarray(from, from + width);
    const direction = kind === 'kl' ? scoreProbe(softmax(row), sign) : shareProbe(kind, row, sign);
    direction.forEach((d, i) => (out[from + i] = d * share));
  }
  return tensor('float32', reference.dims, out);
}

function rowWidth(kind: LossKind, { dims }: Tensor): number {
  return kind === 'bernoulli-kl' ? 1 : (dims[dims.length - 1] ?? 1);
}

function relative(a: Float32Array, b: Float32Array): number {
  let [noise, signal] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    noise += ((a[i] as number) - (b[i] as number)) ** 2;
    signal += (a[i] as number) ** 2;
  }
  return signal === 0 ? (noise === 0 ? 0 : Infinity) : noise / signal;
}

function meanOverRows(kind: LossKind, a: Float32Array, b: Float32Array, width: number): number {
  let sum = 0;
  for (let from = 0; from < a.length; from += width) {
    const [p, q] = [a.subarray(from, from + width), b.subarray(from, from + width)];
    if (kind === 'kl') sum += klDivergence(softmax(p), softmax(q));
    else if (kind === 'bernoulli-kl') sum += klDivergence(both(p[0] ?? 0), both(q[0] ?? 0));
    else sum += klDivergence(p, q);
  }
  return (sum * width) / a.length;
}

function both(p: number): [number, number] {
  return [p, 1 - p];
}

/** √p∘e − p·(√p·e). */
function scoreProbe(p: Float64Array, sign: () => number): Float64Array {
  const signed = p.map((share) => sign() * Math.sqrt(share));
  const sum = signed.reduce((total, v) => total + v, 0);
  return signed.map((v, i) => v - (p[i] as number) * sum);
}

/** Signs over the deviations of shares: diag(1/p), and 1/p + 1/(1 − p) for a single probability. */
function shareProbe(kind: LossKind, p: Float32Array, sign: () => number): Float32Array {
  return p.map((share) => {
    const variance = kind === 'bernoulli-kl' ? share * (1 - share) : share;
    return sign() / Math.sqrt(Math.max(variance, 1e-12));
  });
}
