/** `fxq calibrate`: one pass over the data, everything that any range method needs, in one small file. */
import { Flags } from '@oclif/core';
import { BaseCommand } from '../cli/base-command.js';
import { dataFlags, dataKeys, modelArgument, type FlagKeys } from '../cli/flags.js';

const KEYS: FlagKeys = {
  ...dataKeys('data'),
  model: ['model'],
  shard: ['calibration', 'shard'],
  out: ['calibration', 'file'],
};

export default class Calibrate extends BaseCommand {
  static override summary = 'Run a model over calibration data and write what its activations look like.';

  static override description =
    'The statistics have a fixed size and serve every format and range method, so this runs once. ' +
    'Shards calibrated on several machines merge into the same bytes as one run (fxq merge).';

  static override usage = 'calibrate MODEL --data PATH [FLAGS]';

  static override examples = [
    {
      description: 'Calibrate on 512 random samples of a file:',
      command: '<%= config.bin %> calibrate model.onnx --data train.npz --samples 512 --out model.fxq',
    },
    {
      description: 'A folder of images with the preprocessing of most ImageNet models:',
      command: '<%= config.bin %> calibrate model.onnx --data images/ --preprocess imagenet',
    },
    {
      description: 'Token ids with a mask made from them:',
      command:
        "<%= config.bin %> calibrate bert.onnx --data ids.npy --input 'attention_mask=nonzero(input_ids)'",
    },
    {
      description: 'The third of sixteen shards:',
      command: '<%= config.bin %> calibrate model.onnx --data train.npz --shard 3/16 --out part-3.fxq',
    },
  ];

  static override args = { model: modelArgument };

  static override flags = {
    ...dataFlags,
    shard: Flags.string({
      helpGroup: 'DATA',
      helpValue: 'I/N',
      description: 'Take only the I-th of N equal parts of the samples, I from 1.',
    }),
    out: Flags.string({
      char: 'o',
      helpValue: 'FILE',
      description: 'Statistics file to write. [default: the model with the ending .fxq]',
    }),
  };

  async run(): Promise<unknown> {
    const { args, flags } = await this.parse(Calibrate);
    return this.execute({ ...args, ...flags }, KEYS, async (loaded, ctx) => {
      const { calibrateSettings } = await import('../config/index.js');
      const settings = calibrateSettings(loaded);
      const { calibrate } = await import('../pipeline/index.js');
      const { samples, tensors, modelHash, dataHash } = await calibrate(settings, ctx);
      this.log(`${settings.out}: ${tensors.size} tensors over ${samples} samples`);
      return { out: settings.out, samples, tensors: tensors.size, modelHash, dataHash, notes: ctx.notes };
    });
  }
}
