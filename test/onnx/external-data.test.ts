import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FxqError } from '../../src/core/index.js';
import { readExternalChunks } from '../../src/onnx/external-data.js';
import {
  formatModel,
  loadTensor,
  readModel,
  serializeModel,
  storedTensors,
  withGraph,
  writeModel,
  type Model,
  type StoredTensor,
} from '../../src/onnx/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { encodeProto, type Message } from '../helpers/proto.js';

const folder = temporaryFolder();
let serial = 0;

/** A folder of its own for one test. */
function freshFolder(): string {
  const path = join(folder, String(serial++));
  mkdirSync(path);
  return path;
}

/** Writes a model with one initializer in an external file; returns the model's path. */
function writeExternal(
  into: string,
  entries: Record<string, string>,
  tensor: Message = { dims: [4], dataType: 1 },
): string {
  const path = join(into, 'model.onnx');
  const externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
  const initializer = [{ name: 'w', ...tensor, externalData, dataLocation: 1 }];
  writeFileSync(
    path,
    encodeProto('ModelProto', { irVersion: 8, opsetImport: [{ version: 17 }], graph: { initializer } }),
  );
  return path;
}

const floats = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);

function elements(model: Model, name = 'w'): number[] {
  const stored = model.graph.initializers.get(name);
  return stored === undefined ? [] : Array.from(loadTensor(stored, name).data, Number);
}

describe('reading', () => {
  it('finds elements by location, offset and length', () => {
    const here = freshFolder();
    mkdirSync(join(here, 'sub'));
    writeFileSync(join(here, 'sub/weights.bin'), Buffer.concat([Buffer.alloc(8), floats, Buffer.alloc(8)]));
    const path = writeExternal(here, { location: 'sub/weights.bin', offset: '8', length: '16' });
    expect(elements(readModel(path))).toEqual([1, 2, 3, 4]);
    expect(
      elements(readModel(writeExternal(here, { location: './sub/../sub/weights.bin', offset: '8' }))),
    ).toEqual([1, 2, 3, 4]);
  });

  it('follows links inside the folder, and into the folder of a linked model', () => {
    const here = freshFolder();
    const blobs = join(here, 'blobs');
    const snapshot = join(here, 'snapshot');
    mkdirSync(blobs);
    mkdirSync(snapshot);
    writeFileSync(join(blobs, 'data'), floats);
    const path = writeExternal(blobs, { location: 'linked' });
    symlinkSync('data', join(blobs, 'linked'));
    expect(elements(readModel(path))).toEqual([1, 2, 3, 4]);
    symlinkSync(path, join(snapshot, 'model.onnx'));
    symlinkSync(join(blobs, 'data'), join(snapshot, 'linked'));
    expect(elements(readModel(join(snapshot, 'model.onnx')))).toEqual([1, 2, 3, 4]);
  });

  it.each(['../secret', 'sub/../../secret', '/etc/passwd', '', '.', '..', 'link', 'linked-folder/secret'])(
    "refuses '%s', which leaves the model's folder",
    (location) => {
      const outside = freshFolder();
      writeFileSync(join(outside, 'secret'), floats);
      const here = join(outside, 'model');
      mkdirSync(here);
      symlinkSync('../secret', join(here, 'link'));
      symlinkSync('..', join(here, 'linked-folder'));
      const path = writeExternal(here, { location });
      expect(() => readModel(path)).toThrow(
        `${path}: external data of initializer 'w' points outside the model's folder: '${location}'`,
      );
    },
  );

  it.each<[string, Record<string, string>, string]>([
    ['a missing file', { location: 'none' }, 'is missing'],
    ['a folder', { location: 'sub' }, 'is missing'],
    ['a short file', { location: 'data', offset: '4' }, 'has 16 bytes, the model needs 20'],
    ['another length', { location: 'data', length: '12' }, '12 bytes from 0, but its shape takes 16'],
    ['a negative offset', { location: 'data', offset: '-4' }, 'is inconsistent'],
    ['an offset that is no number', { location: 'data', offset: '0x0' }, 'is inconsistent'],
    ['a huge offset', { location: 'data', offset: '99999999999999999999' }, 'is inconsistent'],
  ])('refuses %s', (_name, entries, message) => {
    const here = freshFolder();
    mkdirSync(join(here, 'sub'));
    writeFileSync(join(here, 'data'), floats);
    const path = writeExternal(here, entries);
    expect(() => readModel(path)).toThrow(message);
    expect(() => readModel(path)).toThrow(FxqError);
  });

  it('says so when the file shrank or vanished since the model was read', () => {
    const here = freshFolder();
    writeFileSync(join(here, 'data'), floats);
    const read = readModel(writeExternal(here, { location: 'data' }));
    writeFileSync(join(here, 'data'), floats.subarray(0, 6));
    expect(() => elements(read)).toThrow('external data of w ends 10 bytes too early');
  });

  it('embeds what it passes on without looking inside', () => {
    const here = freshFolder();
    writeFileSync(join(here, 'data'), floats);
    const externalData = [{ key: 'location', value: 'data' }];
    const tensor = { name: 'v', dims: [4], dataType: 1, externalData, dataLocation: 1 };
    const constant = {
      opType: 'Constant',
      output: ['c'],
      attribute: [{ name: 'value', type: 4, t: tensor }],
    };
    const path = join(here, 'model.onnx');
    writeFileSync(
      path,
      encodeProto('ModelProto', {
        irVersion: 8,
        opsetImport: [{ version: 17 }],
        functions: [{ name: 'f', node: [constant] }],
        graph: {
          node: [constant],
          sparseInitializer: [
            { values: tensor, indices: { dims: [4], dataType: 7, rawData: Buffer.alloc(32) }, dims: [9] },
          ],
        },
      }),
    );
    const copies = serializeModel(readModel(path));
    expect(Buffer.from(copies).toString('latin1').split(floats.toString('latin1')).length - 1).toBe(3);
    expect(Buffer.from(copies).includes('location')).toBe(false);
  });
});

const weights = model`
  opset 21
  (float32[N,32] x, bool c) => (float32[N,32] y) {
    w: float32[32,32] = random()
    q: int4[4099] = random(low=-8, high=8)
    small: float32[2] = {1, 2}
    y = If<then_branch=() => (t) {
      v: float32[32,32] = random()
      t = MatMul(x, v)
    }, else_branch=() => (t) {
      k = Constant<value=float32[32,32] random()>()
      t = MatMul(k, w)
    }>(c)
  }`;

function writeWeights(): string {
  const path = join(freshFolder(), 'weights.onnx');
  writeModel(weights, path, { externalData: true });
  return path;
}

describe('writing', () => {
  it('puts large tensors beside the model, aligned', () => {
    const path = writeWeights();
    expect(readdirSync(join(path, '..')).sort()).toEqual(['weights.onnx', 'weights.onnx.data']);
    const read = readModel(path);
    const external = [...storedTensors(read.graph)].flatMap(({ source }) =>
      source.kind === 'external' ? source : [],
    );
    expect(external.every(({ offset }) => offset % 64 === 0)).toBe(true);
    // Three matrices of 4096 bytes, one of them in a node's attribute, and 4099 elements of 4 bits.
    expect(external.length).toBe(4);
    expect(statSync(`${path}.data`).size).toBe(3 * 4096 + 2050);
    expect(read.graph.initializers.get('small')?.source.kind).toBe('memory');
    expect(formatModel(read, { elements: 0 })).toBe(formatModel(weights, { elements: 0 }));
  });

  it('gives the same elements and, embedded again, the same bytes', () => {
    const read = readModel(writeWeights());
    for (const name of ['w', 'q', 'small']) expect(elements(read, name)).toEqual(elements(weights, name));
    expect(Buffer.from(serializeModel(read)).equals(serializeModel(weights))).toBe(true);
  });

  it('copies external tensors to another place, and gives the same bytes each time', () => {
    const path = writeWeights();
    const copy = join(freshFolder(), 'weights.onnx');
    writeModel(readModel(path), copy, { externalData: true });
    for (const file of ['', '.data'])
      expect(readFileSync(copy + file).equals(readFileSync(path + file))).toBe(true);
  });

  it('refuses to overwrite the data of the model it writes, and leaves it whole', () => {
    const path = writeWeights();
    const read = readModel(path);
    const before = readFileSync(`${path}.data`);
    expect(() => writeModel(read, path, { externalData: true })).toThrow(
      `${path}.data holds the external data of the model`,
    );
    expect(() => writeModel(read, `${path}.data`)).toThrow('holds the external data');
    symlinkSync(join(path, '..'), join(folder, 'alias'));
    expect(() => writeModel(read, join(folder, 'alias/weights.onnx'), { externalData: true })).toThrow(
      'holds the external data',
    );
    expect(readFileSync(`${path}.data`).equals(before)).toBe(true);
    // Without external data, the model's own file may be replaced: its data stays where it is.
    writeModel(read, path);
    expect(elements(readModel(path), 'w')).toEqual(elements(weights, 'w'));
  });

  it('leaves both old files when the data cannot be written', () => {
    const path = writeWeights();
    const before = readFileSync(path);
    const damaged: StoredTensor = {
      dtype: 'float32',
      dims: [1024],
      source: { kind: 'external', file: join(folder, 'gone'), offset: 0, length: 4096 },
    };
    const broken = withGraph(weights, {
      ...weights.graph,
      initializers: new Map([...weights.graph.initializers, ['z', damaged]]),
    });
    expect(() => writeModel(broken, path, { externalData: true })).toThrow(
      'external data of z cannot be opened',
    );
    expect(readFileSync(path).equals(before)).toBe(true);
    expect(readdirSync(join(path, '..')).length).toBe(2);
  });
});

describe('files above 2 GB', () => {
  const here = freshFolder();
  const size = 2.2e9;
  const file = openSync(join(here, 'data'), 'w');
  ftruncateSync(file, size);
  writeSync(file, floats, 0, 16, size - 16);
  closeSync(file);

  it('gives one tensor without reading the rest', () => {
    const big = size / 4 - 4;
    const external = (offset: number, length: number) =>
      Object.entries({ location: 'data', offset: String(offset), length: String(length) }).map(
        ([key, value]) => ({ key, value }),
      );
    const path = join(here, 'model.onnx');
    writeFileSync(
      path,
      encodeProto('ModelProto', {
        irVersion: 8,
        opsetImport: [{ version: 17 }],
        graph: {
          initializer: [
            { name: 'big', dims: [big], dataType: 1, externalData: external(0, 4 * big), dataLocation: 1 },
            { name: 'w', dims: [4], dataType: 1, externalData: external(4 * big, 16), dataLocation: 1 },
          ],
        },
      }),
    );
    const before = process.memoryUsage().rss;
    const read = readModel(path);
    expect(elements(read)).toEqual([1, 2, 3, 4]);
    expect(process.memoryUsage().rss - before).toBeLessThan(50e6);
  });

  it('is read in pieces', () => {
    let bytes = 0;
    let last: Uint8Array = new Uint8Array();
    for (const chunk of readExternalChunks(
      { file: join(here, 'data'), offset: size - 100_000_016, length: 100_000_016 },
      'big',
    )) {
      expect(chunk.length).toBeLessThanOrEqual(2 ** 23);
      bytes += chunk.length;
      last = chunk;
    }
    expect(bytes).toBe(100_000_016);
    expect(Buffer.from(last.subarray(-16)).equals(floats)).toBe(true);
  });
});
