/** What the report program needs to know, taken from the configuration. */
import { FxqError } from '../core/index.js';
import { type DataSpec } from '../data/index.js';
import { type Gate, type ReporterName } from '../report/index.js';
import { type SparsityTarget } from '../solve/index.js';
import { requireSetting, type LoadedConfig } from './load.js';
import { checkedData, modelOf } from './settings.js';

export interface ReportSettings {
  readonly float: string;
  readonly quantized: string;
  readonly data: DataSpec;
  /** File with one label a sample. */
  readonly labels?: string;
  /** Names of built-in metrics or paths of modules. */
  readonly metrics: readonly string[];
  /** Output with class scores; the first one when absent. */
  readonly scores?: string;
  /** Samples on which the error of layers is measured; 0 leaves it out. */
  readonly layers: number;
  /** Measured runs of each model, or as many as take about two seconds; 0 leaves latency out. */
  readonly latency: number | 'auto';
  /** Values whose histogram is shown; the worst rounded ones when empty. */
  readonly tensors: readonly string[];
  /** What small activations of the float model could be left out. */
  readonly activationSparsity?: SparsityTarget;
  readonly gates: readonly Gate[];
  readonly baseline?: string;
}

/** How the command shows a report. */
export interface ReportOutput {
  readonly reporters: readonly { readonly name: ReporterName; readonly file?: string }[];
  /** False: a failed gate does not change the exit status. */
  readonly fail: boolean;
}

export function reportSettings({ config }: LoadedConfig): ReportSettings {
  const { report = {}, data: calibration = {} } = config;
  const own = requireSetting(
    report.data,
    'the data to report on',
    '--data PATH, or report.data in the configuration',
  );
  // How samples are read is the same as for calibration unless said otherwise; which samples never is.
  const { path: _path, samples: _samples, rows: _rows, kind: _kind, ...reading } = calibration;
  const { labels, scores, baseline, activationSparsity } = report;
  return {
    float: modelOf(config),
    quantized: requireSetting(
      report.quantized,
      'the quantized model',
      'the second argument, or report.quantized',
    ),
    data: checkedData({ ...reading, ...own }),
    metrics: report.metrics ?? [],
    layers: report.layers ?? 0,
    latency: report.latency ?? 0,
    tensors: report.tensors ?? [],
    gates: report.gates ?? [],
    ...(labels === undefined ? {} : { labels }),
    ...(scores === undefined ? {} : { scores }),
    ...(activationSparsity === undefined ? {} : { activationSparsity }),
    ...(baseline === undefined ? {} : { baseline }),
  };
}

/** @throws FxqError E_CONFIG where something stands on standard output beside a report that programs read whole */
export function reportOutput({ config: { report = {} } }: LoadedConfig): ReportOutput {
  const { reporters = [{ name: 'text' }], fail = true } = report;
  const shown = reporters.filter(({ file }) => file === undefined).map(({ name }) => name);
  const whole = shown.find((name) => !READ_BY_LINE.has(name));
  if (whole !== undefined && shown.length > 1)
    throw new FxqError(
      'E_CONFIG',
      `the reporters ${shown.join(' and ')} both write to standard output, where ${whole} has to stand alone`,
      `Give it a file: --reporter ${whole}=FILE.`,
    );
  return { reporters, fail };
}

/** Reports that others may precede or follow. */
const READ_BY_LINE: ReadonlySet<ReporterName> = new Set(['text', 'markdown', 'github-actions']);
