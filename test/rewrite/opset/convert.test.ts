import { describe, expect, it } from 'vitest';
import { formatModel, opsetOf, parseModel, type Model } from '../../../src/onnx/index.js';
import { convertOpset } from '../../../src/rewrite/index.js';
import { model } from '../../helpers/model.js';
import { encodeProto } from '../../helpers/proto.js';

const relu = model`opset 11 (float32[2] x) => (y) { y = Relu(x) }`;

describe('convertOpset', () => {
  it('raises the IR version as far as the opset needs, and never lowers it', async () => {
    const versions = async (m: Model, target: number): Promise<number[]> => {
      const { model } = await convertOpset(m, target);
      return [opsetOf(model), model.irVersion];
    };
    expect(await versions(relu, 12)).toEqual([12, 7]);
    expect(await versions(relu, 21)).toEqual([21, 10]);
    expect(await versions({ ...relu, irVersion: 9 }, 13)).toEqual([13, 9]);
  });

  it('leaves a model at its own opset alone', async () => {
    expect((await convertOpset(relu, 11)).model).toBe(relu);
  });

  it('keeps other domains, metadata and what it does not interpret', async () => {
    const before: Model = {
      ...model`opset 12, com.microsoft 1 (float32[2] x) => (y) { g = com.microsoft:Gelu(x)  y = Squeeze<axes=[0]>(g) }`,
      metadata: new Map([['author', 'me']]),
      rest: { docString: 'about' },
    };
    const { model: after } = await convertOpset(before, 13);
    expect(formatModel(after)).toBe(
      'opset 13, com.microsoft 1\n(float32[2] x) => (y) {\n  axes: int64[1] = {0}\n  g = com.microsoft:Gelu(x)\n  y = Squeeze(g, axes)\n}',
    );
    expect([after.metadata.get('author'), after.rest]).toEqual(['me', { docString: 'about' }]);
  });

  it('writes equal constants of a graph once', async () => {
    const before = model`
      opset 12
      (float32[1,1,3] x) => (a, b) {
        a = Squeeze<axes=[0]>(x)
        b = Squeeze<axes=[0]>(x)
      }`;
    const { model: after } = await convertOpset(before, 13);
    expect([...after.graph.initializers.keys()]).toEqual(['axes']);
  });

  it('does not take a name that is in use, in any graph', async () => {
    const before = model`
      opset 12
      (float32[1,3] axes, bool c) => (y) {
        a = Squeeze<axes=[0]>(axes)
        y = If<then_branch=() => (t) {
          axes_1 = Relu(a)
          t = Unsqueeze<axes=[0]>(axes_1)
        }, else_branch=() => (t) {
          t = Identity(axes)
        }>(c)
      }`;
    const { model: after } = await convertOpset(before, 13);
    const names = [...formatModel(after).matchAll(/^ *(axes\w*):/gm)].map((match) => match[1]);
    expect(new Set(names).size).toBe(names.length);
    expect(names).not.toContain('axes');
    expect(names).not.toContain('axes_1');
  });

  it('says what may have changed', async () => {
    const before = model`
      opset 10
      (int64[2] i) => (y) {
        d: int64 = 3
        v: float32[2] = {0, 1}
        y = [hot] OneHot(i, d, v)
      }`;
    const { notes } = await convertOpset(before, 13);
    expect(notes.map((n) => n.message)).toEqual(['hot: negative indices count from the end since opset 11']);
  });
});

describe('what it refuses', () => {
  it('lower and unknown opsets', async () => {
    await expect(convertOpset(relu, 10)).rejects.toThrow('opset 11 cannot be lowered to 10');
    await expect(convertOpset(relu, 27)).rejects.toThrow('opset 27 is not known; the highest is 26');
  });

  it('operators it does not know, all of them at once', async () => {
    const before = model`
      opset 9
      (float32[2] x) => (y) {
        a = [first] ImageScaler(x)
        y = If<then_branch=() => (t) { t = [second] Crop(a) }, else_branch=() => (t) { t = Relu(a) }>(x)
      }`;
    await expect(convertOpset(before, 13)).rejects.toThrow(
      "the model cannot be raised to opset 13\n  ImageScaler 'first': fxq does not know the operator\n  Crop 'second'",
    );
  });

  it('functions of the model, unless they are written for that opset', async () => {
    const withFunction = (version: number): Model =>
      parseModel(
        encodeProto('ModelProto', {
          irVersion: 8,
          opsetImport: [{ version: 13 }, { domain: 'local', version: 1 }],
          functions: [{ name: 'f', domain: 'local', opsetImport: [{ version }] }],
          graph: { name: 'g' },
        }),
      );
    await expect(convertOpset(withFunction(13), 17)).rejects.toThrow("functions cannot be raised to 17: 'f'");
    expect(opsetOf((await convertOpset(withFunction(17), 17)).model)).toBe(17);
  });
});
