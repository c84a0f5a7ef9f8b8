/** Where samples come from: arrays whose samples are read one at a time. */
import { type DType, type Tensor } from '../tensor/index.js';

export interface SourceArray {
  readonly name: string;
  /** Number of samples. */
  readonly count: number;
  /** File, and array in it, as messages name it. */
  readonly label: string;
  readonly dtype: DType;
  /** Shape of one sample; undefined when it varies. */
  readonly dims: readonly number[] | undefined;
  /** A sample is all the model takes in one run, sample axis included. */
  readonly whole: boolean;
  /** An image file: axes HWC, channels RGB or gray. */
  readonly image: boolean;
  /** Made by `fxq synthesize`, as the model takes it, and not recorded; false when absent. */
  readonly synthesized?: boolean;
  /** File a sample was read from, for messages; the array's own label when absent. */
  labelOf?(sample: number): string;
  read(sample: number): Tensor | Promise<Tensor>;
  /** What stands for the sample in the content hash: its stored bytes. */
  bytes(sample: number): Uint8Array;
}

/** How messages name a sample. */
export function describeSample(array: SourceArray, sample: number): string {
  return array.labelOf?.(sample) ?? `sample ${sample} of ${array.label}`;
}

/** Bytes of a tensor's elements, not copied. */
export function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
