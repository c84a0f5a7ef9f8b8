/** Task metrics: the built-in table and the interface that a user's own module implements just the same. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FxqError, didYouMean } from '../core/index.js';
import { areaUnderCurve, inTopK, toFloat32, toNumbers, type Tensor } from '../tensor/index.js';
import { type Direction } from './result.js';

/** What one model made of one batch. The first axis of every tensor is samples. */
export interface MetricBatch {
  /** Index of the batch's first sample in the data set. */
  readonly first: number;
  readonly count: number;
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** The output that holds class scores: the one named in the settings, or the first. */
  readonly scores: Tensor;
  /** Labels of these samples: numbers with the first axis samples, or one line of text each. */
  readonly labels: Tensor | readonly string[] | undefined;
}

/** The running state of a metric over one model's outputs. */
export interface MetricState {
  add(batch: MetricBatch): void | Promise<void>;
  value(): number | Promise<number>;
}

/**
 * A metric. A module given as `--metric ./file.mjs` exports these names (or one object with them as its default
 * export); `start` is called once for each model.
 */
export interface Metric {
  readonly name: string;
  /** '%' for shares of 100, otherwise any unit or ''. */
  readonly unit: string;
  readonly better: Direction;
  readonly needsLabels: boolean;
  start(): MetricState;
}

/** Built-in metrics by name. */
export const METRICS = {
  top1: () => topK(1),
  top5: () => topK(5),
  auc: () => auc(),
} as const satisfies Record<string, () => Metric>;

/**
 * Finds a metric: a name of {@link METRICS}, or the path of a module.
 *
 * @throws FxqError E_USAGE for an unknown name, E_FILE or E_DATA for a module that is missing or incomplete
 */
export async function loadMetric(name: string): Promise<Metric> {
  if (Object.hasOwn(METRICS, name)) return METRICS[name as keyof typeof METRICS]();
  if (!/[./\\]/.test(name)) {
    throw new FxqError('E_USAGE', `there is no metric '${name}'`, [
      ...[didYouMean(name, Object.keys(METRICS))].filter((s) => s !== ''),
      `Use ${Object.keys(METRICS).join(', ')}, or the path of a module (./my-metric.mjs).`,
    ]);
  }
  return importMetric(name);
}

async function importMetric(path: string): Promise<Metric> {
  let module: Record<string, unknown>;
  try {
    module = (await import(pathToFileURL(resolve(path)).href)) as Record<string, unknown>;
  } catch (error) {
    throw new FxqError(
      'E_FILE',
      `cannot load the metric module ${path}: ${(error as Error).message}`,
      'Check the path; the module must be plain JavaScript (ESM).',
      { cause: error },
    );
  }
  const parts = (module.default ?? module) as Partial<Record<keyof Metric, unknown>>;
  const { name, unit = '', better = 'higher', needsLabels = true, start } = parts;
  const wrong = [
    typeof name === 'string' && /^[\w-]+$/.test(name) ? '' : 'name must be a word',
    typeof start === 'function' ? '' : 'start must be a function',
    better === 'higher' || better === 'lower' ? '' : "better must be 'higher' or 'lower'",
    typeof unit === 'string' ? '' : 'unit must be text',
  ].filter((s) => s !== '');
  if (wrong.length > 0) {
    throw new FxqError(
      'E_DATA',
      `${path} is not a metric module: ${wrong.join('; ')}`,
      'Export name, better, unit and start() as docs/report.md describes.',
    );
  }
  return {
    ...(parts as Metric),
    unit: unit as string,
    better: better as Direction,
    needsLabels: needsLabels !== false,
  };
}

function topK(k: number): Metric {
  return {
    name: `top${k}`,
    unit: '%',
    better: 'higher',
    needsLabels: true,
    start: () => {
      let hits = 0;
      let rows = 0;
      return {
        add: (batch) =>
          forEachRow(batch, (row, label) => {
            if (inTopK(row, label, k)) hits++;
            rows++;
          }),
        value: () => (100 * hits) / rows,
      };
    },
  };
}

/** Area under the ROC curve: of the second of two classes, or the mean of one-against-the-rest over more. */
function auc(): Metric {
  return {
    name: 'auc',
    unit: '%',
    better: 'higher',
    needsLabels: true,
    start: () => {
      const scores: Float32Array[] = [];
      const labels: number[] = [];
      return {
        add: (batch) =>
          forEachRow(batch, (row, label) => {
            scores.push(row.slice());
            labels.push(label);
          }),
        value: () => 100 * meanAreaUnderCurve(scores, labels),
      };
    },
  };
}

function meanAreaUnderCurve(scores: readonly Float32Array[], labels: readonly number[]): number {
  const classes = scores[0]?.length ?? 0;
  const area = (column: number, positive: number): number =>
    areaUnderCurve(
      scores.map((row) => row[column] ?? NaN),
      labels.map((label) => label === positive),
    );
  if (classes <= 2) return area(classes - 1, 1);
  // A class that has no positive or no negative sample has no curve.
  const areas = Array.from({ length: classes }, (_, c) => area(c, c)).filter((a) => !Number.isNaN(a));
  return areas.reduce((sum, a) => sum + a, 0) / areas.length;
}

/** Calls `visit` with every row of class scores and its label; rows with a negative label (padding) are left out. */
function forEachRow(batch: MetricBatch, visit: (row: Float32Array, label: number) => void): void {
  const { scores, labels, count, first } = batch;
  if (labels === undefined || !('dtype' in labels)) {
    throw new FxqError(
      'E_LABELS',
      'top1, top5 and auc need class numbers as labels',
      'Give an integer array, one label a row of scores.',
    );
  }
  const classes = scores.dims.length > 1 ? (scores.dims[scores.dims.length - 1] ?? 1) : 1;
  const values = toFloat32(scores);
  const rows = values.length / classes;
  const numbers = toNumbers(labels);
  if (numbers.length !== rows) {
    throw new FxqError(
      'E_LABELS',
      `the labels [${labels.dims.join(', ')}] of ${count} samples do not fit the scores [${scores.dims.join(', ')}]`,
      'Give one label for every row of scores along the last axis.',
    );
  }
  for (let i = 0; i < rows; i++) {
    const label = numbers[i] ?? -1;
    if (label < 0) continue;
    if (label >= Math.max(classes, 2)) {
      throw new FxqError(
        'E_LABELS',
        `label ${label} in sample ${first + Math.floor((i * count) / rows)}, but the scores have ${classes} classes`,
        'Check that the labels belong to this model and count from 0.',
      );
    }
    visit(values.subarray(i * classes, (i + 1) * classes), label);
  }
}
