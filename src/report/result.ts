/** The result of a report: one plain, serialisable value that every reporter, gate and baseline reads. */
import { type Note } from '../core/index.js';
import { type AccumulatorWidth } from '../emit/index.js';
import { type KernelAudit } from '../engine/index.js';
import { type EqualizeReport } from '../rewrite/index.js';
import {
  type BiasReport,
  type ChannelPermutation,
  type DistillReport,
  type LayerReport,
  type NetworkSparsity,
  type SparsityTarget,
} from '../solve/index.js';
import { type FormatEvidence } from './evidence.js';

/** Raised when a field changes its meaning or goes away; added fields leave it as it is. */
export const SCHEMA_VERSION = 1;

/** SQNR in results is limited to ±999 dB, because JSON has no infinity: 999 is exact, −999 holds values that are no numbers. */
export const EXACT = 999;

/** Which of two values of a metric is the better one. */
export type Direction = 'higher' | 'lower';

/** A score against labels (or of a user's module) for both models. Shares are in percent, so that drops are points. */
export interface MetricResult {
  readonly name: string;
  readonly unit: string;
  readonly better: Direction;
  readonly float: number;
  readonly quantized: number;
  /** How much worse the quantized model is, in the metric's unit; negative when it is better. */
  readonly drop: number;
  /** `drop` as a percentage of the float model's value. */
  readonly relative: number;
}

/** How far one output of the quantized model is from the float model's. */
export interface OutputResult {
  readonly name: string;
  /** dB, limited to ±{@link EXACT}. */
  readonly sqnr: number;
  readonly cosine: number;
  /** Mean KL divergence of the class distributions in nats; absent where the output is not one of class scores. */
  readonly kl?: number;
  /** Rows with the same best class in both models, in percent. */
  readonly agreement?: number;
}

/** Error at one value of the graph, in graph order. */
export interface LayerResult {
  /** Value name, the same in both models. */
  readonly value: string;
  /** Node that writes the value in the quantized model. */
  readonly node: string;
  readonly opType: string;
  /** Element type of the stored weight, for example int8; absent where the node has none. */
  readonly weights?: string;
  /** dB when only this layer is quantized, its inputs coming from the float model. */
  readonly own: number;
  /** The layer's part of the sum of all own relative errors, in percent. */
  readonly share: number;
  /** dB with everything before it quantized too. */
  readonly accumulated: number;
  /** dB of rounding the float value itself to the grid it is handed on with; absent where it stays float. */
  readonly activation?: number;
}

/** Stored bytes of one layer's weights. */
export interface LayerBytes {
  readonly node: string;
  readonly opType: string;
  readonly floatBytes: number;
  readonly bytes: number;
  /** Mean stored bits of a weight, scales and zero points included. */
  readonly bits: number;
}

export interface SizeResult {
  /** Bytes of the model file and its external data. */
  readonly float: number;
  readonly quantized: number;
  /** Bytes of initializers by element type. */
  readonly floatTypes: Readonly<Record<string, number>>;
  readonly quantizedTypes: Readonly<Record<string, number>>;
  /** Layers in graph order. */
  readonly layers: readonly LayerBytes[];
}

/** One node with a weight under an N:M pattern. */
export interface LayerSparsityResult {
  readonly node: string;
  readonly opType: string;
  /** Every group of the pattern has its zeros. */
  readonly keeps: boolean;
  /** Why sparse kernels cannot use the pattern here; absent for eligible layers. */
  readonly why?: string;
  /** Groups, and those with too many non-zero weights; absent where the weight is no constant matrix. */
  readonly groups?: number;
  readonly violations?: number;
  /** Weights that are zero, in percent. */
  readonly zeros?: number;
}

/** The quantized model's weights under one pattern. */
export interface SparsityResult {
  /** `2:4`, `4:8/2` … */
  readonly pattern: string;
  /** Weights of all layers that are zero, in percent. */
  readonly zeros: number;
  /** Nodes with a weight in graph order. */
  readonly layers: readonly LayerSparsityResult[];
}

/** Median and quartiles of wall time, in milliseconds. */
export interface Timing {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface LatencyResult {
  readonly float: Timing;
  readonly quantized: Timing;
  readonly runs: number;
  readonly batch: number;
  readonly threads: number;
}

/** What a value holds and the grid it is rounded to. */
export interface TensorResult {
  readonly value: string;
  readonly min: number;
  readonly max: number;
  /** Real values the grid reaches. */
  readonly grid?: { readonly low: number; readonly high: number; readonly step: number };
  /** Elements in equal steps from `min` to `max`. */
  readonly histogram: readonly number[];
}

export type GateLevel = 'error' | 'warn';

export interface GateResult {
  readonly gate: string;
  readonly level: GateLevel;
  readonly passed: boolean;
  readonly value: number;
  readonly limit: number;
  readonly unit: string;
  /** How far beyond the limit, relative to it; what gates are sorted by. */
  readonly excess: number;
}

export interface ModelFacts {
  readonly file: string;
  readonly sha256: string;
  readonly opset: number;
  readonly nodes: number;
}

export interface DataFacts {
  readonly source: string;
  readonly samples: number;
  readonly sha256: string;
  /** True for random or synthesized data: metrics on it say nothing about the task. */
  readonly synthetic: boolean;
}

/** Sparsity of what layers read; all shares of 1. Multiplications saved are predicted: kernels multiply zeros. */
export interface ActivationsResult extends NetworkSparsity {
  readonly target: SparsityTarget;
  /** Share of multiplications with zeros: of the float model, at the target, and of the quantized model. */
  readonly predictedSavedMacs: {
    readonly zeros: number;
    readonly sparse: number;
    readonly quantized?: number;
  };
  /** Share of zeros that the quantized model's layers read, by node. */
  readonly quantizedZeros?: Readonly<Record<string, number>>;
}

/** Change of a quantity against an earlier result. */
export interface BaselineDelta {
  readonly quantity: string;
  readonly before: number;
  readonly after: number;
  readonly unit: string;
}

/** Changes that leave the float function as it is, and corrections of biases. */
export interface Transforms {
  readonly equalization?: EqualizeReport;
  readonly permutation?: ChannelPermutation;
  readonly biases?: readonly BiasReport[];
}

export interface ReportResult {
  readonly schemaVersion: typeof SCHEMA_VERSION;
  readonly fxq: string;
  readonly onnxruntime: string;
  readonly float: ModelFacts;
  readonly quantized: ModelFacts;
  readonly data: DataFacts;
  readonly metrics: readonly MetricResult[];
  readonly outputs: readonly OutputResult[];
  readonly layers: readonly LayerResult[];
  readonly tensors: readonly TensorResult[];
  readonly size: SizeResult;
  readonly latency?: LatencyResult;
  /** Which kernels the runtime really uses for the weighted nodes. */
  readonly kernels?: KernelAudit;
  /** Proven widths of the sums of an integer model, in order of execution. */
  readonly accumulators?: readonly AccumulatorWidth[];
  /** What solvers did, from the manifest beside the quantized model, if it is of this model. */
  readonly weights?: readonly LayerReport[];
  /** What was done to the float model and its biases, where a manifest beside the model says so. */
  readonly transforms?: Transforms;
  /** Zeros and small values among activations, where asked for. */
  readonly activations?: ActivationsResult;
  /** What choosing the number formats found out, from the manifest beside the model. */
  readonly evidence?: FormatEvidence;
  /** Sparsity patterns that gates ask about or that the file beside the model names. */
  readonly sparsity?: readonly SparsityResult[];
  /** What distillation changed, from the manifest beside the model. */
  readonly distillation?: DistillReport;
  readonly baseline?: readonly BaselineDelta[];
  readonly notes: readonly Note[];
  /** Failed gates first, worst first. */
  readonly gates: readonly GateResult[];
  /** False when a gate of level error failed. */
  readonly passed: boolean;
}
