/** The manifest beside a quantized model: what it was made from, by what, and every decision. It works as a lockfile. */
import { readFileSync } from 'node:fs';
import { FxqError, canonicalJson, readInput, writeOutput } from '../core/index.js';
import { type Plan } from '../plan/index.js';
import { type EqualizeReport } from '../rewrite/index.js';
import { type FormatEvidence } from '../report/index.js';
import {
  type BiasReport,
  type ChannelPermutation,
  type DistillReport,
  type LayerReport,
} from '../solve/index.js';

export interface Manifest {
  readonly manifestVersion: 1;
  readonly fxq: string;
  readonly onnxruntime: string;
  readonly seed: number;
  /** SHA-256 of the float model file and of the calibration data, and of the model written. */
  readonly hashes: { readonly source: string; readonly data: string | null; readonly output: string };
  /** Settings as resolved: formats, range method, target. */
  readonly settings: unknown;
  readonly plan: Plan;
  /** What each solver did, by initializer. */
  readonly weights: Readonly<Record<string, LayerReport>>;
  /** What equalization did before planning. */
  readonly equalization?: EqualizeReport;
  /** What permuting channels was worth to sparse patterns. */
  readonly permutation?: ChannelPermutation;
  /** What thresholds on activations do, by layer. */
  readonly activations?: unknown;
  /** What bias correction did, by initializer. */
  readonly biases?: Readonly<Record<string, BiasReport>>;
  /** What choosing the number formats found out. */
  readonly formats?: FormatEvidence;
  /** What distillation learned, where it was asked for. */
  readonly distillation?: DistillReport;
}

/** `model.int8.onnx` → `model.int8.fxq.json`. */
export function manifestPath(model: string): string {
  return `${model.replace(/\.onnx$/, '')}.fxq.json`;
}

export function writeManifest(manifest: Manifest, path: string): void {
  writeOutput(path, [`${canonicalJson(manifest, 2)}\n`]);
}

/** @throws FxqError E_FILE when there is none, E_CONFIG when it is not a manifest of this version */
export function readManifest(path: string): Manifest {
  const text = readInput(path, 'manifest').toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FxqError(
      'E_CONFIG',
      `${path} is not a manifest: ${(error as Error).message}`,
      'Quantize again.',
      { cause: error },
    );
  }
  if (
    typeof value === 'object' &&
    value !== null &&
    'manifestVersion' in value &&
    value.manifestVersion === 1
  ) {
    return value as Manifest;
  }
  throw new FxqError('E_CONFIG', `${path} is not a manifest that this fxq reads`, 'Quantize again.');
}

/** Version of this package, from its package.json. */
export function fxqVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
