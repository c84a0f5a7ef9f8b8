/**
 * High-bias absorption (Nagel et al., arXiv 1906.04721, section 4.1.3): what a channel never falls below moves from the
 * bias before a Relu into the biases behind it, and the range of the value in between shrinks. The paper takes β − 3γ of
 * a batch normalization as the lower end; here it is the least value that calibration saw.
 */
import { GraphEditor, intsAttribute, stringAttribute, type Model, type Node } from '../../onnx/index.js';
import { sizeOf } from '../../tensor/index.js';
import { realsOf } from '../constants.js';
import { inputChannel, outputChannel } from './ends.js';
import { replaceConstants } from './rescale.js';

export interface AbsorbedBias {
  /** Layer in front of the Relu, and the layers behind it. */
  readonly from: string;
  readonly to: readonly string[];
  /** Channels with something to absorb, of all. */
  readonly absorbed: number;
  readonly channels: number;
  /** Largest value behind the Relu, before and after. */
  readonly reach: { readonly before: number; readonly after: number };
}

/** Least and largest value of every channel. */
export interface ChannelRange {
  readonly min: ArrayLike<number>;
  readonly max: ArrayLike<number>;
}

/** A place where biases can be absorbed. */
interface Candidate {
  readonly before: Node;
  readonly value: string;
  readonly output: string;
  readonly readers: readonly Node[];
}

/** Values behind a Relu whose channel ranges {@link absorbBiases} asks for. */
export function absorbable(model: Model): string[] {
  return candidates(new GraphEditor(model.graph)).map(({ output }) => output);
}

/**
 * Absorbs biases. The result computes the same for every input whose channels stay above the minima given.
 *
 * @param rangeOf  calibrated channel range of a value, where there is one
 * @param isWanted whether a node may be changed, by name
 */
export function absorbBiases(
  model: Model,
  rangeOf: (value: string) => ChannelRange | undefined,
  isWanted: (node: string) => boolean = () => true,
): { readonly model: Model; readonly absorbed: readonly AbsorbedBias[] } {
  const editor = new GraphEditor(model.graph);
  const constants = new Map<string, Float64Array>();
  const values: string[] = [];
  const absorbed: AbsorbedBias[] = [];
  const elementsOf = (name: string): Float64Array => {
    const known = constants.get(name);
    const constant = editor.constantTensor(name);
    return known ?? ((constant && realsOf(constant)) || new Float64Array()).slice();
  };
  for (const { before, value, output, readers } of candidates(editor)) {
    const range = rangeOf(output);
    if (range === undefined || ![before, ...readers].every((node) => isWanted(node.name))) continue;
    const least = Float64Array.from(range.min, (m) => (Number.isFinite(m) ? Math.max(m, 0) : 0));
    const taken = least.filter((c) => c > 0).length;
    if (taken === 0) continue;
    const bias = before.inputs[2] ?? '';
    constants.set(
      bias,
      elementsOf(bias).map((b, c) => b - (least[c] ?? 0)),
    );
    for (const reader of readers) {
      const [, weight = '', shifted = ''] = reader.inputs;
      const sum = elementsOf(shifted);
      const dims = editor.constant(weight)?.dims ?? [];
      const [from, to] = [inputChannel(reader, dims), outputChannel(reader, dims)];
      elementsOf(weight).forEach((w, i) => {
        const k = to(i);
        sum[k] = (sum[k] ?? 0) + w * (least[from(i)] ?? 0);
      });
      constants.set(shifted, sum);
    }
    values.push(value, output);
    const reach = (of: (max: number, c: number) => number): number =>
      Array.from(range.max, of).reduce((a, b) => Math.max(a, b), 0);
    absorbed.push({
      from: before.name,
      to: readers.map((r) => r.name),
      absorbed: taken,
      channels: least.length,
      reach: { before: reach((m) => m), after: reach((m, c) => m - (least[c] ?? 0)) },
    });
  }
  return { model: absorbed.length === 0 ? model : replaceConstants(model, values, constants), absorbed };
}

/** Layers with a bias in front of a Relu that only unpadded layers with a bias read. */
function candidates(editor: GraphEditor): Candidate[] {
  return editor.nodes.flatMap((relu): Candidate[] => {
    const [value = ''] = relu.inputs;
    const [output = ''] = relu.outputs;
    const before = editor.producer(value);
    if (relu.opType !== 'Relu' || relu.domain !== '' || before === undefined) return [];
    if (editor.soleConsumer(value) !== relu || editor.isGraphOutput(output)) return [];
    const readers = editor.consumers(output);
    const fits =
      hasOwnBias(before, editor) &&
      readers.length > 0 &&
      readers.every((r) => r.inputs[0] === output && hasOwnBias(r, editor) && isUnpadded(r));
    return fits ? [{ before, value, output, readers }] : [];
  });
}

/** A Conv or a Gemm without factors, with a constant weight and a constant bias of its own, one number a channel. */
function hasOwnBias(node: Node, editor: GraphEditor): boolean {
  if (node.domain !== '' || (node.opType !== 'Conv' && node.opType !== 'Gemm')) return false;
  if (['alpha', 'beta', 'transA'].some((name) => node.attributes.has(name) && node.opType === 'Gemm'))
    return false;
  const [, weight = '', bias = ''] = node.inputs;
  const [w, b] = [editor.constant(weight), editor.constant(bias)];
  if (w?.dtype !== 'float32' || b?.dtype !== 'float32' || editor.consumers(bias).length !== 1) return false;
  const channels = outputChannel(node, w.dims)(sizeOf(w.dims) - 1) + 1;
  return b.dims.length === 1 && b.dims[0] === channels;
}

/** Padding adds zeros, which the shift would have to reach, too. */
function isUnpadded(node: Node): boolean {
  if (node.opType !== 'Conv') return true;
  const padding = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (padding === 'SAME_UPPER' || padding === 'SAME_LOWER') return false;
  return padding === 'VALID' || intsAttribute(node, 'pads', []).every((p) => p === 0);
}
