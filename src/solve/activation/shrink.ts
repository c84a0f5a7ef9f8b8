/** Graphs in which layers do not see small activations, with limits stored or given from outside, and what to count. */
import { withOutputs } from '../../engine/index.js';
import {
  GraphEditor,
  value as createValue,
  withGraph,
  type Model,
  type Node,
  type ValueInfo,
} from '../../onnx/index.js';
import { dtypeCode, tensor } from '../../tensor/index.js';
import { channelLimits, limitShape, type ActivationSite } from './sites.js';

/** Which elements of a layer's input are left out, and the two parts it falls into. */
interface Parts {
  readonly magnitude: string;
  readonly isSmall: string;
  readonly small: () => string;
  readonly large: () => string;
}

function split(editor: GraphEditor, { layer: { input } }: ActivationSite, limits: string): Parts {
  const zero = editor.addInitializer(`${input}_zero`, tensor('float32', [], [0]));
  const magnitude = editor.emit('Abs', [input], {}, `${input}_abs`);
  const isSmall = editor.emit('LessOrEqual', [magnitude, limits], {}, `${input}_small`);
  return {
    magnitude,
    isSmall,
    small: () => editor.emit('Where', [isSmall, input, zero], {}, `${input}_dropped`),
    large: () => editor.emit('Where', [isSmall, zero, input], {}, `${input}_sparse`),
  };
}

/** Makes a layer read another value in place of its input. */
function replaceInput(editor: GraphEditor, { layer }: ActivationSite, by: string): void {
  const { node, input, weightInput } = layer;
  const current = editor.nodes.find((n) => n.name === node.name) ?? node;
  const inputs = current.inputs.map((name, i) => (i !== weightInput && name === input ? by : name));
  editor.replace(current, { ...current, inputs });
}

/** The layer with another input and without its bias, so that norms are those of sums of products. */
function emitProducts(
  editor: GraphEditor,
  { node, weightInput }: ActivationSite['layer'],
  input: string,
): string {
  const inputs = node.inputs.slice(0, 2).map((name, i) => (i === weightInput ? name : input));
  const output = editor.uniqueName(`${node.name}_products`);
  editor.add({
    ...node,
    name: editor.uniqueName(`${node.name}_products_node`),
    inputs,
    outputs: [output],
  } satisfies Node);
  return output;
}

/** Names of what one site adds to a measuring graph. */
export interface SiteProbe {
  /** Input for its limits, in the shape of {@link limitShape}. */
  readonly limits: string;
  /** Σ over output vectors of ‖what is dropped‖ / ‖output‖, and their number. Only of dense graphs. */
  readonly error?: string;
  readonly vectors?: string;
  /** Largest magnitude of an input. Only of dense graphs. */
  readonly largest?: string;
  /** Inputs left out, and all inputs. */
  readonly dropped: string;
  readonly total: string;
}

export interface MeasuringModel {
  readonly model: Model;
  readonly probes: readonly SiteProbe[];
}

/** Share of the mean norm below which an output vector counts as having that share, so that none blows the mean up. */
const LEAST_NORM = 1e-3;

/**
 * A model that takes limits as inputs and counts what they leave out. Dense: layers see everything, and the error of
 * leaving out is measured beside them. Sparse: layers see what is left.
 *
 * @param outputs values of the model to keep as outputs
 */
export function measuringModel(
  model: Model,
  sites: readonly ActivationSite[],
  kind: 'dense' | 'sparse',
  outputs: readonly string[],
): MeasuringModel {
  const editor = new GraphEditor(model.graph);
  const inputs: ValueInfo[] = [...model.graph.inputs];
  const probes = sites.map((site): SiteProbe => {
    const limits = editor.uniqueName(`${site.layer.node.name}_limits`);
    inputs.push(createValue(limits, 'float32', limitShape(site)));
    const { magnitude, small, large, isSmall } = split(editor, site, limits);
    const counts = {
      limits,
      dropped: editor.emit(
        'ReduceSum',
        [editor.emit('Cast', [isSmall], { to: dtypeCode('int64') })],
        { keepdims: 0 },
        'fxq_dropped',
      ),
      total: editor.emit('Size', [site.layer.input], {}, 'fxq_total'),
    };
    if (kind === 'sparse') {
      replaceInput(editor, site, large());
      return counts;
    }
    const removed = vectorNorms(editor, emitProducts(editor, site.layer, small()), site);
    const whole = vectorNorms(editor, emitProducts(editor, site.layer, site.layer.input), site);
    const least = editor.emit('Mul', [
      editor.emit('ReduceMean', [whole], { keepdims: 0 }),
      editor.addInitializer('fxq_least', tensor('float32', [], [LEAST_NORM])),
    ]);
    const tiny = editor.addInitializer('fxq_tiny', tensor('float32', [], [1e-30]));
    const ratio = editor.emit('Div', [removed, editor.emit('Max', [whole, least, tiny])]);
    return {
      ...counts,
      largest: editor.emit('ReduceMax', [magnitude], { keepdims: 0 }, 'fxq_largest'),
      error: editor.emit('ReduceSum', [ratio], { keepdims: 0 }, 'fxq_error'),
      vectors: editor.emit('Size', [ratio], {}, 'fxq_vectors'),
    };
  });
  editor.inputs = inputs;
  const names = probes.flatMap(({ limits: _limits, ...rest }) => Object.values(rest));
  return {
    model: withOutputs(
      withGraph(model, { ...editor.finish(), outputs: model.graph.outputs }),
      [...outputs, ...names],
      true,
    ),
    probes,
  };
}

/** ‖·‖ along the output channels. */
function vectorNorms(editor: GraphEditor, y: string, { trailing }: ActivationSite): string {
  const axis = editor.addInitializer('fxq_axis', tensor('int64', [1], [BigInt(-1 - trailing)]));
  const sum = editor.emit('ReduceSum', [editor.emit('Mul', [y, y]), axis], { keepdims: 0 });
  return editor.emit('Sqrt', [sum]);
}

/** The model whose layers do not see activations within fixed limits. Sites with threshold 0 stay as they are. */
export function withThresholds(
  model: Model,
  sites: readonly ActivationSite[],
  thresholds: readonly number[],
): Model {
  const editor = new GraphEditor(model.graph);
  sites.forEach((site, i) => {
    const threshold = thresholds[i] ?? 0;
    if (threshold === 0) return;
    const limits = tensor('float32', limitShape(site), channelLimits(site, threshold));
    const stored = editor.addInitializer(`${site.layer.input}_limits`, limits);
    replaceInput(editor, site, split(editor, site, stored).large());
  });
  return withGraph(model, editor.finish());
}
