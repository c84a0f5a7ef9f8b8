/** Damaged and unusual models: each error names the file and the culprit, and nothing else is ever thrown. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { FxqError } from '../../src/core/index.js';
import {
  checkModel,
  formatModel,
  loadTensor,
  parseModel,
  readModel,
  serializeModel,
  storedTensors,
  type Model,
} from '../../src/onnx/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model, parseText } from '../helpers/model.js';
import { encodeProto, type Message } from '../helpers/proto.js';

const folder = temporaryFolder();
const good = model`
  opset 17
  (float32[N,4] x, bool c) => (float32[N,4] y) {
    w: float32[4,4] = random()
    i: int64[2] = {0, 1}
    h = MatMul(x, w)
    y = If<then_branch=() => (t) {
      k: float16[3] = {1, 2, 3}
      t = Relu(h)
    }, else_branch=() => (t) {
      t = Selu<alpha=1.5, names=["a", "b"], of=int4[3] {1, 2, 3}>(h)
    }>(c)
  }`;
const bytes = serializeModel(good);

/** The error of reading a file with this content. */
function errorOf(name: string, content: Uint8Array | string): FxqError {
  const path = join(folder, name);
  writeFileSync(path, content);
  try {
    readModel(path);
  } catch (error) {
    if (error instanceof FxqError) return error;
    throw error;
  }
  throw new Error('it was read');
}

describe('files that are no models', () => {
  it.each<[string, Uint8Array | string, string]>([
    ['empty.onnx', '', 'it is empty'],
    ['text.onnx', 'import onnx\nprint("hello")\n'.repeat(20), 'it is a text file'],
    ['json.onnx', '{"a": 1}', 'it is a text file'],
    ['truncated.onnx', bytes.subarray(0, bytes.length - 20), 'truncated or damaged'],
    ['cut-early.onnx', bytes.subarray(0, 40), 'truncated or damaged'],
    ['zeros.onnx', new Uint8Array(100), 'truncated or damaged'],
    ['version.onnx', Buffer.of(8, 8), 'it holds no graph'],
    [
      'tensor.onnx',
      encodeProto('TensorProto', { dims: [1], dataType: 1, rawData: Buffer.alloc(4) }),
      'no graph',
    ],
  ])('%s', (name, content, message) => {
    const error = errorOf(name, content);
    expect([error.code, error.exit]).toEqual(['E_MODEL', 2]);
    expect(error.message).toContain(`${join(folder, name)} is not an ONNX model`);
    expect(error.message).toContain(message);
    expect(error.fix.length).toBeGreaterThan(0);
  });

  it('a missing file and a folder', () => {
    expect(() => readModel(join(folder, 'none.onnx'))).toThrow('none.onnx: no such file or folder');
    mkdirSync(join(folder, 'folder.onnx'));
    expect(() => readModel(join(folder, 'folder.onnx'))).toThrow('folder.onnx: it is a folder');
  });
});

describe('graphs that cannot be computed', () => {
  const bad = (text: string): string => errorOf('graph.onnx', serializeModel(parseText(text))).message;

  it.each([
    [
      'a cycle',
      '(float32[2] x) => (c) { a = Add(x, c) b = Relu(a) c = Sigmoid(b) }',
      'the graph is cyclic: a → b → c → a',
    ],
    ['a node that reads itself', '(float32[2] x) => (a) { a = Add(x, a) }', 'the graph is cyclic: a → a'],
    [
      'nodes out of order',
      '(float32[2] x) => (b) { b = [late] Relu(a)  a = Relu(x) }',
      "the nodes are not in topological order: Relu 'late' reads 'a' before it is written",
    ],
    [
      'an input nothing produces',
      '(float32[2] input) => (b) { b = [r] Relu(inputs) }',
      "Relu 'r' reads 'inputs', which nothing produces",
    ],
    [
      'such an input in a subgraph',
      '(bool c) => (y) { y = If<then_branch=() => (t) { t = [r] Relu(q) }, else_branch=() => (t) { t = Relu(c) }>(c) }',
      "reads 'q', which nothing produces",
    ],
    [
      'an output nothing produces',
      '(float32[2] x) => (y) { z = Relu(x) }',
      "nothing produces the graph output 'y'",
    ],
    [
      'a value written twice',
      '(float32[2] x) => (y) { y = [a] Relu(x)  y = [b] Selu(x) }',
      "value 'y' is written twice, by Relu 'a' and Selu 'b'",
    ],
    [
      'a node that writes an initializer',
      '(float32[2] x) => (w) { w: float32[2] = {1, 2}  w = [a] Relu(x) }',
      "value 'w' is written twice, by an input or initializer and Relu 'a'",
    ],
  ])('%s', (_name, text, message) => {
    expect(bad(`opset 17 ${text}`)).toContain(`${join(folder, 'graph.onnx')}: `);
    expect(bad(`opset 17 ${text}`)).toContain(message);
  });

  it('suggests near names', () =>
    expect(
      errorOf('near.onnx', serializeModel(parseText('opset 17 (float32 input) => (b) { b = Relu(inputs) }')))
        .fix[0],
    ).toBe("Did you mean 'input'?"));

  it('shortens a long cycle', () => {
    const nodes = Array.from({ length: 500 }, (_, i) => `v${i + 1} = Relu(v${i})`).join(' ');
    expect(bad(`opset 17 () => (v500) { v0 = Relu(v500) ${nodes} }`)).toContain(
      'v0 → v1 → v2 → v3 → … → v499 → v500 → v0',
    );
  });

  it('accepts values of enclosing graphs, sparse initializers and omitted inputs', () => {
    const path = join(folder, 'good.onnx');
    writeFileSync(path, bytes);
    expect(formatModel(readModel(path))).toBe(formatModel(good));
    const values = { name: 's', dims: [1], dataType: 1, rawData: Buffer.alloc(4) };
    const node = { opType: 'Clip', input: ['s', '', 's'], output: ['y'] };
    writeFileSync(
      path,
      encodeProto('ModelProto', {
        irVersion: 8,
        opsetImport: [{ version: 17 }],
        graph: {
          node: [node],
          sparseInitializer: [
            { values, indices: { dims: [1], dataType: 7, rawData: Buffer.alloc(8) }, dims: [9] },
          ],
        },
      }),
    );
    expect(readModel(path).graph.nodes.length).toBe(1);
  });
});

describe('parts that are wrong', () => {
  const read = (proto: Message): string =>
    errorOf(
      'part.onnx',
      encodeProto('ModelProto', { irVersion: 8, opsetImport: [{ version: 17 }], graph: {}, ...proto }),
    ).message;
  const withTensor = (tensor: Message): string =>
    read({ graph: { initializer: [{ name: 'w', ...tensor }] } });

  it.each([
    [{ irVersion: 2 }, 'has IR version 2; fxq reads 3 to 13'],
    [{ irVersion: 14 }, 'has IR version 14; fxq reads 3 to 13'],
    [{ opsetImport: [{ version: 6 }] }, 'uses opset 6; fxq reads 7 to 26'],
    [{ opsetImport: [{ domain: 'ai.onnx', version: 27 }] }, 'uses opset 27; fxq reads 7 to 26'],
    [
      { opsetImport: [{ version: 13 }, { domain: 'ai.onnx', version: 17 }] },
      "two opsets are imported for the domain ''",
    ],
    [{ graph: { node: [{ name: 'n', output: ['y'] }] } }, "'n' has no operator type"],
    [
      {
        graph: {
          node: [
            {
              opType: 'Conv',
              name: 'n',
              attribute: [
                { name: 'group', type: 2, i: 1 },
                { name: 'group', type: 2, i: 2 },
              ],
            },
          ],
        },
      },
      "Conv 'n' has the attribute 'group' twice",
    ],
    [
      {
        graph: {
          initializer: [1, 2].map(() => ({ name: 'w', dims: [1], dataType: 1, rawData: Buffer.alloc(4) })),
        },
      },
      "there are two initializers called 'w'",
    ],
    [
      {
        graph: {
          node: [
            {
              opType: 'Constant',
              name: 'n',
              output: ['c'],
              attribute: [
                { name: 'value', type: 4, t: { dims: [2], dataType: 1, rawData: Buffer.alloc(4) } },
              ],
            },
          ],
        },
      },
      "attribute 'value' of Constant 'n' is inconsistent: 2 elements of float32 take 8 bytes, found 4",
    ],
  ])('%j', (proto, message) => expect(read(proto)).toContain(message));

  it.each([
    [{ dims: [2], dataType: 99, rawData: Buffer.alloc(8) }, 'has the unknown element type 99'],
    [{ dims: [2], rawData: Buffer.alloc(8) }, 'has the unknown element type 0'],
    [{ dims: [-1], dataType: 1, rawData: Buffer.alloc(8) }, 'has the shape [-1]'],
    [{ dims: [2], dataType: 1, rawData: Buffer.alloc(12) }, '2 elements of float32 take 8 bytes, found 12'],
    [{ dims: [3], dataType: 22, rawData: Buffer.alloc(3) }, '3 elements of int4 take 2 bytes, found 3'],
    [{ dims: [2], dataType: 1, floatData: [1, 2, 3] }, '3 elements instead of 2 of float32'],
    [{ dims: [2], dataType: 1 }, '0 elements instead of 2 of float32'],
    [{ dims: [2], dataType: 8, stringData: [Buffer.from('a')] }, 'has 1 strings for shape [2]'],
    [{ dims: [2 ** 40, 2 ** 40], dataType: 1, rawData: Buffer.alloc(8) }, 'is inconsistent'],
  ])('initializer %j', (tensor, message) =>
    expect(withTensor(tensor)).toContain(
      `initializer 'w' ${message.startsWith('has') ? message : 'is inconsistent'}`,
    ),
  );
});

describe('damage', () => {
  /** Everything that may be done with bytes before a model runs. */
  function use(content: Uint8Array): Model | FxqError {
    try {
      const read = parseModel(content, 'damaged.onnx', join(folder, 'damaged.onnx'));
      checkModel(read, 'damaged.onnx');
      for (const stored of storedTensors(read.graph)) if (stored.source.kind !== 'opaque') loadTensor(stored);
      formatModel(read);
      serializeModel(read);
      return read;
    } catch (error) {
      if (error instanceof FxqError && error.code !== 'E_INTERNAL') return error;
      throw error;
    }
  }

  it('of every length gives an error with a code, or a model', () => {
    for (let length = 0; length < bytes.length; length++) use(bytes.subarray(0, length));
    expect(use(bytes)).not.toBeInstanceOf(FxqError);
  });

  it('of random bytes does, too', () => {
    const mutation = fc.record({ at: fc.nat(bytes.length - 1), to: fc.integer({ min: 0, max: 255 }) });
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), fc.nat(8), (mutations, removed) => {
        const damaged = Uint8Array.from(bytes);
        for (const { at, to } of mutations) damaged[at] = to;
        const [{ at } = { at: 0 }] = mutations;
        use(Buffer.concat([damaged.subarray(0, at), damaged.subarray(at + removed)]));
      }),
      { numRuns: 3000 },
    );
  });

  it('of random content does, too', () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (content) => void use(content)),
      { numRuns: 500 },
    ));

  it('of deep nesting does, too', () => {
    /** A field of a message: number, length, content. */
    const wrap = (field: number, content: Uint8Array): Uint8Array =>
      protobuf.Writer.create()
        .uint32((field << 3) | 2)
        .bytes(content)
        .finish();
    const nested = (depth: number): Uint8Array => {
      let graph: Uint8Array = new Uint8Array();
      // GraphProto.node = 1, NodeProto.attribute = 5, AttributeProto.g = 6.
      for (let i = 0; i < depth; i++)
        graph = wrap(1, Buffer.concat([wrap(4, Buffer.from('If')), wrap(5, wrap(6, graph))]));
      return Buffer.concat([Buffer.of(8, 8), wrap(7, graph), wrap(8, Buffer.of(16, 17))]);
    };
    expect(use(nested(20))).not.toBeInstanceOf(FxqError);
    expect(use(nested(1000))).toMatchObject({ code: 'E_MODEL' });
  });
});
