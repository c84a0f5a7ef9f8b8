/** Folders of images, decoded by sharp, which is loaded only here. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type * as SharpModule from 'sharp';
import { FxqError, readInput } from '../core/index.js';
import { type Tensor } from '../tensor/index.js';
import { byName } from './numpy-arrays.js';
import { type SourceArray } from './source.js';

export const IMAGE_ENDINGS = ['.png', '.jpg', '.jpeg', '.webp'] as const;

/** Image files below a folder, as paths relative to it, in path order. */
export function imageFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => IMAGE_ENDINGS.some((ending) => name.toLowerCase().endsWith(ending)))
    .sort(byName);
}

type Sharp = (input: Buffer) => SharpModule.Sharp;

async function loadSharp(): Promise<Sharp> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw new FxqError(
      'E_DATA',
      'reading images needs the package sharp, which is not installed',
      [
        'Run npm install sharp.',
        'Or decode the images yourself and give an array: .npy, uint8 [N, 3, H, W].',
      ],
      { cause: error },
    );
  }
}

/** A folder of images: uint8 samples [height, width, 3], or [height, width, 1] for gray ones. Alpha is dropped. */
export async function imageArray(folder: string): Promise<SourceArray> {
  const files = imageFiles(folder);
  const sharp = await loadSharp();
  const pathOf = (sample: number): string => join(folder, files[sample] ?? '');
  return {
    name: folder,
    label: folder,
    count: files.length,
    dtype: 'uint8',
    dims: undefined,
    whole: false,
    image: true,
    labelOf: pathOf,
    read: (sample) => decode(sharp, pathOf(sample)),
    bytes: (sample) => readInput(pathOf(sample), 'image'),
  };
}

async function decode(sharp: Sharp, path: string): Promise<Tensor> {
  try {
    const image = sharp(readInput(path, 'image'));
    const { channels } = await image.metadata();
    const space = channels < 3 ? 'b-w' : 'srgb';
    const { data, info } = await image
      .toColourspace(space)
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { dtype: 'uint8', dims: [info.height, info.width, info.channels], data: new Uint8Array(data) };
  } catch (error) {
    if (error instanceof FxqError) throw error;
    const why = (error as Error).message.split('\n')[0];
    throw new FxqError('E_DATA', `cannot read image ${path}: ${why}`, 'Remove the file or save it again.', {
      cause: error,
    });
  }
}
