/** What the files beside a quantized model say about it: manifest, integer table, packed sparse weights. */
import { existsSync } from 'node:fs';
import { hashModel } from '../calibrate/index.js';
import { readInput } from '../core/index.js';
import { tablePath, type IntegerTable } from '../emit/index.js';
import { type Model } from '../onnx/index.js';
import { type Measured, type ReportResult } from '../report/index.js';
import { formatPattern, readSidecar } from '../solve/index.js';
import { manifestPath, readManifest, type Manifest } from './manifest.js';
import { sidecarPath } from './sparse.js';

/** A model with the file it came from. */
export interface ModelFile {
  readonly path: string;
  readonly model: Model;
}

/**
 * What the manifest beside a model says; nothing where there is none, or where the model has changed since.
 *
 * @throws FxqError E_CONFIG when the file is no manifest
 */
export function recordedBeside(
  file: ModelFile,
): Pick<ReportResult, 'weights' | 'distillation' | 'transforms' | 'evidence'> {
  const manifest = manifestOf(file);
  if (manifest === undefined) return {};
  const { distillation, formats } = manifest;
  return {
    ...weightsIn(manifest, file.model),
    ...(distillation === undefined ? {} : { distillation }),
    ...transformsIn(manifest),
    ...(formats === undefined ? {} : { evidence: formats }),
  };
}

function manifestOf({ path, model }: ModelFile): Manifest | undefined {
  const file = manifestPath(path);
  if (!existsSync(file)) return undefined;
  const manifest = readManifest(file);
  return manifest.hashes.output === hashModel(model) ? manifest : undefined;
}

/** What solvers did, in the order of the graph. */
function weightsIn({ weights }: Manifest, { graph }: Model): Pick<ReportResult, 'weights'> {
  const order = new Map(graph.nodes.map(({ name }, i) => [name, i]));
  const reports = Object.values(weights).sort((a, b) => (order.get(a.node) ?? 0) - (order.get(b.node) ?? 0));
  return reports.length === 0 ? {} : { weights: reports };
}

/** What was done to the float model before. */
function transformsIn({ equalization, permutation, biases }: Manifest): Pick<ReportResult, 'transforms'> {
  if (equalization === undefined && permutation === undefined && biases === undefined) return {};
  return {
    transforms: {
      ...(equalization === undefined ? {} : { equalization }),
      ...(permutation === undefined ? {} : { permutation }),
      ...(biases === undefined ? {} : { biases: Object.values(biases) }),
    },
  };
}

/** Accumulator widths from the table beside an integer model; nothing for other models. */
export function accumulatorsBeside(quantized: string): Pick<Measured, 'accumulators'> {
  const path = tablePath(quantized);
  if (!existsSync(path)) return {};
  const { accumulators } = JSON.parse(readInput(path, 'table').toString('utf8')) as IntegerTable;
  return { accumulators };
}

/** The patterns of the packed weights beside a model, one for each weight. */
export function packedPatterns(path: string): string[] {
  const packed = sidecarPath(path);
  return existsSync(packed) ? readSidecar(packed).map((weight) => formatPattern(weight.packed.pattern)) : [];
}
