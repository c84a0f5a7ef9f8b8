/** What is read is written again: nothing lost, nothing added, the same bytes. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { onnx } from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import {
  formatModel,
  loadTensor,
  parseModel,
  serializeModel,
  withGraph,
  type Model,
} from '../../src/onnx/index.js';
import { schema } from '../../src/onnx/schema.js';
import { toNumbers } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { arbitraryMessage, decodeProto, encodeProto, type Message } from '../helpers/proto.js';

/** Expects a model file to be written as it was read: first the same message, then the same bytes. */
function expectUnchanged(bytes: Uint8Array): void {
  const written = serializeModel(parseModel(bytes));
  if (Buffer.from(written).equals(bytes)) return;
  expect(decodeProto('ModelProto', written)).toEqual(decodeProto('ModelProto', bytes));
  expect.fail('the message is the same, its bytes are not');
}

describe('reading and writing', () => {
  const everything = encodeProto('ModelProto', arbitraryMessage('ModelProto', 1));

  it('is tried on every field of the schema', () => {
    const text = JSON.stringify(decodeProto('ModelProto', everything));
    const fields = Object.values(schema.nested.onnx.nested).flatMap((type) =>
      'fields' in type ? Object.keys(type.fields) : [],
    );
    const elements = /^(float|int32|string|int64|double|uint64|external)Data$|^(segment|dataLocation)$/;
    expect(fields.filter((field) => !text.includes(`"${field}"`) && !elements.test(field))).toEqual([]);
  });

  it('brings back every field of the schema, and unknown ones at every level', () =>
    expectUnchanged(everything));

  it('brings back any subset of them', () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 0.9, noNaN: true }), (seed, density) =>
        expectUnchanged(encodeProto('ModelProto', arbitraryMessage('ModelProto', seed, density))),
      ),
      { numRuns: 40 },
    );
  });

  it.each(['fashion-cnn/cnn.onnx', 'fashion-vit/vit.onnx'])('writes %s as it is', (file) =>
    expectUnchanged(readFileSync(new URL(`../../fixtures/${file}`, import.meta.url))),
  );

  it('keeps the standard domain spelled as it was', () => {
    const graph: Message = { node: [{ opType: 'Relu', domain: 'ai.onnx', input: ['x'], output: ['y'] }] };
    const bytes = encodeProto('ModelProto', {
      irVersion: 8,
      opsetImport: [{ domain: 'ai.onnx', version: 17 }],
      graph,
    });
    expectUnchanged(bytes);
    expect(formatModel(parseModel(bytes))).toBe('opset 17\n() => () {\n  y = Relu(x)\n}');
  });
});

/** A model with one initializer, given as its message. */
function withTensor(tensor: Message): Uint8Array {
  return encodeProto('ModelProto', { irVersion: 10, graph: { initializer: [{ name: 't', ...tensor }] } });
}

describe('elements in typed fields', () => {
  it.each<[string, number, Message, number[]]>([
    ['float', 1, { floatData: [0.1, -2, Infinity] }, [Math.fround(0.1), -2, Infinity]],
    ['double', 11, { doubleData: [0.1, -2, 1e300] }, [0.1, -2, 1e300]],
    ['int8', 3, { int32Data: [-128, 0, 127] }, [-128, 0, 127]],
    ['uint8', 2, { int32Data: [0, 1, 255] }, [0, 1, 255]],
    ['int16', 5, { int32Data: [-32768, 0, 32767] }, [-32768, 0, 32767]],
    ['uint16', 4, { int32Data: [0, 1, 65535] }, [0, 1, 65535]],
    ['int32', 6, { int32Data: [-(2 ** 31), 0, 2 ** 31 - 1] }, [-(2 ** 31), 0, 2 ** 31 - 1]],
    ['uint32', 12, { uint64Data: [0, 1, 2 ** 32 - 1] }, [0, 1, 2 ** 32 - 1]],
    ['int64', 7, { int64Data: [-(2 ** 53), 0, 2 ** 53] }, [-(2 ** 53), 0, 2 ** 53]],
    ['uint64', 13, { uint64Data: [0, 1, 2 ** 53] }, [0, 1, 2 ** 53]],
    ['bool', 9, { int32Data: [1, 0, 1] }, [1, 0, 1]],
    ['float16 (bit patterns)', 10, { int32Data: [0x3c00, 0xc000, 0x7c00] }, [0x3c00, 0xc000, 0x7c00]],
    ['bfloat16 (bit patterns)', 16, { int32Data: [0x3f80, 0xc000, 0x7f80] }, [0x3f80, 0xc000, 0x7f80]],
    ['float8 (bit patterns)', 17, { int32Data: [0x38, 0xc0, 0x7e] }, [0x38, 0xc0, 0x7e]],
    ['int4 (packed)', 22, { int32Data: [0x8f, 0x07] }, [-1, -8, 7]],
    ['uint4 (packed)', 21, { int32Data: [0x8f, 0x07] }, [15, 8, 7]],
    ['int2 (packed)', 26, { int32Data: [0b00_10_11_01] }, [1, -1, -2]],
    ['uint2 (packed)', 25, { int32Data: [0b00_10_11_01] }, [1, 3, 2]],
  ])('reads %s, and writes it as raw data', (_name, dataType, fields, expected) => {
    const bytes = withTensor({ dims: [3], dataType, ...fields });
    const elements = (model: Model): number[] => {
      const stored = model.graph.initializers.get('t');
      return stored === undefined ? [] : toNumbers(loadTensor(stored));
    };
    expect(elements(parseModel(bytes))).toEqual(expected);
    const written = serializeModel(parseModel(bytes));
    expect(elements(parseModel(written))).toEqual(expected);
    expect(
      Object.keys(fields).some((field) => JSON.stringify(decodeProto('ModelProto', written)).includes(field)),
    ).toBe(false);
    expectUnchanged(written);
  });

  it('keeps strings, complex numbers and empty tensors', () => {
    expectUnchanged(withTensor({ dims: [2], dataType: 8, stringData: [Buffer.from('é'), Buffer.of(0xff)] }));
    expectUnchanged(withTensor({ dims: [1], dataType: 15, doubleData: [1, 2] }));
    expectUnchanged(withTensor({ dims: [1], dataType: 14, rawData: Buffer.alloc(8, 1) }));
    expectUnchanged(withTensor({ dims: [0], dataType: 1 }));
    expectUnchanged(withTensor({ dims: [0], dataType: 1, rawData: Buffer.alloc(0) }));
    expectUnchanged(withTensor({ dataType: 1, rawData: Buffer.alloc(4) }));
  });
});

describe('a changed model', () => {
  const before = model`
    opset 17, com.microsoft 1
    (float32[N,2] x) => (float32[N,2] y) {
      w: float32[2,2] = {1, 2, 3, 4}
      h = MatMul(x, w)
      y = com.microsoft:Gelu(h)
    }`;

  it('keeps what the change did not touch', () => {
    const proto = parseModel(encodeProto('ModelProto', arbitraryMessage('ModelProto', 2)));
    const nodes = proto.graph.nodes.map((n) => ({ ...n, opType: 'Changed', name: 'new name' }));
    const after = parseModel(serializeModel(withGraph(proto, { ...proto.graph, nodes })));
    expect(after.graph.nodes.map((n) => [n.opType, n.name])).toEqual(
      nodes.map(() => ['Changed', 'new name']),
    );
    expect(after.graph.nodes.map((n) => n.rest)).toEqual(proto.graph.nodes.map((n) => n.rest));
    expect(after.rest).toEqual(proto.rest);
    expect(after.graph.rest).toEqual(proto.graph.rest);
  });

  it('declares the type it says, not the one it was read with', () => {
    const outputs = before.graph.outputs.map((o) => ({
      ...o,
      type: { dtype: 'uint8' as const, dims: ['N', 2] },
    }));
    const after = parseModel(serializeModel(withGraph(before, { ...before.graph, outputs })));
    expect(after.graph.outputs[0]?.type).toEqual({ dtype: 'uint8', dims: ['N', 2] });
  });

  it('is read by onnx-proto, an independent reader', () => {
    const read = onnx.ModelProto.decode(serializeModel({ ...before, metadata: new Map([['k', 'v']]) }));
    expect(onnx.ModelProto.verify(read)).toBeNull();
    expect(onnx.ModelProto.toObject(read, { longs: Number, bytes: String })).toMatchObject({
      irVersion: 8,
      opsetImport: [{ version: 17 }, { domain: 'com.microsoft', version: 1 }],
      metadataProps: [{ key: 'k', value: 'v' }],
      graph: {
        node: [
          { opType: 'MatMul', input: ['x', 'w'], output: ['h'] },
          { opType: 'Gelu', domain: 'com.microsoft', input: ['h'], output: ['y'] },
        ],
        initializer: [
          {
            name: 'w',
            dims: [2, 2],
            dataType: 1,
            rawData: Buffer.from(Float32Array.of(1, 2, 3, 4).buffer).toString('base64'),
          },
        ],
        input: [
          {
            name: 'x',
            type: { tensorType: { elemType: 1, shape: { dim: [{ dimParam: 'N' }, { dimValue: 2 }] } } },
          },
        ],
        output: [{ name: 'y' }],
      },
    });
    // Absent is not the same as empty.
    expect(Object.hasOwn(read.graph?.node?.[0] ?? {}, 'domain')).toBe(false);
  });
});
