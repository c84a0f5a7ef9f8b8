/** What making data from a model needs to know, taken from the configuration. */
import { FxqError } from '../core/index.js';
import { type InputSpec } from '../data/index.js';
import { type LoadedConfig } from './load.js';
import { replaceEnding } from './output-name.js';
import { modelOf } from './settings.js';

export interface SynthesizeSettings {
  readonly model: string;
  /** The archive to write. */
  readonly out: string;
  readonly samples: number;
  /** Samples that are optimized together, where the model does not fix them. */
  readonly batch: number;
  readonly steps: number;
  /** Learning rate of the first step, in units of an input's deviation. */
  readonly rate: number;
  /** Mean and deviation of the model's float inputs, where the user knows them. */
  readonly known?: { readonly mean: number; readonly std: number };
  /** Values and sizes of inputs, by name. */
  readonly inputs: Readonly<Record<string, InputSpec>>;
}

/** @throws FxqError E_CONFIG where only one of mean and deviation is given */
export function synthesizeSettings({ config }: LoadedConfig): SynthesizeSettings {
  const model = modelOf(config);
  const { samples = 64, batch = 32, steps = 400, rate = 0.2, mean, std, out } = config.synthesize ?? {};
  if ((mean === undefined) !== (std === undefined)) {
    throw new FxqError('E_CONFIG', 'mean and standard deviation of the inputs belong together', [
      'Give both --input-mean and --input-std, or neither.',
    ]);
  }
  return {
    model,
    out: out ?? replaceEnding(model, '.synthetic.npz'),
    samples,
    batch,
    steps,
    rate,
    ...(mean === undefined || std === undefined ? {} : { known: { mean, std } }),
    inputs: config.data?.inputs ?? {},
  };
}
