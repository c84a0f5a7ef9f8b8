/** `fxq merge`: the statistics of all shards into those of one run, byte for byte. */
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../cli/base-command.js';
import type { Statistics } from '../calibrate/index.js';
import { FxqError, type Note } from '../core/index.js';

export default class Merge extends BaseCommand {
  static override summary = 'Merge the statistics of shards.';

  static override description =
    'Adds up files written by fxq calibrate --shard, in any order. The result has the same bytes as one run over all ' +
    'samples. All shards must come from the same model and data. What still lacks some can be merged further, but not ' +
    'quantized with.';

  static override usage = 'merge FILES... --out FILE';

  static override examples = [
    {
      command: '<%= config.bin %> merge part-1.fxq part-2.fxq part-3.fxq --out model.fxq',
      description: 'Three shards:',
    },
  ];

  // Any number of files.
  static override strict = false;

  static override args = {
    files: Args.string({
      required: true,
      ignoreStdin: true,
      description: 'Statistics files of all shards.',
    }),
  };

  static override flags = {
    out: Flags.string({
      char: 'o',
      required: true,
      helpValue: 'FILE',
      description: 'Statistics file to write.',
    }),
  };

  async run(): Promise<unknown> {
    const { argv, flags } = await this.parse(Merge);
    const files = argv as string[];
    const mistyped = files.find((file) => file.startsWith('-'));
    if (mistyped !== undefined)
      throw new FxqError('E_USAGE', `there is no flag ${mistyped}`, 'See the flags with --help.');
    return this.execute(flags, {}, async (_loaded, ctx) => {
      const { mergeFiles } = await import('../pipeline/index.js');
      const { samples, tensors, shards } = mergeFiles(files, flags.out);
      if (shards !== undefined) ctx.note(missingShards(shards, flags.out));
      const from = files.length === 1 ? '1 file' : `${files.length} files`;
      this.log(`${flags.out}: ${tensors.size} tensors over ${samples} samples from ${from}`);
      return { out: flags.out, files, samples, tensors: tensors.size, notes: ctx.notes };
    });
  }
}

function missingShards({ count, indices }: NonNullable<Statistics['shards']>, file: string): Note {
  const missing = Array.from({ length: count }, (_, i) => i).filter((i) => !indices.includes(i));
  const names = missing.map((i) => `${i + 1}/${count}`).join(', ');
  return { level: 'warn', code: 'missing-shards', message: `${file} lacks shards: ${names}` };
}
