/**
 * The KL divergence of scores with its curvature averaged over samples: ½ δᵀF̄δ with F̄ = mean of diag(p) − ppᵀ.
 *
 * The plain mean of KL divergences lives from few samples between two classes, and which of two models does better there
 * is mostly chance. To second order KL is ½ δᵀF(z)δ; where the errors δ do not depend on how sure the network is, the mean
 * of F may stand for each, and every sample tells about as much as the others.
 */
import { required } from '../core/index.js';
import { softmax, toFloat32, type Tensor } from '../tensor/index.js';
import { type LossKind } from './sensitivity/index.js';

/** Classes above which the matrix would take longer than the models; sequences of rows tell enough by themselves. */
const MOST_CLASSES = 1024;

/** Whether losses of a kind have a curvature that can be averaged. */
export function hasAveragedCurvature(kind: LossKind, { dims }: Tensor): boolean {
  return (kind === 'kl' || kind === 'probability-kl') && dims.length === 2 && (dims[1] ?? 0) <= MOST_CLASSES;
}

/**
 * F̄ of scores, [classes × classes].
 *
 * @param references scores or shares of all samples, tensors [samples, classes]
 */
export function averageCurvature(kind: LossKind, references: readonly Tensor[]): Float64Array {
  const classes = required(references[0]?.dims[1], 'scores');
  const sum = new Float64Array(classes * classes);
  let samples = 0;
  for (const row of references.flatMap((t) => scoresOf(kind, t))) {
    const p = softmax(row);
    for (let i = 0; i < classes; i++) {
      const share = p[i] as number;
      for (let j = 0; j < classes; j++)
        sum[i * classes + j] = (sum[i * classes + j] as number) - share * (p[j] as number);
      sum[i * classes + i] = (sum[i * classes + i] as number) + share;
    }
    samples++;
  }
  return sum.map((s) => s / samples);
}

/** ½ δᵀF̄δ of every sample. */
export function curvatureLosses(
  kind: LossKind,
  curvature: Float64Array,
  reference: Tensor,
  actual: Tensor,
): number[] {
  const others = scoresOf(kind, actual);
  return scoresOf(kind, reference).map((row, s) => {
    const other = required(others[s], 'scores');
    const change = Float64Array.from(row, (score, i) => (other[i] as number) - score);
    const classes = change.length;
    let loss = 0;
    for (let i = 0; i < classes; i++) {
      let product = 0;
      for (let j = 0; j < classes; j++)
        product += (curvature[i * classes + j] as number) * (change[j] as number);
      loss += (change[i] as number) * product;
    }
    return loss / 2;
  });
}

/** Shares below this are as good as none: what float32 makes of them is noise. */
const LEAST_SHARE = 1e-6;

/** Rows of scores; the logarithms of shares are scores that give them. */
function scoresOf(kind: LossKind, outputs: Tensor): Float32Array[] {
  const [samples = 0, classes = 0] = outputs.dims;
  const values = toFloat32(outputs);
  const scores =
    kind === 'probability-kl' ? values.map((share) => Math.log(Math.max(share, LEAST_SHARE))) : values;
  return Array.from({ length: samples }, (_, s) => scores.subarray(s * classes, (s + 1) * classes));
}
