/** `fxq search`: which layer can do with how few bits, as a Pareto front and the best assignment under budgets. */
import { Flags } from '@oclif/core';
import { BaseCommand } from '../cli/base-command.js';
import { dataFlags, dataKeys, modelArgument, type FlagKeys } from '../cli/flags.js';

const { samples: _samples, ...describing } = dataFlags;

const KEYS: FlagKeys = {
  ...dataKeys('data'),
  model: ['model'],
  target: ['target'],
  weights: ['search', 'weights'],
  activations: ['search', 'activations'],
  granularity: ['search', 'granularity'],
  sparsity: ['search', 'sparsity'],
  solver: ['search', 'solver'],
  accumulator: ['search', 'accumulator'],
  sensitivity: ['search', 'sensitivity'],
  hardware: ['search', 'hardware'],
  budget: ['search', 'budgets'],
  'max-loss': ['search', 'maxLoss'],
  'max-drop': ['search', 'maxDrop'],
  metric: ['search', 'metric'],
  labels: ['search', 'labels'],
  eval: ['search', 'data', 'path'],
  'eval-rows': ['search', 'data', 'rows'],
  samples: ['search', 'samples'],
  cache: ['search', 'cache'],
  exclude: ['quantize', 'exclude'],
  out: ['search', 'out'],
};

const repeatable = { multiple: true, multipleNonGreedy: true } as const;
/** `int8,int4`, or the flag twice. */
const list = { ...repeatable, delimiter: ',' } as const;

export default class Search extends BaseCommand {
  static override summary = 'Search mixed precision: the Pareto front of loss against size and work.';

  static override description =
    'Measures how much the output suffers when one layer takes fewer bits, allocates formats exactly under the budgets, ' +
    'runs points of the front for real, and writes a file whose points fxq quantize --from-pareto takes. No labels are needed.';

  static override examples = [
    {
      description: 'The best assignment in half the bytes of 8 bits:',
      command: '<%= config.bin %> search model.onnx --data train.npz --budget size=50%@int8',
    },
    {
      description: 'Two budgets at once, then the model:',
      command:
        '<%= config.bin %> search model.onnx --data train.npz --budget size=25% --budget bops=10% --out model.pareto.json && ' +
        '<%= config.bin %> quantize model.onnx --data train.npz --from-pareto model.pareto.json:budget',
    },
    {
      description: 'The smallest model whose outputs stay within a KL divergence of 0.01:',
      command: '<%= config.bin %> search model.onnx --data train.npz --max-loss 0.01',
    },
  ];

  static override args = { model: modelArgument };

  static override flags = {
    ...describing,
    samples: Flags.integer({
      min: 1,
      helpGroup: 'DATA',
      helpValue: 'N',
      description:
        'Samples that sensitivities are measured on, at most half of all; written models are judged on others where there are enough. [default: 128]',
    }),
    weights: Flags.string({
      ...list,
      helpValue: 'FORMAT',
      description:
        'Weight formats to offer, such as int8,int4. Repeatable. [default: int8, int6, int4, int2]',
    }),
    activations: Flags.string({
      ...list,
      helpValue: 'FORMAT',
      description: 'Activation formats to offer. Repeatable. [default: that of the preset]',
    }),
    granularity: Flags.string({
      ...list,
      helpValue: 'KIND',
      description: 'Weights that share a scale: channel, tensor or block:N. Repeatable. [default: channel]',
    }),
    sparsity: Flags.string({
      ...list,
      helpValue: 'N:M',
      description: 'Patterns to offer beside dense weights, such as 2:4 or 4:8. Repeatable.',
    }),
    solver: Flags.string({
      ...list,
      helpValue: 'NAME',
      description:
        'How candidates are rounded: auto, nearest, gptq, descent …; joint, sparsegpt, wanda or magnitude for sparse ' +
        'ones. Repeatable. [default: auto, and joint]',
    }),
    accumulator: Flags.string({
      helpValue: 'BITS',
      description: 'Leave out candidates whose sums of products could need more bits.',
    }),
    sensitivity: Flags.string({
      helpValue: 'NAME',
      description: 'measured (one layer at a time), gram, importance or hessian. [default: measured]',
    }),
    hardware: Flags.string({
      helpValue: 'NAME',
      description: 'Cost profile: onnxruntime-cpu, generic, sparse-tensor-cores, or a JSON file.',
    }),
    budget: Flags.string({
      ...repeatable,
      helpValue: 'COST=AMOUNT',
      description: 'An upper limit: size=25%, size=50%@int8, size=120kB, bops=10%. Repeatable.',
    }),
    'max-loss': Flags.string({
      helpValue: 'LOSS',
      description: 'Also find the cheapest assignment whose measured loss stays within this.',
    }),
    'max-drop': Flags.string({
      helpValue: 'POINTS',
      description:
        'Also find the cheapest assignment whose written model loses no more of --metric, two standard errors added.',
    }),
    metric: Flags.string({
      helpValue: 'NAME',
      description:
        'What --max-drop limits: top1, top5, auc, ./module.mjs, or kl, which needs no labels. [default: top1 with labels, else kl]',
    }),
    labels: Flags.string({ helpValue: 'FILE', description: 'Labels for --metric: .npy, .npz or text.' }),
    eval: Flags.string({
      helpValue: 'PATH',
      description: 'Samples that the labels belong to, read like the data. [default: the data]',
    }),
    'eval-rows': Flags.string({ helpValue: 'FROM:TO', description: 'Use only these samples for --metric.' }),
    exclude: Flags.string({
      ...repeatable,
      helpValue: 'NODES',
      description: 'Keep these nodes float. Repeatable.',
    }),
    target: Flags.string({ helpValue: 'NAME', description: 'onnxruntime-cpu, generic or integer.' }),
    cache: Flags.string({
      helpValue: 'FOLDER',
      description: 'Where measurements are kept. [default: .fxq/cache]',
    }),
    out: Flags.string({
      char: 'o',
      helpValue: 'FILE',
      description: 'Pareto file to write. [default: the model with the ending .pareto.json]',
    }),
  };

  async run(): Promise<unknown> {
    const { args, flags } = await this.parse(Search);
    return this.execute({ ...args, ...flags }, KEYS, async (loaded, ctx) => {
      const { searchSettings } = await import('../config/index.js');
      const { chartPath, search } = await import('../pipeline/index.js');
      const { contestSentence, explanationTable, paretoTable, sensitivityTable } =
        await import('../search/index.js');
      const settings = searchSettings(loaded);
      const file = await search(settings, ctx);
      this.log(paretoTable(file));
      const why = file.points.map((point) => explanationTable(point)).filter((text) => text !== '');
      if (why.length > 0) this.log(`\n${why[why.length - 1]}`);
      for (const line of file.points.map(contestSentence).filter((text) => text !== ''))
        this.log(`\n${line}`);
      if (file.sensitivities !== undefined) this.log(`\n${sensitivityTable(file)}`);
      this.log(
        `\nWrote ${settings.out} and ${chartPath(settings.out)}. Take a point with fxq quantize --from-pareto ${settings.out}:POINT.`,
      );
      return { out: settings.out, ...file, notes: ctx.notes };
    });
  }
}
