/** `fxq synthesize`: calibration data from the statistics that a model keeps of its training data. */
import { Flags } from '@oclif/core';
import { BaseCommand } from '../cli/base-command.js';
import { dataFlags, modelArgument, type FlagKeys } from '../cli/flags.js';

const KEYS: FlagKeys = {
  model: ['model'],
  samples: ['synthesize', 'samples'],
  batch: ['synthesize', 'batch'],
  steps: ['synthesize', 'steps'],
  'learning-rate': ['synthesize', 'rate'],
  'input-mean': ['synthesize', 'mean'],
  'input-std': ['synthesize', 'std'],
  input: ['data', 'inputs'],
  sizes: ['data', 'inputs'],
  out: ['synthesize', 'out'],
};

export default class Synthesize extends BaseCommand {
  static override summary = 'Make calibration data from the batch normalizations of a model.';

  static override description =
    'For when there are no data: noise is moved until every BatchNormalization sees the mean and deviation that it has ' +
    'stored from training (ZeroQ). Needs a model with its batch normalizations still in it. Real data are better; the ' +
    'file says that it was made, and so do commands that use it.';

  static override usage = 'synthesize MODEL [--out FILE] [FLAGS]';

  static override examples = [
    {
      description: 'Make 64 samples and calibrate on them:',
      command:
        '<%= config.bin %> synthesize model.onnx --out made.npz && <%= config.bin %> quantize model.onnx --data made.npz',
    },
    {
      description: 'Inputs that preprocessing brings to mean 0 and deviation 1:',
      command: '<%= config.bin %> synthesize model.onnx --input-mean 0 --input-std 1',
    },
    {
      description: 'A model with a free image size, less memory and less time:',
      command: '<%= config.bin %> synthesize detector.onnx --sizes image=320,320 --batch 16 --steps 100',
    },
    {
      description: 'A second input that is held at a number:',
      command: '<%= config.bin %> synthesize model.onnx --input threshold=0.5',
    },
  ];

  static override args = { model: modelArgument };

  static override flags = {
    samples: Flags.integer({ min: 1, helpValue: 'N', description: 'Samples to make. [default: 64]' }),
    batch: Flags.integer({
      min: 1,
      helpValue: 'N',
      description:
        'Samples that are made together; memory grows with them. Their statistics are matched, so few are poor. [default: 32]',
    }),
    steps: Flags.integer({
      min: 1,
      helpValue: 'N',
      description: 'Steps of Adam for each batch. [default: 400]',
    }),
    'learning-rate': Flags.string({
      helpValue: 'X',
      description: "Learning rate of the first step, in units of an input's deviation. [default: 0.2]",
    }),
    'input-mean': Flags.string({
      helpValue: 'X',
      description: 'Mean of the numbers that the model takes, where it is known; with --input-std.',
    }),
    'input-std': Flags.string({
      helpValue: 'X',
      description:
        'Their standard deviation. Without both, noise starts at the scale whose statistics fit best, and nothing holds it there.',
    }),
    input: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME=NUMBER',
      description: 'Hold an input at a number, for integer inputs and those that are not made. Repeatable.',
    }),
    sizes: dataFlags.sizes,
    out: Flags.string({
      char: 'o',
      helpValue: 'FILE',
      description:
        'Archive to write, one array an input. [default: the model with the ending .synthetic.npz]',
    }),
  };

  async run(): Promise<unknown> {
    const { args, flags } = await this.parse(Synthesize);
    return this.execute({ ...args, ...flags }, KEYS, async (loaded, ctx) => {
      const { synthesizeSettings } = await import('../config/index.js');
      const settings = synthesizeSettings(loaded);
      const { synthesize } = await import('../pipeline/index.js');
      const result = await synthesize(settings, ctx);
      const { samples, layers, losses } = result;
      const mean = (key: 'start' | 'end'): string =>
        (losses.reduce((sum, loss) => sum + loss[key], 0) / losses.length).toPrecision(3);
      this.log(
        `${settings.out}: ${samples} samples; relative squared error of ${layers} batch normalizations ${mean('start')} → ${mean('end')}`,
      );
      return { out: settings.out, ...result, notes: ctx.notes };
    });
  }
}
