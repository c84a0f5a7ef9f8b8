/** The plan: every decision about quantization, as one immutable, serialisable value. */
import { type Reduction } from '../formats/index.js';
import { type Sparsity } from './settings.js';

/** How many scales a tensor has. Block granularity runs along `axis`, the reduction axis for weights. */
export type Granularity =
  | { readonly kind: 'tensor' }
  | { readonly kind: 'channel'; readonly axis: number }
  | { readonly kind: 'block'; readonly axis: number; readonly size: number };

/** Number format, scale and zero point of one tensor, and where they come from. */
export interface TensorQuantization {
  /** Name of a number format (`formats/`): int8, uint8, int4, int16, fix8.5, e4m3 … */
  readonly format: string;
  readonly granularity: Granularity;
  /** One for the tensor, one a channel, or channel-major blocks; empty until ranges are chosen. */
  readonly scale: readonly number[];
  /** As many as scales; all zero for symmetric formats. */
  readonly zeroPoint: readonly number[];
  /** Real values the grid covers, for reports. */
  readonly range?: { readonly low: number; readonly high: number; readonly method: string };
  /** Why this format and range: preset, override, tie to another tensor, search. */
  readonly why: string;
}

/** An activation quantized on one or more edges. Two variants of one value (8 and 16 bits, say) have two ids. */
export interface ActivationQuantization extends TensorQuantization {
  /** Value name in the prepared graph. */
  readonly value: string;
  /** Ids that share one set of parameters with this one carry the same tie; the range is that of all of them. */
  readonly tie: string;
  /** Holds nothing but elements of other members of its tie, so it needs no statistics of its own. */
  readonly moved: boolean;
  /** Softmaxes read it and nothing else does. */
  readonly softmaxOnly?: boolean;
}

/** A weight: an initializer and the one way its layers use it. */
export interface WeightQuantization extends TensorQuantization {
  readonly initializer: string;
  /** Solver that chooses the codes. */
  readonly solver: string;
  /** Lowest scale of each channel at which the layer's bias still fits into int32; absent where none is at risk. */
  readonly minimumScale?: readonly number[];
  /** Learned levels, by code and in units of the scale; absent until they are learned. */
  readonly levels?: readonly number[];
  /** What its layer sums over, for formats whose vectors follow that order. */
  readonly reduction?: Reduction;
  /** The pattern a rule asks for, or `dense` where one keeps a pattern out. */
  readonly sparsity?: Sparsity | 'dense';
}

/**
 * What happens to one node.
 *
 * - `static`: integer arithmetic on calibrated activations
 * - `dynamic`: integer arithmetic, activations quantized at run time
 * - `weights`: stored weights are quantized, arithmetic stays float
 * - `float`: untouched
 */
export type Decision = 'static' | 'dynamic' | 'weights' | 'float';

export interface NodePlan {
  readonly node: string;
  readonly opType: string;
  readonly decision: Decision;
  /** Why: "excluded by /head/", "onnxruntime-cpu has no integer kernel for LayerNormalization". */
  readonly why: string;
  /** For each input, the id of the activation variant it reads, or null to read float. */
  readonly inputs: readonly (string | null)[];
  /** For each output, the id of the variant every reader sees, or null when the float value stays visible. */
  readonly outputs: readonly (string | null)[];
  /** Quantized initializers by input index. */
  readonly weights: Readonly<Record<number, string>>;
  /** Written on codes, without conversions around it. */
  readonly onCodes?: boolean;
  /** Input index of a bias stored as int32 with scale `s_x · s_w`. */
  readonly bias?: number;
}

export interface Plan {
  readonly version: 1;
  readonly target: string;
  /** By id; the id is the value's name, or `name@format` for a further variant. */
  readonly activations: Readonly<Record<string, ActivationQuantization>>;
  /** By initializer name. */
  readonly weights: Readonly<Record<string, WeightQuantization>>;
  /** By node name. */
  readonly nodes: Readonly<Record<string, NodePlan>>;
}

/**
 * Integer codes of a solved weight, in the initializer's layout, with the final parameters. One code a weight for vector
 * formats, too, `word · D + place`, so that whoever reads values need not know of them.
 */
export interface SolvedWeight {
  readonly initializer: string;
  /** The planned format with the parameter that was left open (`power4` → `power4a0.62`); absent where nothing was. */
  readonly format?: string;
  /** Learned levels of a codebook, or entries of words, by code. */
  readonly levels?: Float32Array;
  /** Row-major in the initializer's own shape. */
  readonly codes: Int32Array;
  readonly scale: Float32Array;
  readonly zeroPoint: Int32Array;
  /** Added to the layer's bias, one an output channel, when the solver corrected it. */
  readonly biasCorrection?: Float32Array;
}
