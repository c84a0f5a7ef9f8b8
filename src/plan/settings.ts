/** What the user asks of the planner: formats, granularity, and rules for particular nodes and tensors. */

/** One rule; later rules win over earlier ones. */
export interface NodeRule {
  readonly match: NodeMatch;
  /** False keeps the node float. */
  readonly quantize?: boolean;
  readonly weights?: string;
  readonly activations?: string;
  /** Format of the node's results; that of its inputs (`activations`) when absent. */
  readonly results?: string;
  readonly granularity?: GranularitySetting;
  readonly solver?: string;
  /** `dense` leaves out a pattern that is asked for everywhere. */
  readonly sparsity?: Sparsity | 'dense';
  /** False leaves the layer's bias as it is. */
  readonly biasCorrection?: boolean;
  /** False keeps equalization away from the layer's weight and from what it reads and gives. */
  readonly equalize?: boolean;
  /** Why the weights are as they are, for the plan. */
  readonly why?: string;
}

/** An N:M pattern, and the way its weights are chosen. */
export interface Sparsity {
  readonly pattern: string;
  readonly method: string;
}

/** Every given condition must hold. `node` is a name, or a regular expression between slashes. */
export interface NodeMatch {
  readonly node?: string;
  readonly opType?: string;
  /** All nodes on a path from one value or node to another, both ends included. */
  readonly between?: { readonly from: string; readonly to: string };
}

export type GranularitySetting = 'tensor' | 'channel' | { readonly block: number };

/** Fixes format or range of one value. */
export interface TensorRule {
  readonly tensor: string;
  readonly format?: string;
  readonly range?: readonly [low: number, high: number];
}

export interface PlanSettings {
  readonly target: string;
  /** Weight format, or `float`. */
  readonly weights: string;
  /** Activation format; `float` for weights only, `dynamic` for 8-bit activations quantized at run time. */
  readonly activations: string;
  readonly granularity: GranularitySetting;
  readonly solver: string;
  readonly nodes: readonly NodeRule[];
  readonly tensors: readonly TensorRule[];
}

export const DEFAULT_SETTINGS: PlanSettings = {
  target: 'onnxruntime-cpu',
  weights: 'int8',
  activations: 'uint8',
  granularity: 'channel',
  solver: 'nearest',
  nodes: [],
  tensors: [],
};

/** Presets by name: what a user starts from; flags and config change single settings. */
export const PRESETS = {
  int8: {},
  'int8-sym': { activations: 'int8-narrow' },
  int16: { activations: 'uint16' },
  dynamic: { activations: 'dynamic' },
  'weight-only': { activations: 'float' },
} as const satisfies Record<string, Partial<PlanSettings>>;

export type PresetName = keyof typeof PRESETS;
