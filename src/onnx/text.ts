/** A model as text, close to ONNX's own textual syntax: for messages, and for stating graphs in tests. */
import { bfloat16ToNumber, float16ToNumber, type Tensor } from '../tensor/index.js';
import {
  type Attribute,
  type Dim,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
  type ValueInfo,
} from './model.js';

export interface TextOptions {
  /** Tensors up to this many elements are written out; of larger ones, only type and shape. 8 by default. */
  readonly elements?: number;
  /** Writes node names in brackets before the operator. */
  readonly names?: boolean;
}

/**
 * The text of a model: opsets, then the graph.
 *
 * ```
 * opset 17
 * (float32[N,3,8,8] x) => (float32[N,4,8,8] y) {
 *   w: float32[4,3,3,3]
 *   b: float32[4] = {1, 2, 3, 4}
 *   c = Conv<pads=[1, 1, 1, 1]>(x, w, b)
 *   y = Relu(c)
 * }
 * ```
 *
 * As in ONNX, `float32` is a scalar and `float32[]` a tensor of unknown rank; `?` is an unknown dimension and `_` an
 * omitted input or output. The text leaves out what has no part in the computation, such as doc strings.
 */
export function formatModel(model: Model, options: TextOptions = {}): string {
  const opsets = [...model.opsets].map(([domain, version]) => `${domain || 'opset'} ${version}`);
  return `${opsets.join(', ')}\n${formatGraph(model.graph, options)}`;
}

/** The text of a graph; see {@link formatModel}. */
export function formatGraph(graph: Graph, options: TextOptions = {}): string {
  const lines = [
    ...[...graph.initializers].map(([name, stored]) => formatInitializer(name, stored, options)),
    ...graph.nodes.map((node) => formatNode(node, options)),
  ];
  const head = `(${graph.inputs.map(formatValue).join(', ')}) => (${graph.outputs.map(formatValue).join(', ')})`;
  return lines.length === 0 ? `${head} {}` : `${head} {\n${indent(lines.join('\n'))}\n}`;
}

/** One line for a node without subgraphs: `y = Conv<group=2>(x, w)`. */
export function formatNode(node: Node, options: TextOptions = {}): string {
  const outputs = node.outputs.map(formatName).join(', ');
  const name = options.names === true && node.name !== '' ? `[${formatName(node.name)}] ` : '';
  const operator = `${node.domain === '' ? '' : `${formatName(node.domain)}:`}${formatName(node.opType)}`;
  const attributes = [...node.attributes].map(([key, a]) => formatAttribute(key, a, options)).join(', ');
  const inputs = node.inputs.map(formatName).join(', ');
  return `${outputs} = ${name}${operator}${attributes === '' ? '' : `<${attributes}>`}(${inputs})`;
}

function formatInitializer(name: string, stored: StoredTensor, options: TextOptions): string {
  const elements = formatElements(stored, options.elements ?? 8);
  return `${formatName(name)}: ${formatTensorType(stored)}${elements === undefined ? '' : ` = ${elements}`}`;
}

function formatAttribute(name: string, attribute: Attribute, options: TextOptions): string {
  const key = formatName(name);
  switch (attribute.kind) {
    case 'float':
      return `${key}=${formatFloat(attribute.value)}`;
    case 'int':
      return `${key}=${attribute.value}`;
    case 'string':
      return `${key}=${formatString(attribute.value)}`;
    case 'tensor':
      return `${key}=${formatTensor(attribute.value, options)}`;
    case 'graph':
      return `${key}=${formatGraph(attribute.value, options)}`;
    case 'floats':
      return formatList(key, 'floats', attribute.value.map(formatFloat));
    case 'ints':
      return formatList(key, 'ints', attribute.value.map(String));
    case 'strings':
      return formatList(key, 'strings', attribute.value.map(formatString));
    case 'tensors':
      return formatList(
        key,
        'tensors',
        attribute.value.map((t) => formatTensor(t, options)),
      );
    case 'graphs':
      return formatList(
        key,
        'graphs',
        attribute.value.map((g) => formatGraph(g, options)),
      );
    case 'other': {
      const { refAttrName } = attribute.value;
      return refAttrName ? `${key}=@${refAttrName}` : `${key}=…`;
    }
  }
}

/** An empty list shows its kind, as nothing in it does. */
function formatList(key: string, kind: string, items: readonly string[]): string {
  return items.length === 0 ? `${key}: ${kind} = []` : `${key}=[${items.join(', ')}]`;
}

function formatTensor(stored: StoredTensor, options: TextOptions): string {
  const elements = formatElements(stored, options.elements ?? 8);
  return `${formatTensorType(stored)}${elements === undefined ? '' : ` ${elements}`}`;
}

function formatElements(stored: StoredTensor, limit: number): string | undefined {
  const texts =
    stored.source.kind === 'memory'
      ? elementTexts(stored.source.tensor, limit)
      : stored.rest?.stringData?.slice(0, limit + 1).map(formatString);
  return texts === undefined || texts.length > limit ? undefined : `{${texts.join(', ')}}`;
}

function elementTexts({ dtype, data }: Tensor, limit: number): string[] {
  const elements = Array.from<number | bigint>(data.subarray(0, limit + 1));
  switch (dtype) {
    case 'float32':
      return elements.map((v) => shortest(Number(v)));
    case 'float16':
      return elements.map((v) => shortest(float16ToNumber(Number(v))));
    case 'bfloat16':
      return elements.map((v) => shortest(bfloat16ToNumber(Number(v))));
    default:
      return elements.map(String);
  }
}

function formatValue(value: ValueInfo): string {
  const { name, type } = value;
  return type?.dtype === undefined ? formatName(name) : `${formatTensorType(type)} ${formatName(name)}`;
}

function formatTensorType(
  type: Pick<StoredTensor, 'dtype'> & { readonly dims: readonly Dim[] | undefined },
): string {
  const dtype = type.dtype ?? 'unknown';
  if (type.dims === undefined) return `${dtype}[]`;
  return type.dims.length === 0 ? dtype : `${dtype}[${type.dims.map(formatDim).join(',')}]`;
}

function formatDim(dim: Dim): string {
  return dim === null ? '?' : typeof dim === 'number' ? String(dim) : formatName(dim);
}

/** What a name may look like without quotes; `::` is common in exported names. */
const PLAIN_NAME = /^[A-Za-z_/][\w./]*(::[\w./]+)*$/;

function formatName(name: string): string {
  if (name === '') return '_';
  return PLAIN_NAME.test(name) && name !== '_' ? name : JSON.stringify(name);
}

function formatString(bytes: Uint8Array): string {
  return JSON.stringify(new TextDecoder().decode(bytes));
}

/** A float attribute always shows a point or an exponent: `1` is an integer, `1.0` a float. */
function formatFloat(value: number): string {
  const text = shortest(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** The shortest decimal that gives the same float32. */
function shortest(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Object.is(value, -0)) return '-0';
  for (let digits = 1; digits <= 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === Math.fround(value)) return String(rounded);
  }
  return String(value);
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}
