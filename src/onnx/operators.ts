/** The operator table: what rewriting, planning, solving and tensor programs need to know of each operator. */
import { intAttribute, stringAttribute, type Node } from './model.js';

/**
 * What an operator is to quantization.
 *
 * - `weighted`: a contraction with a (usually constant) weight, or a lookup in one
 * - `movement`: every output element is one of the input elements; input and output share their parameters
 * - `activation`: limits the range, so that the limit can move into the parameters of the value before it
 * - `elementwise`, `normalization`, `reduction` (pooling and averaging too): real arithmetic, own output parameters
 * - `shape`: integer, boolean or string computation that is never quantized
 * - `generator`: makes values from shapes and attributes; `random` ones differ from run to run
 * - `quantized`: already works on integer codes
 * - `control`: holds subgraphs, or handles sequences and optionals
 * - `opaque`: computes with reals in a way fxq does not quantize
 */
export type OperatorFacts =
  | WeightedFacts
  | PlainFacts<'movement' | 'activation' | 'elementwise' | 'normalization' | 'reduction'>
  | { readonly category: 'shape' | 'generator' | 'random' | 'quantized' | 'control' | 'opaque' };

export type OperatorCategory = OperatorFacts['category'];

/** Input or output positions; `all` for a variadic list. */
export type Positions = readonly number[] | 'all';

export interface PlainFacts<Category extends string> {
  readonly category: Category;
  /** Inputs that carry the values; shapes, axes, limits, conditions and normalization parameters do not. */
  readonly data: Positions;
  /** Outputs that carry values; indices and masks do not. */
  readonly results: Positions;
  /** Limits every output obeys whatever the input. */
  readonly outputRange?: readonly [low: number, high: number];
}

export interface WeightedFacts {
  readonly category: 'weighted';
  /** Inputs that carry activations. One that is also a weight slot is an activation when it is not constant. */
  readonly data: Positions;
  readonly results: Positions;
  /** Inputs that may be constant weights. */
  readonly weights: readonly WeightSlot[];
  /** Input index of a bias added to every output position. */
  readonly bias?: number;
}

/** How a layer uses its weight. Axes are non-negative, for a weight of the given rank. */
export interface WeightSlot {
  readonly input: number;
  /** Axis with one scale an entry when quantized per channel. */
  readonly channelAxis: (node: Node, rank: number) => number;
  /** Axes summed over (for a lookup: the row). Blocks of block-wise formats run along the first. */
  readonly reductionAxes: (node: Node, rank: number) => readonly number[];
  /** Number of independent groups, which split axis 0 of the weight. */
  readonly groups: (node: Node) => number;
}

const one = (): number => 1;
const group = (node: Node): number => intAttribute(node, 'group', 1);
const from = (first: number, rank: number): number[] =>
  Array.from({ length: rank - first }, (_, i) => first + i);

/** [M, C/g, k…]: one row an output channel. */
const convWeight: WeightSlot = {
  input: 1,
  channelAxis: () => 0,
  reductionAxes: (_, rank) => from(1, rank),
  groups: group,
};

/** [C, M/g, k…]: the channel axis holds the channels of one group, so groups share their scales. */
const convTransposeWeight: WeightSlot = {
  input: 1,
  channelAxis: () => 1,
  reductionAxes: (_, rank) => [0, ...from(2, rank)],
  groups: group,
};

/** B of Gemm: [K, N], or [N, K] with `transB`. */
const gemmWeight: WeightSlot = {
  input: 1,
  channelAxis: (node) => (intAttribute(node, 'transB', 0) === 0 ? 1 : 0),
  reductionAxes: (node) => [intAttribute(node, 'transB', 0) === 0 ? 0 : 1],
  groups: one,
};

/** Right operand of MatMul: […, K, N]; a vector has no channels but its one axis. */
const matMulRight: WeightSlot = {
  input: 1,
  channelAxis: (_, rank) => rank - 1,
  reductionAxes: (_, rank) => [Math.max(rank - 2, 0)],
  groups: one,
};

/** Left operand of MatMul: […, M, K]. */
const matMulLeft: WeightSlot = {
  input: 0,
  channelAxis: (_, rank) => Math.max(rank - 2, 0),
  reductionAxes: (_, rank) => [rank - 1],
  groups: one,
};

/** A table whose rows are looked up: one scale a row. */
const tableWeight: WeightSlot = {
  input: 0,
  channelAxis: (node, rank) => (intAttribute(node, 'axis', 0) + rank) % rank,
  reductionAxes: (node, rank) =>
    from(0, rank).filter((a) => a !== (intAttribute(node, 'axis', 0) + rank) % rank),
  groups: one,
};

/** W and R of the recurrent operators: [directions, gates·hidden, depth]. */
const recurrentWeights: readonly WeightSlot[] = [1, 2].map((input) => ({
  input,
  channelAxis: () => 1,
  reductionAxes: () => [2],
  groups: one,
}));

/** [depth, channels], as in com.microsoft.Attention. */
const projectionWeight = (input: number): WeightSlot => ({
  input,
  channelAxis: () => 1,
  reductionAxes: () => [0],
  groups: one,
});

const weighted = (data: Positions, weights: readonly WeightSlot[], bias?: number): WeightedFacts => ({
  category: 'weighted',
  data,
  results: [0],
  weights,
  ...(bias === undefined ? {} : { bias }),
});

type Row = OperatorFacts | ((node: Node) => OperatorFacts);

const plain =
  <C extends PlainFacts<string>['category']>(category: C) =>
  (data: Positions = [0], extra: Partial<PlainFacts<C>> = {}): PlainFacts<C> => ({
    category,
    data,
    results: [0],
    ...extra,
  });

const movement = plain('movement' as const);
const activation = plain('activation' as const);
const elementwise = plain('elementwise' as const);
const normalization = plain('normalization' as const);
const reduction = plain('reduction' as const);

const UNIT = { outputRange: [0, 1] } as const;
const SIGNED_UNIT = { outputRange: [-1, 1] } as const;
const POSITIVE = { outputRange: [0, Infinity] } as const;

const SHAPE = { category: 'shape' } as const;
const GENERATOR = { category: 'generator' } as const;
const RANDOM = { category: 'random' } as const;
const QUANTIZED = { category: 'quantized' } as const;
const CONTROL = { category: 'control' } as const;
const OPAQUE = { category: 'opaque' } as const;

/** Nearest neighbour copies values; the other modes average them. */
const resize = (node: Node): OperatorFacts =>
  stringAttribute(node, 'mode', 'nearest') === 'nearest' ? movement() : reduction();

/** Scatter with a reduction adds or multiplies; without one it places values. */
const scatter = (node: Node): OperatorFacts =>
  stringAttribute(node, 'reduction', 'none') === 'none' ? movement([0, 2]) : elementwise([0, 2]);

/** Operators by name; those of another domain as `domain.name`. A function where the answer depends on attributes. */
export const OPERATORS = {
  // Weighted layers
  Conv: weighted([0], [convWeight], 2),
  ConvTranspose: weighted([0], [convTransposeWeight], 2),
  DeformConv: weighted([0], [convWeight], 3),
  Gemm: weighted([0, 1], [gemmWeight], 2),
  MatMul: weighted([0, 1], [matMulRight, matMulLeft]),
  Gather: weighted([0], [tableWeight]),
  LSTM: weighted([0, 5, 6], recurrentWeights, 3),
  GRU: weighted([0, 5], recurrentWeights, 3),
  RNN: weighted([0, 5], recurrentWeights, 3),
  Attention: OPAQUE,
  Einsum: OPAQUE,

  // Movement
  CenterCropPad: movement(),
  Compress: movement(),
  Concat: movement('all'),
  DepthToSpace: movement(),
  Dropout: movement(),
  Expand: movement(),
  Flatten: movement(),
  GatherElements: movement(),
  GatherND: movement(),
  GlobalMaxPool: movement(),
  Identity: movement(),
  Max: movement('all'),
  MaxPool: movement(),
  MaxRoiPool: movement(),
  Min: movement('all'),
  Pad: movement(),
  ReduceMax: movement(),
  ReduceMin: movement(),
  Reshape: movement(),
  Resize: resize,
  ReverseSequence: movement(),
  Scatter: movement([0, 2]),
  ScatterElements: scatter,
  ScatterND: scatter,
  Slice: movement(),
  SpaceToDepth: movement(),
  Split: movement([0], { results: 'all' }),
  Squeeze: movement(),
  TensorScatter: movement([0, 1]),
  Tile: movement(),
  TopK: movement(),
  Transpose: movement(),
  Trilu: movement(),
  Unsqueeze: movement(),
  Upsample: resize,
  Where: movement([1, 2]),

  // Activations that limit the range
  Clip: activation(),
  Relu: activation([0], POSITIVE),

  // Element-wise
  Abs: elementwise([0], POSITIVE),
  Acos: elementwise([0], { outputRange: [0, Math.PI] }),
  Acosh: elementwise([0], POSITIVE),
  Add: elementwise([0, 1]),
  Asin: elementwise(),
  Asinh: elementwise(),
  Atan: elementwise(),
  Atanh: elementwise(),
  Ceil: elementwise(),
  Celu: elementwise(),
  Cos: elementwise([0], SIGNED_UNIT),
  Cosh: elementwise(),
  Div: elementwise([0, 1]),
  Elu: elementwise(),
  Erf: elementwise([0], SIGNED_UNIT),
  Exp: elementwise([0], POSITIVE),
  Floor: elementwise(),
  Gelu: elementwise(),
  HardSigmoid: elementwise([0], UNIT),
  HardSwish: elementwise(),
  LeakyRelu: elementwise(),
  Log: elementwise(),
  Mean: elementwise('all'),
  Mish: elementwise(),
  Mod: elementwise([0, 1]),
  Mul: elementwise([0, 1]),
  Neg: elementwise(),
  Pow: elementwise(),
  PRelu: elementwise([0, 1]),
  Reciprocal: elementwise(),
  RotaryEmbedding: elementwise(),
  Round: elementwise(),
  Selu: elementwise(),
  Shrink: elementwise(),
  Sigmoid: elementwise([0], UNIT),
  Sign: elementwise([0], SIGNED_UNIT),
  Sin: elementwise([0], SIGNED_UNIT),
  Sinh: elementwise(),
  Softplus: elementwise([0], POSITIVE),
  Softsign: elementwise([0], SIGNED_UNIT),
  Sqrt: elementwise([0], POSITIVE),
  Sub: elementwise([0, 1]),
  Sum: elementwise('all'),
  Swish: elementwise(),
  Tan: elementwise(),
  Tanh: elementwise([0], SIGNED_UNIT),
  ThresholdedRelu: elementwise(),

  // Normalization
  BatchNormalization: normalization(),
  GroupNormalization: normalization(),
  Hardmax: normalization([0], UNIT),
  InstanceNormalization: normalization(),
  LayerNormalization: normalization(),
  LogSoftmax: normalization(),
  LpNormalization: normalization(),
  LRN: normalization(),
  MeanVarianceNormalization: normalization(),
  RMSNormalization: normalization(),
  Softmax: normalization([0], UNIT),

  // Reductions, pooling by averages, interpolation; index results are not values
  ArgMax: reduction([0], { results: [] }),
  ArgMin: reduction([0], { results: [] }),
  AveragePool: reduction(),
  CumProd: reduction(),
  CumSum: reduction(),
  GlobalAveragePool: reduction(),
  GlobalLpPool: reduction(),
  GridSample: reduction(),
  LpPool: reduction(),
  ReduceL1: reduction([0], POSITIVE),
  ReduceL2: reduction([0], POSITIVE),
  ReduceLogSum: reduction(),
  ReduceLogSumExp: reduction(),
  ReduceMean: reduction(),
  ReduceProd: reduction(),
  ReduceSum: reduction(),
  ReduceSumSquare: reduction([0], POSITIVE),
  RoiAlign: reduction(),

  // Shapes, integers, booleans, strings
  And: SHAPE,
  BitCast: SHAPE,
  BitShift: SHAPE,
  BitwiseAnd: SHAPE,
  BitwiseNot: SHAPE,
  BitwiseOr: SHAPE,
  BitwiseXor: SHAPE,
  Cast: SHAPE,
  CastLike: SHAPE,
  Equal: SHAPE,
  Greater: SHAPE,
  GreaterOrEqual: SHAPE,
  IsInf: SHAPE,
  IsNaN: SHAPE,
  Less: SHAPE,
  LessOrEqual: SHAPE,
  NonMaxSuppression: SHAPE,
  NonZero: SHAPE,
  Not: SHAPE,
  OneHot: SHAPE,
  Or: SHAPE,
  RegexFullMatch: SHAPE,
  Shape: SHAPE,
  Size: SHAPE,
  StringConcat: SHAPE,
  StringNormalizer: SHAPE,
  StringSplit: SHAPE,
  TfIdfVectorizer: SHAPE,
  Unique: SHAPE,
  Xor: SHAPE,

  // Generators
  BlackmanWindow: GENERATOR,
  Constant: GENERATOR,
  ConstantOfShape: GENERATOR,
  EyeLike: GENERATOR,
  HammingWindow: GENERATOR,
  HannWindow: GENERATOR,
  MelWeightMatrix: GENERATOR,
  Range: GENERATOR,
  Bernoulli: RANDOM,
  Multinomial: RANDOM,
  RandomNormal: RANDOM,
  RandomNormalLike: RANDOM,
  RandomUniform: RANDOM,
  RandomUniformLike: RANDOM,

  // Already quantized
  ConvInteger: QUANTIZED,
  DequantizeLinear: QUANTIZED,
  DynamicQuantizeLinear: QUANTIZED,
  MatMulInteger: QUANTIZED,
  QLinearConv: QUANTIZED,
  QLinearMatMul: QUANTIZED,
  QuantizeLinear: QUANTIZED,

  // Control flow, sequences, optionals
  ConcatFromSequence: CONTROL,
  If: CONTROL,
  Loop: CONTROL,
  Optional: CONTROL,
  OptionalGetElement: CONTROL,
  OptionalHasElement: CONTROL,
  Scan: CONTROL,
  SequenceAt: CONTROL,
  SequenceConstruct: CONTROL,
  SequenceEmpty: CONTROL,
  SequenceErase: CONTROL,
  SequenceInsert: CONTROL,
  SequenceLength: CONTROL,
  SequenceMap: CONTROL,
  SplitToSequence: CONTROL,

  // Not quantized
  AffineGrid: OPAQUE,
  Col2Im: OPAQUE,
  Det: OPAQUE,
  DFT: OPAQUE,
  ImageDecoder: OPAQUE,
  MaxUnpool: OPAQUE,
  NegativeLogLikelihoodLoss: OPAQUE,
  SoftmaxCrossEntropyLoss: OPAQUE,
  STFT: OPAQUE,

  // onnxruntime's own operators that appear in exported and optimized models
  'com.microsoft.Attention': weighted([0], [projectionWeight(1)], 2),
  'com.microsoft.BiasGelu': elementwise([0, 1]),
  'com.microsoft.EmbedLayerNormalization': OPAQUE,
  'com.microsoft.FastGelu': elementwise(),
  'com.microsoft.FusedConv': weighted([0, 3], [convWeight], 2),
  'com.microsoft.FusedGemm': weighted([0, 1], [gemmWeight], 2),
  'com.microsoft.FusedMatMul': weighted(
    [0, 1],
    [
      {
        ...matMulRight,
        channelAxis: (node, rank) => rank - (intAttribute(node, 'transB', 0) === 0 ? 1 : 2),
        reductionAxes: (node, rank) => [rank - (intAttribute(node, 'transB', 0) === 0 ? 2 : 1)],
      },
    ],
  ),
  'com.microsoft.Gelu': elementwise(),
  'com.microsoft.GroupQueryAttention': OPAQUE,
  'com.microsoft.MatMulNBits': QUANTIZED,
  'com.microsoft.MultiHeadAttention': OPAQUE,
  'com.microsoft.QuickGelu': elementwise(),
  'com.microsoft.RotaryEmbedding': elementwise(),
  'com.microsoft.SkipLayerNormalization': normalization([0, 1]),
  'com.microsoft.SkipSimplifiedLayerNormalization': normalization([0, 1]),
} as const satisfies Record<string, Row>;

const ROWS: ReadonlyMap<string, Row> = new Map(Object.entries<Row>(OPERATORS));

/** Facts about a node's operator; undefined for an operator the table does not list (a custom one, say). */
export function operatorFacts(node: Node): OperatorFacts | undefined {
  const row = ROWS.get(node.domain === '' ? node.opType : `${node.domain}.${node.opType}`);
  return typeof row === 'function' ? row(node) : row;
}

/** Weight slots of a node: empty when it is no weighted layer. */
export function weightSlots(node: Node): readonly WeightSlot[] {
  const facts = operatorFacts(node);
  return facts?.category === 'weighted' ? facts.weights : [];
}

/** Indices of the inputs that carry values, omitted ones left out. */
export function dataInputs(node: Node): number[] {
  return present(node.inputs, valuePositions(node)?.data);
}

/** Indices of the outputs that carry values, omitted ones left out. */
export function dataOutputs(node: Node): number[] {
  return present(node.outputs, valuePositions(node)?.results);
}

function valuePositions(node: Node): { data: Positions; results: Positions } | undefined {
  const facts = operatorFacts(node);
  return facts !== undefined && 'data' in facts ? facts : undefined;
}

function present(names: readonly string[], positions: Positions = []): number[] {
  return names.flatMap((name, i) =>
    name !== '' && (positions === 'all' || positions.includes(i)) ? [i] : [],
  );
}
