/** Inputs that no array fills, other sources, and what identifies a data set. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openSession, probe } from '../../src/engine/index.js';
import { tensor, toNumbers } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { encodeProto } from '../helpers/proto.js';
import { counting, open, readInput, saveNpy, saveNpz } from './helpers.js';

const folder = temporaryFolder();
const text = model`opset 17 (int64[N,T] ids, int64[N,T] mask, int64[N,T] kinds, int64[N,T] places) => (int64[N,T] y) {
  y = Add(ids, mask)
}`;

describe('derived inputs', () => {
  it('follow another input', async () => {
    const path = saveNpy(folder, 'ids.npy', tensor('int64', [2, 3], [5n, 7n, 0n, 9n, 0n, 0n]));
    const inputs = {
      mask: { derive: 'nonzero(ids)' },
      kinds: { derive: 'zeros(ids)' },
      places: { derive: 'positions(ids)' },
    };
    const data = await open({ path, inputs }, text);
    expect((await readInput(data, 'mask')).values).toEqual([1, 1, 0, 1, 0, 0]);
    expect((await readInput(data, 'kinds')).values).toEqual([0, 0, 0, 0, 0, 0]);
    expect((await readInput(data, 'places')).values).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('cannot follow an input that is made itself', async () => {
    const path = saveNpy(folder, 'ids2.npy', counting('int64', [2, 3]));
    const inputs = {
      mask: { derive: 'ones(kinds)' },
      kinds: { derive: 'zeros(ids)' },
      places: { value: 1, sizes: [3] },
    };
    await expect(readInput(await open({ path, inputs }, text), 'mask')).rejects.toThrow(
      /inputs\.mask is derived from 'kinds', which no array fills/,
    );
  });
});

describe('constant inputs', () => {
  it('are scalars, or repeated for every sample', async () => {
    const speech = model`opset 17 (float32[N,2] x, int64 rate, float32[N,1] gain) => (float32[N,2] y) { y = Mul(x, gain) }`;
    const path = saveNpy(folder, 'x.npy', counting('float32', [3, 2]));
    const data = await open({ path, inputs: { rate: { value: 16000 }, gain: { value: 0.5 } } }, speech);
    expect(await readInput(data, 'rate')).toEqual({ shapes: [[], []], values: [16000, 16000] });
    expect(await readInput(data, 'gain')).toEqual({
      shapes: [
        [2, 1],
        [1, 1],
      ],
      values: [0.5, 0.5, 0.5],
    });
  });
});

describe('recurrent inputs', () => {
  const sum = model`opset 17 (float32[1,2] x, float32[1,2] state) => (float32[1,2] y, float32[1,2] next) {
    next = Add(x, state)
    y = Identity(next)
  }`;
  const path = saveNpy(folder, 'steps.npy', counting('float32', [4, 2]));
  const inputs = { state: { recurrent: 'next' } };

  async function outputs(sequence: number | undefined): Promise<number[]> {
    const data = await open({ path, inputs, ...(sequence !== undefined && { sequence }) }, sum);
    const session = await openSession(sum);
    const found: number[] = [];
    for await (const { outputs: out } of probe(session, data.batches(8), ['y'], data.carry))
      found.push(...toNumbers(out.get('y')!));
    await session.release();
    return found;
  }

  it('continue the output of the sample before, from zero', async () => {
    expect(await outputs(undefined)).toEqual([0, 1, 2, 4, 6, 9, 12, 16]);
  });

  it('and start again with every sequence', async () => {
    expect(await outputs(2)).toEqual([0, 1, 2, 4, 4, 5, 10, 12]);
  });

  it('cannot go with a random subset, which would tear sequences apart', async () => {
    await expect(open({ path, inputs, samples: 2 }, sum)).rejects.toThrow(/tears sequences apart/);
  });
});

describe('ONNX test data', () => {
  const pair = model`opset 17 (float32[N,3] a, int64[N] b) => (float32[N,3] y) { y = Relu(a) }`;
  const floats = (values: readonly number[], name: string): Uint8Array =>
    encodeProto('TensorProto', { dims: [values.length / 3, 3], dataType: 1, floatData: values, name });

  it('is one run a folder', async () => {
    const sets = join(folder, 'sets');
    for (const [set, values] of Object.entries({ 2: [1, 2, 3], 10: [4, 5, 6, 7, 8, 9] })) {
      const at = join(sets, `test_data_set_${set}`);
      mkdirSync(at, { recursive: true });
      writeFileSync(join(at, 'input_0.pb'), floats(values, 'a'));
      writeFileSync(
        join(at, 'input_1.pb'),
        encodeProto('TensorProto', { dims: [1], dataType: 7, int64Data: [set] }),
      );
      writeFileSync(join(at, 'output_0.pb'), 'ignored');
    }
    const data = await open({ path: sets }, pair);
    expect(data.samples).toBe(2);
    expect((await readInput(data, 'a')).shapes).toEqual([
      [1, 3],
      [2, 3],
    ]);
    expect((await readInput(data, 'b')).values).toEqual([2, 10]);
    expect((await open({ path: join(sets, 'test_data_set_10') }, pair)).samples).toBe(1);
  });

  it('is refused when damaged or of other inputs', async () => {
    const at = join(folder, 'test_data_set_0');
    mkdirSync(at);
    writeFileSync(join(at, 'input_0.pb'), floats([1, 2, 3], 'b'));
    writeFileSync(join(at, 'input_1.pb'), floats([1, 2, 3], 'b').subarray(0, 9));
    const data = await open({ path: at }, pair);
    await expect(readInput(data, 'a')).rejects.toThrow(/input_0\.pb holds 'b', but .* is 'a'/);
    writeFileSync(join(at, 'input_0.pb'), floats([1, 2, 3], 'a'));
    await expect(readInput(data, 'a')).rejects.toThrow(/input_1\.pb is not an ONNX tensor/);
  });
});

describe('random data', () => {
  it('is seeded, of the types the model takes, and says what it is', async () => {
    const spec = {
      kind: 'random',
      samples: 3,
      inputs: {
        ids: { sizes: [5], below: 4 },
        mask: { derive: 'ones(ids)' },
        kinds: { derive: 'zeros(ids)' },
        places: { derive: 'positions(ids)' },
      },
    } as const;
    const data = await open(spec, text);
    expect(data.synthetic).toBe(true);
    const { shapes, values } = await readInput(data, 'ids');
    expect(shapes).toEqual([
      [2, 5],
      [1, 5],
    ]);
    expect(values.every((v) => v >= 0 && v < 4)).toBe(true);
    expect((await readInput(await open(spec, text), 'ids')).values).toEqual(values);
    const other = await open(spec, text, createContext({ seed: 9 }));
    expect((await readInput(other, 'ids')).values).not.toEqual(values);
  });

  it('needs sizes that the model leaves open', async () => {
    await expect(open({ kind: 'random' }, text)).rejects.toThrow(
      /'ids' is int64\[N,T\]; its unknown sizes are needed/,
    );
  });
});

describe('sizes that are given', () => {
  const rows = model`opset 17 (float32[N,3,T] x) => (float32[N,3,T] y) { y = Relu(x) }`;
  const path = saveNpy(folder, 'sized.npy', counting('float32', [4, 3, 5]));

  it('hold for inputs that arrays fill, too', async () => {
    expect((await open({ path, inputs: { x: { sizes: [5] } } }, rows)).samples).toBe(4);
    await expect(open({ path, inputs: { x: { sizes: [6] } } }, rows)).rejects.toThrow(
      /has shape \[samples,3,5\], input 'x' takes float32\[N,3,6\]/,
    );
  });

  it('are no more than the model leaves open', async () => {
    await expect(open({ kind: 'random', inputs: { x: { sizes: [3, 5] } } }, rows)).rejects.toThrow(
      "input 'x' is float32[N,3,T] and leaves 1 sizes open, but 2 are given",
    );
  });

  it('are no sequences: these need recurrent state', async () => {
    await expect(open({ path, sequence: 2 }, rows)).rejects.toThrow('no input is recurrent');
  });
});

describe('the content hash', () => {
  const one = model`opset 17 (float32[N,3] x) => (float32[N,3] y) { y = Relu(x) }`;
  const array = counting('float32', [6, 3]);
  const npy = saveNpy(folder, 'h.npy', array);
  const hash = async (spec: Parameters<typeof open>[0]): Promise<string> => (await open(spec, one)).hash();

  it('depends on the numbers alone', async () => {
    const expected = await hash({ path: npy });
    expect(await hash({ path: saveNpy(folder, 'elsewhere.npy', array) })).toBe(expected);
    expect(await hash({ path: saveNpz(folder, 'h.npz', { x: array }) })).toBe(expected);
    const data = await open({ path: npy }, one);
    await readInput(data, 'x', 5);
    expect(data.hash()).toBe(expected);
  });

  it('and on all of them', async () => {
    const changed = tensor('float32', [6, 3], [...(array.data as Float32Array)]);
    changed.data[17] = 99;
    const hashes = [
      await hash({ path: npy }),
      await hash({ path: saveNpy(folder, 'changed.npy', changed) }),
      await hash({ path: npy, rows: [0, 5] }),
      await hash({ path: npy, rows: [1, 6] }),
      await hash({ path: npy, preprocess: 'unit' }),
      await hash({ path: npy, preprocess: { scale: 1 / 255, mean: 1 } }),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
