/** Weights of a block as functions of what is learned: codes that move on the grid, scales that stretch. */
import { required } from '../../core/index.js';
import { loadTensor, type Graph } from '../../onnx/index.js';
import { type SolvedWeight, type WeightQuantization } from '../../plan/index.js';
import { roundStraightThrough, softRounding, type Program, type Value } from '../../program/index.js';
import { tensor, toFloat32 } from '../../tensor/index.js';
import { gridOf } from '../layer-problem.js';
import { type WeightedLayer } from '../layers.js';
import { type WeightGrid } from '../problem.js';
import { fromMatrix, matrixSize, scaleLayout } from '../weight-layout.js';

/** A weight to be learned; arrays are in the initializer's order. */
export interface LearnedWeight {
  readonly layer: WeightedLayer;
  readonly grid: WeightGrid;
  readonly weight: Float32Array;
  /** Index into the scales of every weight. */
  readonly cell: Int32Array;
  /** Least scale of every cell. */
  readonly minimumScale?: readonly number[];
  /** Zeros stay: they are an N:M pattern. */
  readonly keepsZeros: boolean;
}

/** What is learned of one weight. */
export type WeightParameters = {
  /** Rounding variable of every weight. */
  readonly v: Value;
  /** Factor of every scale. */
  readonly stretch: Value;
};

/**
 * - `soft`: each weight learns to stay or to move one step towards its float value (AdaRound's rectified sigmoid)
 * - `sign`: offsets that move codes anywhere on the grid, straight through the rounding (SignRound)
 * - `none`: codes stay, only scales and biases are learned
 */
export const ROUNDINGS = ['soft', 'sign', 'none'] as const;
export type Rounding = (typeof ROUNDINGS)[number];

/** A weight inside a program. */
export interface WeightProgram {
  /** The parameters at the start. */
  readonly first: WeightParameters;
  /** Real weights; `share` is h of soft rounding, which the regularizer drives to 0 or 1. */
  values(b: Program, parameters: WeightParameters): { readonly values: Value; readonly share?: Value };
  /** The codes and scales that the parameters stand for. */
  settle(b: Program, parameters: WeightParameters): { readonly codes: Value; readonly scale: Value };
}

/** The weight of a layer, as its plan has it. */
export function learnedWeight(
  graph: Graph,
  layer: WeightedLayer,
  quantization: WeightQuantization,
  keepsZeros: boolean,
): LearnedWeight {
  const stored = required(graph.initializers.get(layer.weight), `initializer ${layer.weight}`);
  const { rows, cols } = matrixSize(layer.layout);
  const { sharing, index } = scaleLayout(layer.layout, quantization.granularity);
  const cells = Int32Array.from({ length: rows * cols }, (_, i) => {
    const base = (sharing.rowSet[Math.floor(i / cols)] as number) * sharing.blocks;
    return index[base + (sharing.block[i % cols] as number)] as number;
  });
  const cell = fromMatrix(layer.layout, cells);
  const least = quantization.minimumScale;
  return {
    layer,
    grid: gridOf(quantization.format),
    weight: toFloat32(loadTensor(stored, layer.weight)),
    cell,
    keepsZeros,
    ...(least === undefined ? {} : { minimumScale: least }),
  };
}

/** Real values of codes with their scales, in the initializer's order. */
export function realValues(cell: Int32Array, { codes, scale, zeroPoint }: SolvedWeight): Float32Array {
  return Float32Array.from(codes, (q, i) => {
    const c = cell[i] as number;
    return (q - (zeroPoint[c] as number)) * (scale[c] as number);
  });
}

/** Records a weight's constants in a program. */
export function weightProgram(
  p: Program,
  w: LearnedWeight,
  start: SolvedWeight,
  rounding: Rounding,
): WeightProgram {
  const { dims } = w.layer.layout;
  const array = (data: ArrayLike<number>): Value =>
    p.constant(tensor('float32', dims, Float32Array.from(data)));
  const at = (data: ArrayLike<number>, i: number): number => data[w.cell[i] as number] as number;
  const cell = p.constant(tensor('int64', dims, BigInt64Array.from(w.cell, BigInt)));
  const zeros = start.codes.map((_, i) => at(start.zeroPoint, i));
  const zero = array(zeros);
  const initial = p.constant(tensor('float32', [start.scale.length], start.scale));
  const least = w.minimumScale === undefined ? undefined : p.vector(w.minimumScale);
  const isFree = (w.grid.scale ?? 'float') === 'float';
  const scaleOf = (b: Program, stretch: Value): Value => {
    if (!isFree) return initial;
    const scale = b.mul(initial, stretch);
    return least === undefined ? scale : b.max(scale, least);
  };
  const movable = w.keepsZeros ? array(start.codes.map((q, i) => (q === zeros[i] ? 0 : 1))) : undefined;
  // Float weights in units of the grid.
  const place = Float32Array.from(w.weight, (v, i) => v / at(start.scale, i) + (zeros[i] as number));
  const rounded: CodeProgram = ROUNDING_PROGRAMS[rounding](p, w.grid, start.codes, place, array);
  const real = (b: Program, codes: Value, stretch: Value): Value => {
    const values = b.mul(b.sub(codes, zero), b.gather(scaleOf(b, stretch), cell));
    return movable === undefined ? values : b.mul(values, movable);
  };
  return {
    first: { v: rounded.first, stretch: p.fullLike(initial, 1) },
    values: (b, { v, stretch }) => {
      const { codes, share } = rounded.codes(b, v);
      return { values: real(b, codes, stretch), ...(share === undefined ? {} : { share }) };
    },
    settle: (b, { v, stretch }) => {
      const codes = rounded.settle(b, v);
      return {
        codes: movable === undefined ? codes : b.where(b.greater(movable, 0), codes, zero),
        scale: scaleOf(b, stretch),
      };
    },
  };
}

/** How codes follow from a weight's rounding variable. */
interface CodeProgram {
  readonly first: Value;
  codes(b: Program, v: Value): { readonly codes: Value; readonly share?: Value };
  /** Integer codes. */
  settle(b: Program, v: Value): Value;
}

/**
 * @param start codes to start from
 * @param place float weights in units of the grid
 * @param array a constant of the weight's shape
 */
type RoundingProgram = (
  p: Program,
  grid: WeightGrid,
  start: Int32Array,
  place: Float32Array,
  array: (data: ArrayLike<number>) => Value,
) => CodeProgram;

/** Stretch of the rectified sigmoid; as in `softRounding`. */
const [ZETA, GAMMA] = [1.1, -0.1];

/** Shares are kept from the ends at the start, where the sigmoid has no slope. */
const MARGIN = 0.02;

/** How far soft rounding starts from the float weight (0) towards the starting code (1). */
const TRUST = 0.9;

/** The starting code, or its neighbour on the side of the float weight. */
const softCodes: RoundingProgram = (_p, grid, start, place, array) => {
  const lower = Float32Array.from(start, (q, i) => {
    const below = (place[i] as number) < q ? q - 1 : q;
    return Math.min(Math.max(below, grid.low), grid.high - 1);
  });
  const shares = Float32Array.from(start, (q, i) => {
    const low = lower[i] as number;
    const own = Math.min(Math.max((place[i] as number) - low, 0), 1);
    return Math.min(Math.max(own + TRUST * (q - low - own), MARGIN), 1 - MARGIN);
  });
  const floor = array(lower);
  return {
    first: array(shares.map((h) => -Math.log((ZETA - GAMMA) / (h - GAMMA) - 1))),
    codes: (b, v) => {
      const share = softRounding(b, v);
      return { codes: b.add(floor, share), share };
    },
    settle: (b, v) => b.add(floor, b.cast(b.greaterOrEqual(softRounding(b, v), 0.5), 'float32')),
  };
};

/** Largest distance of a latent weight from its starting code, in steps. */
const NEAR = 0.45;

/** Codes start at the starting ones, close to the next where the float weight lies there, and may go anywhere. */
const freeCodes: RoundingProgram = (p, grid, start, place, array) => {
  const latent = array(
    Float32Array.from(start, (q, i) => Math.min(Math.max(place[i] as number, q - NEAR), q + NEAR)),
  );
  const rounded = (b: Program, v: Value): Value =>
    roundStraightThrough(b, b.clip(b.add(latent, v), grid.low, grid.high));
  return { first: p.fullLike(latent, 0), codes: (b, v) => ({ codes: rounded(b, v) }), settle: rounded };
};

const fixedCodes: RoundingProgram = (p, _grid, start, _place, array) => {
  const codes = array(start);
  return { first: p.full([1], 0), codes: () => ({ codes }), settle: () => codes };
};

const ROUNDING_PROGRAMS = {
  soft: softCodes,
  sign: freeCodes,
  none: fixedCodes,
} as const satisfies Record<Rounding, RoundingProgram>;
