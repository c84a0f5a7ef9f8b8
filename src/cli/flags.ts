/** Flags that several commands share, and the configuration keys that flags set. */
import { Args, Flags } from '@oclif/core';

/** Configuration key of every flag or argument that sets one. */
export type FlagKeys = Readonly<Record<string, readonly string[]>>;

export const modelArgument = Args.string({
  name: 'model',
  // What a pipeline has on stdin is no path.
  ignoreStdin: true,
  description: 'Float ONNX model; model: in the configuration when absent.',
});

const HELP = { helpGroup: 'DATA' } as const;

/** Flags that describe a data set. */
export const dataFlags = {
  data: Flags.string({
    ...HELP,
    char: 'd',
    helpValue: 'PATH',
    description: '.npz, .npy, a folder of arrays or images, or of test_data_set_* folders.',
  }),
  random: Flags.boolean({
    ...HELP,
    exclusive: ['data'],
    description: 'Use seeded random numbers as data. The report will say so.',
  }),
  samples: Flags.integer({
    ...HELP,
    min: 1,
    helpValue: 'N',
    description: 'Use a seeded random subset of N samples.',
  }),
  rows: Flags.string({
    ...HELP,
    helpValue: 'FROM:TO',
    description: 'Use only samples FROM to TO − 1 (before --samples draws from them).',
  }),
  preprocess: Flags.string({
    ...HELP,
    helpValue: 'PRESET',
    description:
      'Preprocessing by name: imagenet, imagenet-0-1, tf, caffe, unit, raw. More in the configuration.',
  }),
  input: Flags.string({
    ...HELP,
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'NAME=HOW',
    description:
      'How a model input is filled: the name of an array, a .npy file, a number, nonzero(OTHER), ones(OTHER), ' +
      'zeros(OTHER), positions(OTHER), or output:NAME for recurrent state. Repeatable.',
  }),
  sizes: Flags.string({
    ...HELP,
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'NAME=N,N',
    description:
      'Sizes of the dimensions that the model leaves open in an input, in order, without the samples. Repeatable.',
  }),
  sequence: Flags.integer({
    ...HELP,
    min: 1,
    helpValue: 'N',
    description: 'Recurrent state starts anew every N samples.',
  }),
};

/** Keys of {@link dataFlags} for a data set at a place of the configuration. */
export function dataKeys(...place: readonly string[]): FlagKeys {
  const key = (name: string): readonly string[] => [...place, name];
  return {
    data: key('path'),
    random: key('kind'),
    samples: key('samples'),
    rows: key('rows'),
    preprocess: key('preprocess'),
    input: key('inputs'),
    sizes: key('inputs'),
    sequence: key('sequence'),
  };
}
