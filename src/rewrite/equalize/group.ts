/** What a channel group is, complete and while it grows. */
import { type Dim, type GraphEditor, type Node } from '../../onnx/index.js';

/** Where the channels of a value lie: element i along `axis` belongs to channel ⌊i / inner⌋. */
export interface Place {
  readonly axis: number;
  readonly inner: number;
}

/** A constant that is multiplied by s^power, channel by channel, when the values of its group are divided by s. */
export interface ScaledConstant {
  readonly initializer: string;
  /** The one node that reads it. */
  readonly node: Node;
  readonly power: 1 | -1;
  /** Weight of a layer, or a vector: bias, gain of a normalization, constant operand. */
  readonly part: 'weight' | 'vector';
  /** Channel of each element, in row-major order. */
  readonly channelOf: (element: number) => number;
}

export interface ChannelGroup {
  readonly channels: number;
  readonly values: ReadonlyMap<string, Place>;
  /** What makes the values: layers with their biases, normalizations, constant operands. */
  readonly producers: readonly ScaledConstant[];
  /** Weights of the layers that read them. */
  readonly consumers: readonly ScaledConstant[];
}

export interface ChannelGroups {
  readonly groups: readonly ChannelGroup[];
  /** Why the result of a layer or normalization cannot be rescaled, by value. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Shapes of values, by name. */
export type Shapes = ReadonlyMap<string, { readonly dims: readonly Dim[] | undefined }>;

/** Why a group cannot grow, or undefined when it can. */
export type Obstacle = string | undefined;

/** A group while it grows: what handlers of operators see and add to. */
export interface GrowingGroup {
  readonly graph: GraphEditor;
  readonly channels: number;
  dims(value: string): readonly Dim[] | undefined;
  place(value: string): Place | undefined;
  /** Adds a value. */
  join(value: string | undefined, place: Place | undefined): Obstacle;
  /** Whether a constant is divided already. */
  isDivided(initializer: string): boolean;
  /** Adds a constant that only one node reads; adding it again for the same side does nothing. */
  scale(side: 'producers' | 'consumers', constant: Omit<ScaledConstant, 'power'>): Obstacle;
}
