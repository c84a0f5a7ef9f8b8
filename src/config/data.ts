/** Schema of a data set's description, and the short forms of flags. */
import { z } from 'zod';
import {
  DATA_KINDS,
  PREPROCESS_PRESETS,
  type DataSpec,
  type InputSpec,
  type PreprocessPreset,
} from '../data/index.js';

const count = z.int().min(1);
const presetName = z.enum(Object.keys(PREPROCESS_PRESETS) as PreprocessPreset[]);
const perChannel = z.union([z.number(), z.array(z.number()).min(1)]);

const preprocess = z.union([
  presetName,
  z.strictObject({
    preset: presetName.exactOptional(),
    size: z.tuple([count, count]).exactOptional(),
    fit: z.enum(['stretch', 'crop', 'pad', 'none']).exactOptional(),
    cropFraction: z.number().gt(0).max(1).exactOptional(),
    padValue: z.number().exactOptional(),
    layout: z.enum(['NCHW', 'NHWC']).exactOptional(),
    channels: z.enum(['RGB', 'BGR', 'gray']).exactOptional(),
    stored: z.enum(['CHW', 'HWC', 'HW']).exactOptional(),
    scale: z.number().exactOptional(),
    mean: perChannel.exactOptional(),
    std: perChannel.exactOptional(),
  }),
]);

const input = z.strictObject({
  array: z.string().exactOptional(),
  file: z.string().exactOptional(),
  value: z.number().exactOptional(),
  derive: z.string().exactOptional(),
  recurrent: z.string().exactOptional(),
  preprocess: preprocess.exactOptional(),
  sampleAxis: z.union([z.int(), z.literal('none')]).exactOptional(),
  sizes: z.array(count).exactOptional(),
  below: count.exactOptional(),
}) satisfies z.ZodType<InputSpec>;

export const dataSchema = z.strictObject({
  path: z.string().min(1).exactOptional(),
  kind: z.enum(DATA_KINDS).exactOptional(),
  inputs: z.record(z.string(), input).exactOptional(),
  preprocess: preprocess.exactOptional(),
  samples: count.exactOptional(),
  rows: z.tuple([z.int().min(0), z.int().min(1)]).exactOptional(),
  ignore: z.array(z.string()).exactOptional(),
  sequence: count.exactOptional(),
}) satisfies z.ZodType<DataSpec>;

/**
 * How `--input NAME=VALUE` fills an input: a number, a rule such as `nonzero(ids)`, a `.npy` file, `output:NAME` for
 * recurrent state, or the name of an array.
 */
export function parseInput(value: string): InputSpec {
  if (value !== '' && Number.isFinite(Number(value))) return { value: Number(value) };
  if (/^\w+\(.+\)$/.test(value)) return { derive: value };
  if (value.startsWith('output:')) return { recurrent: value.slice('output:'.length) };
  return value.endsWith('.npy') ? { file: value } : { array: value };
}
