/**
 * Models from text, the inverse of src/onnx/text.ts: a graph in a test reads like a graph.
 *
 * ```
 * model`
 *   opset 17
 *   (float32[N,3,8,8] x) => (float32[N,4,8,8] y) {
 *     w: float32[4,3,3,3] = random(scale=0.1)
 *     b: float32[4] = {1, 2, 3, 4}
 *     c = [conv] Conv<pads=[1, 1, 1, 1]>(x, w, b)
 *     y = Relu(c)
 *   }`
 * ```
 *
 * Types: `float32` is a scalar, `float32[]` has no known rank, `?` is an unknown dimension, a value without a type is
 * left undeclared. `_` is an omitted input or output, `[conv]` a node's name, `domain:Op` an operator of another domain,
 * `"…"` a name with unusual characters, `#` starts a comment. Attributes: `1` is an int, `1.0` a float, `[]` needs a
 * kind (`axes: ints = []`), `float32[2] {1, 2}` is a tensor, `() => (y) {…}` a graph, `@a` refers to a function's
 * attribute. Elements of an initializer are listed or made by one of {@link FILLS}; one number is a scalar.
 */
import { createRng, type Rng } from '../../src/core/index.js';
import {
  float,
  graph as createGraph,
  model as createModel,
  node as createNode,
  storeTensor,
  type Attribute,
  type AttributeInput,
  type Dim,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
  type ValueInfo,
  value as createValue,
} from '../../src/onnx/index.js';
import {
  ELEMENT_TYPES,
  numberToBfloat16,
  numberToFloat16,
  sizeOf,
  tensor,
  type DType,
  type Tensor,
} from '../../src/tensor/index.js';

type Arguments = Readonly<Record<string, number>>;

/** Ways to fill a tensor without listing its elements; each gives the element at an index. */
const FILLS: Record<string, (args: Arguments, rng: Rng) => (index: number) => number> = {
  /** `random(scale=0.1)` is normal, `random(low=-3, high=4)` uniform in [low, high); whole numbers for integer types. */
  random:
    ({ scale = 1, mean = 0, low, high }, rng) =>
    () =>
      low !== undefined && high !== undefined
        ? low + (high - low) * rng.uniform()
        : mean + scale * rng.normal(),
  /** `full(value=2)` repeats one value. */
  full:
    ({ value = 0 }) =>
    () =>
      value,
  /** `range(start=1, step=2)` counts. */
  range:
    ({ start = 0, step = 1 }) =>
    (i) =>
      start + step * i,
};

/** Reads a model from its text. Interpolated values are written as JavaScript writes them (an array without brackets). */
export function model(strings: TemplateStringsArray, ...values: readonly unknown[]): Model {
  return parseText(String.raw({ raw: strings.raw }, ...values));
}

/** Reads a model from its text. */
export function parseText(text: string): Model {
  const tokens = tokenize(text);
  let at = 0;

  const peek = (ahead = 0): string => tokens[at + ahead]?.text ?? '';
  const take = (): string => tokens[at++]?.text ?? fail('more text');
  const accept = (wanted: string): boolean => peek() === wanted && (at++, true);
  const expect = (wanted: string): void => void (accept(wanted) || fail(`'${wanted}'`));
  const fail = (wanted: string): never => {
    const line = tokens[at]?.line ?? text.split('\n').length;
    throw new Error(`line ${line}: expected ${wanted}, found '${peek()}' in\n${text}`);
  };

  const isName = (token: string): boolean => /^["A-Za-z_/]/.test(token);
  const name = (): string => {
    if (!isName(peek())) fail('a name');
    const token = take();
    return token === '_' ? '' : token.startsWith('"') ? (JSON.parse(token) as string) : token;
  };
  const number = (): number => toNumber(take());

  /** Items between brackets, separated by commas. */
  function list<T>(open: string, close: string, item: () => T): T[] {
    const items: T[] = [];
    expect(open);
    while (!accept(close)) {
      items.push(item());
      if (peek() !== close) expect(',');
    }
    return items;
  }

  function parseModel(): Model {
    expect('opset');
    const opset = number();
    const domains: Record<string, number> = {};
    while (accept(',')) domains[name()] = number();
    const graph = parseGraph(domains);
    if (at < tokens.length) fail('the end');
    return createModel(graph, opset, domains);
  }

  function parseGraph(domains: Record<string, number>): Graph {
    const graphName = isName(peek()) ? name() : 'graph';
    const inputs = list('(', ')', parseValue);
    expect('=>');
    const outputs = list('(', ')', parseValue);
    const initializers: [string, StoredTensor][] = [];
    const nodes: Node[] = [];
    expect('{');
    while (!accept('}')) {
      if (peek(1) === ':') initializers.push(parseInitializer());
      else nodes.push(parseNode(domains));
    }
    return createGraph({ name: graphName, inputs, outputs, nodes, initializers });
  }

  function parseValue(): ValueInfo {
    if (!isDType(peek())) return { name: name(), type: undefined, proto: {} };
    const { dtype, dims } = parseType();
    return createValue(name(), dtype, dims);
  }

  function parseType(): { dtype: DType | 'string'; dims: Dim[] | undefined } {
    if (!isDType(peek())) fail('an element type');
    const dtype = take() as DType | 'string';
    if (peek() !== '[') return { dtype, dims: [] };
    const dims = list('[', ']', (): Dim => (accept('?') ? null : isName(peek()) ? name() : number()));
    return { dtype, dims: dims.length === 0 ? undefined : dims };
  }

  function parseInitializer(): [string, StoredTensor] {
    const key = name();
    expect(':');
    const type = parseType();
    expect('=');
    return [key, parseElements(type, key)];
  }

  function parseElements(
    type: { dtype: DType | 'string'; dims: Dim[] | undefined },
    seed: string,
  ): StoredTensor {
    const dims = (type.dims ?? []).map(Number);
    if (type.dtype === 'string') {
      const stringData = list('{', '}', take).map((s) => new TextEncoder().encode(JSON.parse(s) as string));
      const proto = { dims, dataType: 8, stringData };
      return { dtype: 'string', dims, source: { kind: 'opaque' }, rest: proto };
    }
    const { dtype } = type;
    const fill = FILLS[peek()];
    if (fill !== undefined) {
      take();
      const args = Object.fromEntries(list('(', ')', () => [name(), (expect('='), number())] as const));
      const element = fill(args, args.seed === undefined ? createRng(0).fork(seed) : createRng(args.seed));
      return storeTensor(
        fromNumbers(
          dtype,
          dims,
          Array.from({ length: sizeOf(dims) }, (_, i) => element(i)),
        ),
      );
    }
    const texts = peek() === '{' ? list('{', '}', take) : [take()];
    if (texts.length !== sizeOf(dims)) fail(`${sizeOf(dims)} elements before`);
    if (dtype === 'int64' || dtype === 'uint64') return storeTensor(tensor(dtype, dims, texts.map(BigInt)));
    return storeTensor(fromNumbers(dtype, dims, texts.map(toNumber)));
  }

  function parseNode(domains: Record<string, number>): Node {
    const outputs = [name()];
    while (accept(',')) outputs.push(name());
    expect('=');
    const nodeName = peek() === '[' ? list('[', ']', name)[0] : undefined;
    let opType = name();
    let domain = '';
    if (accept(':')) {
      domain = opType;
      opType = name();
      domains[domain] ??= 1;
    }
    const attributes =
      peek() === '<' ? Object.fromEntries(list('<', '>', () => parseAttribute(domains))) : {};
    const inputs = list('(', ')', name);
    return createNode(opType, inputs, outputs, attributes, {
      domain,
      ...(nodeName !== undefined && { name: nodeName }),
    });
  }

  function parseAttribute(domains: Record<string, number>): [string, AttributeInput] {
    const key = name();
    const kind = accept(':') ? name() : undefined;
    expect('=');
    if (accept('@')) return [key, { kind: 'other', value: { name: key, refAttrName: name() } }];
    if (peek() !== '[') return [key, parseAttributeValue(domains, key)];
    const items = list('[', ']', () => parseAttributeValue(domains, key));
    return [key, gather(items, kind)];
  }

  function parseAttributeValue(domains: Record<string, number>, key: string): AttributeInput {
    const token = peek();
    if (isNumber(token)) return /^-?\d+$/.test(take()) ? BigInt(token) : float(toNumber(token));
    if (token.startsWith('"')) return name();
    if (isDType(token)) return { kind: 'tensor', value: parseElements(parseType(), key) };
    return parseGraph(domains);
  }

  return parseModel();
}

/** One attribute out of the items of a list; floats and ints may be mixed and are floats then. */
function gather(items: readonly AttributeInput[], kind: string | undefined): Attribute {
  const first = items[0];
  if (kind === 'strings' || typeof first === 'string')
    return { kind: 'strings', value: items.map((s) => new TextEncoder().encode(s as string)) };
  if (kind === 'floats' || items.some((v) => typeof v === 'object' && 'float' in v))
    return {
      kind: 'floats',
      value: items.map((v) => Math.fround(typeof v === 'object' && 'float' in v ? v.float : Number(v))),
    };
  if (typeof first === 'object' && 'nodes' in first) return { kind: 'graphs', value: items as Graph[] };
  if (typeof first === 'object' && 'kind' in first)
    return { kind: 'tensors', value: items.map((t) => (t as { value: StoredTensor }).value) };
  return { kind: 'ints', value: items as bigint[] };
}

/** A tensor of any numeric type from plain numbers: rounded to whole numbers or to half precision as the type needs. */
export function fromNumbers(dtype: DType, dims: readonly number[], values: readonly number[]): Tensor {
  if (dtype === 'float16') return tensor(dtype, dims, values.map(numberToFloat16));
  if (dtype === 'bfloat16') return tensor(dtype, dims, values.map(numberToBfloat16));
  if (dtype === 'float32' || dtype === 'float64') return tensor(dtype, dims, values);
  return tensor(dtype, dims, values.map(Math.floor));
}

interface Token {
  readonly text: string;
  readonly line: number;
}

const TOKEN =
  /(\s+|#.*)|("(?:[^"\\]|\\.)*"|-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|-inf|[A-Za-z_/][\w./]*(?:::[\w./]+)*|=>|[=<>(){}[\],:?@])/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length;) {
    const from = TOKEN.lastIndex;
    const [, space, token] = TOKEN.exec(text) ?? [];
    if (space === undefined && token === undefined)
      throw new Error(`line ${line}: cannot read '${text.slice(from, from + 20)}'`);
    if (token !== undefined) tokens.push({ text: token, line });
    line += (space ?? '').split('\n').length - 1;
  }
  return tokens;
}

const SPECIAL: Record<string, number> = { inf: Infinity, '-inf': -Infinity, nan: NaN };

function isNumber(token: string): boolean {
  return /^-?\d/.test(token) || token in SPECIAL;
}

function toNumber(token: string): number {
  return SPECIAL[token] ?? Number(token);
}

function isDType(token: string): boolean {
  return token in ELEMENT_TYPES || token === 'string';
}
