/** Preprocessing: geometry against the runtime's Resize, numbers against the formula, images against their pixels. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { type DataSpec, type PreprocessSpec } from '../../src/data/index.js';
import { fromCHW } from '../../src/data/planes.js';
import { resize } from '../../src/data/resize.js';
import { openSession } from '../../src/engine/index.js';
import { type Model } from '../../src/onnx/index.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model, parseText } from '../helpers/model.js';
import { counting, open, readInput, saveNpy } from './helpers.js';

const folder = temporaryFolder();

function imageModel(shape: string): Model {
  return parseText(`opset 17 (float32[${shape}] x) => (float32[${shape}] y) { y = Relu(x) }`);
}

/** What a model input of a shape is fed with for one stored sample. */
async function feed(stored: Tensor, preprocess: DataSpec['preprocess'], shape: string): Promise<number[]> {
  const path = saveNpy(folder, 'stored.npy', { ...stored, dims: [1, ...stored.dims] });
  const spec = preprocess === undefined ? { path } : { path, preprocess };
  return (await readInput(await open(spec, imageModel(shape)), 'x')).values;
}

describe('numbers', () => {
  const rgb = counting('uint8', [3, 1, 2], 10);

  it.each<[string, PreprocessSpec, (x: number, channel: number) => number]>([
    ['unit', { preset: 'unit' }, (x) => x / 255],
    ['tf', { preset: 'tf' }, (x) => x / 127.5 - 1],
    [
      'imagenet',
      { preset: 'imagenet' },
      (x, c) => (x / 255 - [0.485, 0.456, 0.406][c]!) / [0.229, 0.224, 0.225][c]!,
    ],
    ['raw', { preset: 'raw' }, (x) => x],
    ['own keys win', { preset: 'tf', mean: 0 }, (x) => x / 127.5],
  ])('%s', async (_, spec, formula) => {
    const expected = [10, 11, 12, 13, 14, 15].map((x, i) => formula(x, Math.floor(i / 2)));
    expect(await feed(rgb, spec, 'N,3,1,2')).toBeAllclose(expected, { atol: 0, rtol: 2e-7 });
  });

  it('caffe: BGR minus the mean in that order', async () => {
    const expected = [14 - 103.939, 15 - 103.939, 12 - 116.779, 13 - 116.779, 10 - 123.68, 11 - 123.68];
    expect(await feed(rgb, 'caffe', 'N,3,1,2')).toBeAllclose(expected, { atol: 0, rtol: 2e-7 });
  });

  it('of other types than bytes, and without channels', async () => {
    const pcm = tensor('int16', [4], [-32768, 0, 16384, 32767]);
    expect(await feed(pcm, { scale: 1 / 32768 }, 'N,4')).toEqual([-1, 0, 0.5, Math.fround(32767 / 32768)]);
    const half = tensor('float16', [2], Uint16Array.from([0x3c00, 0xc000]));
    expect(await feed(half, { scale: 2 }, 'N,2')).toEqual([2, -4]);
  });
});

describe('layout', () => {
  it('stored HW becomes three equal channels, or one', async () => {
    const gray = counting('uint8', [2, 2]);
    expect(await feed(gray, { stored: 'HW', channels: 'RGB' }, 'N,3,2,2')).toEqual([
      0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,
    ]);
    expect(await feed(gray, { stored: 'HW' }, 'N,1,2,2')).toEqual([0, 1, 2, 3]);
  });

  it('stored HWC becomes NCHW, stored CHW becomes NHWC', async () => {
    const hwc = counting('uint8', [1, 2, 3]);
    expect(await feed(hwc, { stored: 'HWC' }, 'N,3,1,2')).toEqual([0, 3, 1, 4, 2, 5]);
    const chw = counting('uint8', [3, 1, 2]);
    expect(await feed(chw, { stored: 'CHW', layout: 'NHWC' }, 'N,1,2,3')).toEqual([0, 2, 4, 1, 3, 5]);
  });

  it('RGB becomes gray by its luma', async () => {
    const rgb = tensor('uint8', [3, 1, 2], [255, 10, 0, 20, 0, 30]);
    const luma = [0.299 * 255, 0.299 * 10 + 0.587 * 20 + 0.114 * 30].map(Math.round);
    expect(await feed(rgb, { channels: 'gray' }, 'N,1,1,2')).toEqual(luma);
  });
});

describe('geometry', () => {
  // The same definition, written by others; Pillow leaves out pixels beyond the border, too.
  const antialiased = (size: string): Model =>
    parseText(`opset 18 (float32[1,2,9,12] x) => (float32[?,?,?,?] y) {
    s: int64[4] = {1, 2, ${size}}
    y = Resize<mode="linear", antialias=1, exclude_outside=1, coordinate_transformation_mode="half_pixel">(x, _, _, s)
  }`);

  it.each([
    ['smaller', 4, 5],
    ['larger', 20, 17],
    ['one side each', 18, 7],
    ['by a little', 8, 11],
  ])('resizing %s agrees with the runtime', async (_, height, width) => {
    const rng = createRng(3);
    const pixels = Float32Array.from({ length: 2 * 9 * 12 }, () => rng.normal());
    const session = await openSession(antialiased(`${height}, ${width}`));
    const golden = (await session.run({ x: tensor('float32', [1, 2, 9, 12], pixels) })).get('y')!;
    await session.release();
    const { data } = resize(fromCHW(pixels, [2, 9, 12]), height, width);
    expect(data).toBeAllclose(golden.data as Float32Array, { atol: 1e-5, rtol: 1e-5 });
  });

  const ramp = counting('uint8', [1, 4, 8]);

  it('stretch takes the size of the model, rounding integers', async () => {
    const values = await feed(ramp, { fit: 'stretch' }, 'N,1,2,4');
    expect(values).toHaveLength(8);
    expect(values.every(Number.isInteger)).toBe(true);
    // Centre of each 2 × 2 block, widened by the antialiasing filter but linear, hence unchanged inside.
    expect(values.slice(1, 3)).toEqual([values[0]! + 2, values[0]! + 4]);
  });

  it('crop keeps the centre', async () => {
    expect(await feed(ramp, { fit: 'crop', size: [2, 2], cropFraction: 0.5 }, 'N,1,2,2')).toEqual([
      11, 12, 19, 20,
    ]);
  });

  it('pad keeps everything', async () => {
    const values = await feed(ramp, { fit: 'pad', padValue: 9 }, 'N,1,8,8');
    expect(values.slice(0, 16)).toEqual(new Array(16).fill(9));
    expect(values.slice(16, 48)).toEqual(Array.from({ length: 32 }, (_, i) => i));
    expect(values.slice(48)).toEqual(new Array(16).fill(9));
  });

  it('a preset leaves arrays as large as they are', async () => {
    expect(await feed(counting('uint8', [3, 2, 2]), 'imagenet-0-1', 'N,3,H,W')).toHaveLength(12);
  });
});

describe('image files', () => {
  const images = join(folder, 'images');
  const red = Buffer.from([255, 0, 0, 254, 1, 2]);
  mkdirSync(join(images, 'b'), { recursive: true });

  it('are decoded to their pixels, gray ones repeated, alpha dropped', async () => {
    const raw = { width: 2, height: 1, channels: 3 } as const;
    await sharp(red, { raw }).png().toFile(join(images, 'a10.png'));
    await sharp(Buffer.from([7, 9]), { raw: { ...raw, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toFile(join(images, 'a9.png'));
    const rgba = Buffer.from([1, 2, 3, 255, 4, 5, 6, 255]);
    await sharp(rgba, { raw: { ...raw, channels: 4 } })
      .png()
      .toFile(join(images, 'b', 'c.png'));
    const data = await open({ path: images, preprocess: 'raw' }, imageModel('N,3,1,2'));
    expect(data.batchSize(4)).toBe(4);
    expect((await readInput(data, 'x')).values).toEqual([
      7, 9, 7, 9, 7, 9, 255, 254, 0, 1, 0, 2, 1, 4, 2, 5, 3, 6,
    ]);
  });

  it('of any size become the size of the model', async () => {
    const photos = join(folder, 'photos');
    mkdirSync(photos);
    const noise = {
      create: { width: 40, height: 30, channels: 3, background: { r: 200, g: 100, b: 50 } },
    } as const;
    await sharp(noise).jpeg({ quality: 100 }).toFile(join(photos, 'one.jpg'));
    await sharp(noise).resize(17, 90).png().toFile(join(photos, 'two.png'));
    const data = await open({ path: photos, preprocess: 'imagenet-0-1' }, imageModel('N,3,8,8'));
    const { shapes, values } = await readInput(data, 'x');
    expect(shapes).toEqual([[2, 3, 8, 8]]);
    const expected = [200, 100, 50, 200, 100, 50].flatMap((v) => new Array<number>(64).fill(v / 255));
    expect(values).toBeAllclose(expected, { atol: 2 / 255, rtol: 0 });
  });

  it('that cannot be read are named', async () => {
    const broken = join(folder, 'broken');
    mkdirSync(broken);
    writeFileSync(join(broken, 'x.png'), 'no picture');
    const data = await open({ path: broken }, imageModel('N,3,8,8'));
    await expect(readInput(data, 'x')).rejects.toThrow(/cannot read image .*x\.png/);
  });

  it('need a size when the model has none', async () => {
    const any = model`opset 17 (float32[N,3,H,W] x) => (float32[N,3,H,W] y) { y = Relu(x) }`;
    await expect(open({ path: images, preprocess: { fit: 'stretch' } }, any)).rejects.toThrow(
      /input 'x' has no fixed height and width/,
    );
    const data = await open({ path: images, preprocess: { size: [2, 2] } }, any);
    expect((await readInput(data, 'x', 8)).shapes).toEqual([[3, 3, 2, 2]]);
  });
});
