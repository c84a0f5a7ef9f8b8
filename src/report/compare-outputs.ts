/** Distances between the outputs of two models, accumulated batch by batch. */
import {
  argmax,
  cosine,
  errorSums,
  klDivergence,
  NO_ERROR,
  softmax,
  sqnr,
  toFloat32,
  type ErrorSums,
  type Tensor,
} from '../tensor/index.js';
import { EXACT, type OutputResult } from './result.js';

/** Running comparison of one output. */
export interface OutputComparison {
  add(float: Tensor, quantized: Tensor): void;
  result(): OutputResult;
}

/** SQNR in dB as results hold it. */
export function decibels(sums: ErrorSums): number {
  const value = sqnr(sums);
  return Number.isNaN(value) ? -EXACT : Math.max(-EXACT, Math.min(EXACT, value));
}

/**
 * Compares an output over batches. [N, C] and [N, T, C] outputs count as class scores; rows that are no distribution
 * already are taken as logits, and then KL and agreement are reported too.
 */
export function compareOutput(name: string): OutputComparison {
  let sums = NO_ERROR;
  let classes = 0;
  let rows = 0;
  let divergence = 0;
  let agreeing = 0;
  return {
    add: (float, quantized) => {
      const a = toFloat32(float);
      const b = toFloat32(quantized);
      sums = errorSums(a, b, sums);
      const { dims } = float;
      if (dims.length !== 2 && dims.length !== 3) return;
      classes = dims[dims.length - 1] ?? 0;
      if (classes < 2) return;
      for (let at = 0; at < a.length; at += classes, rows++) {
        const p = a.subarray(at, at + classes);
        const q = b.subarray(at, at + classes);
        const given = isDistribution(p);
        divergence += given ? klDivergence(p, q) : klDivergence(softmax(p), softmax(q));
        if (argmax(p) === argmax(q)) agreeing++;
      }
    },
    result: () => ({
      name,
      sqnr: decibels(sums),
      cosine: cosine(sums),
      ...(rows > 0 ? { kl: divergence / rows, agreement: (100 * agreeing) / rows } : {}),
    }),
  };
}

function isDistribution(row: Float32Array): boolean {
  let sum = 0;
  for (const p of row) {
    if (p < 0) return false;
    sum += p;
  }
  return Math.abs(sum - 1) < 1e-3;
}
