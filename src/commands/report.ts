/** `fxq report`: what the quantized model costs and gains; the exit status tells whether its gates hold. */
import { Args, Flags } from '@oclif/core';
import { appendFileSync } from 'node:fs';
import { BaseCommand } from '../cli/base-command.js';
import { dataFlags, dataKeys, modelArgument, type FlagKeys } from '../cli/flags.js';
import { painter } from '../cli/style.js';
import type { ReportOutput } from '../config/index.js';
import { EXIT, checkOutputs, writeOutput } from '../core/index.js';
import type { ReportResult } from '../report/index.js';

const KEYS: FlagKeys = {
  ...dataKeys('report', 'data'),
  model: ['model'],
  quantized: ['report', 'quantized'],
  labels: ['report', 'labels'],
  metric: ['report', 'metrics'],
  scores: ['report', 'scores'],
  layers: ['report', 'layers'],
  latency: ['report', 'latency'],
  tensor: ['report', 'tensors'],
  'activation-sparsity': ['report', 'activationSparsity'],
  gate: ['report', 'gates'],
  reporter: ['report', 'reporters'],
  baseline: ['report', 'baseline'],
  fail: ['report', 'fail'],
};

const repeatable = { multiple: true, multipleNonGreedy: true } as const;

export default class Report extends BaseCommand {
  static override summary = 'Compare a quantized model with its float model, and check gates.';

  static override description =
    'Measures task metrics, distances of the outputs, error per layer, sizes, latency and which kernels run. ' +
    'Exit status: 0 done, 1 a gate failed, 2 wrong input or usage, 3 internal error, 130 interrupted.';

  static override usage = 'report MODEL QUANTIZED --data PATH [FLAGS]';

  static override examples = [
    {
      description: 'Report on labelled test data and fail when more than half a point of top-1 is lost:',
      command:
        "<%= config.bin %> report model.onnx model.int8.onnx --data test.npz --labels test-labels.npy --gate 'top1.drop <= 0.5'",
    },
    {
      description:
        'In CI: a page with charts, test results for the server, and a comparison with an earlier run:',
      command:
        '<%= config.bin %> report model.onnx model.int8.onnx --data test.npz --reporter html=report.html --reporter junit=gates.xml --baseline last.json',
    },
    {
      description: 'A metric of your own:',
      command:
        '<%= config.bin %> report model.onnx model.int8.onnx --data test.npz --labels text.txt --metric ./cer.mjs',
    },
  ];

  static override args = {
    model: modelArgument,
    quantized: Args.string({
      ignoreStdin: true,
      description: 'Quantized model; report.quantized in the configuration when absent.',
    }),
  };

  static override flags = {
    ...dataFlags,
    labels: Flags.string({
      helpGroup: 'DATA',
      helpValue: 'FILE',
      description: 'Labels: .npy, .npz, or text with one a line; as many as the data file has samples.',
    }),
    metric: Flags.string({
      ...repeatable,
      helpValue: 'NAME',
      description:
        'top1, top5, auc, or the path of a module. Repeatable. [default: top1 where there are labels]',
    }),
    scores: Flags.string({
      helpValue: 'OUTPUT',
      description: 'Output with class scores; the first one by default.',
    }),
    layers: Flags.integer({
      min: 0,
      helpValue: 'N',
      description: 'Samples on which the error of every layer is measured; 0 leaves it out. [default: 32]',
    }),
    latency: Flags.integer({
      min: 0,
      helpValue: 'N',
      description: 'Timed runs of each model; 0 leaves latency out. [default: what takes about two seconds]',
    }),
    tensor: Flags.string({
      ...repeatable,
      helpValue: 'NAME',
      description:
        'Show the histogram of this value, or of what this node makes; by default of those that lose most by rounding. Repeatable.',
    }),
    'activation-sparsity': Flags.string({
      helpValue: 'TARGET',
      description:
        'Also measure zeros of activations, and how many small ones could be left out at cett=0.2 or ppl=1%.',
    }),
    gate: Flags.string({
      ...repeatable,
      char: 'g',
      helpValue: 'EXPR',
      description:
        "Condition that must hold, for example 'top1.drop <= 0.5' or 'size.ratio < 30 %'. Repeatable.",
    }),
    reporter: Flags.string({
      ...repeatable,
      char: 'r',
      helpValue: 'NAME[=FILE]',
      description:
        'text, json, markdown, html, junit, sarif or github-actions, to a file or stdout. Repeatable. [default: text]',
    }),
    baseline: Flags.string({ helpValue: 'FILE', description: 'Earlier JSON report to compare with.' }),
    fail: Flags.boolean({
      allowNo: true,
      description: 'Exit with 1 when a gate fails. [default: true]',
    }),
  };

  async run(): Promise<unknown> {
    const { args, flags } = await this.parse(Report);
    return this.execute({ ...args, ...flags }, KEYS, async (loaded, ctx) => {
      const { reportOutput, reportSettings } = await import('../config/index.js');
      const [settings, output] = [reportSettings(loaded), reportOutput(loaded)];
      // A baseline may be replaced: it is read before, and the next run compares with this one.
      checkOutputs(
        output.reporters.flatMap(({ file }) => (file === undefined ? [] : [file])),
        [
          ['the float model', settings.float],
          ['the quantized model', settings.quantized],
          ['the data', settings.data.path],
          ['the labels', settings.labels],
        ],
      );
      const { report } = await import('../pipeline/index.js');
      // The report itself shows the notes.
      const quiet = { ...ctx, note: () => undefined };
      const result = await report(settings, quiet, { clock: () => performance.now() });
      await this.#show(result, output);
      if (!result.passed && output.fail) process.exitCode = EXIT.gate;
      return result;
    });
  }

  async #show(result: ReportResult, { reporters }: ReportOutput): Promise<void> {
    const { REPORTERS, text } = await import('../report/index.js');
    for (const { name, file } of reporters) {
      if (file !== undefined) writeOutput(file, [REPORTERS[name](result)]);
      else
        this.log(
          (name === 'text' ? text(result, painter(process.stdout)) : REPORTERS[name](result)).trimEnd(),
        );
    }
    if (process.env.GITHUB_ACTIONS !== 'true') return;
    // On stderr, where runners look, too: stdout may be a report that a program reads.
    if (!this.jsonEnabled() && !reporters.some(({ name }) => name === 'github-actions'))
      process.stderr.write(REPORTERS['github-actions'](result));
    this.#appendSummary(REPORTERS.markdown(result));
  }

  /** The job summary is shared with other steps, so it is appended to; a run does not fail for it. */
  #appendSummary(markdown: string): void {
    const file = process.env.GITHUB_STEP_SUMMARY;
    if (file === undefined) return;
    try {
      appendFileSync(file, `${markdown}\n`);
    } catch (error) {
      this.say('warning', `cannot write the job summary: ${(error as Error).message}`);
    }
  }
}
