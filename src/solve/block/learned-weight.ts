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

/** A weight before it is learned; arrays are in the initializer's order. */
export interface LearnedWeight {
  readonly layer: WeightedLayer;
  readonly grid: WeightGrid;
  readonly weight: Float32Array;
  /** Codes, scales and zero points to start from. */
  readonly start: SolvedWeight;
  /** Index into the scales of every weight. */
  readonly cell: Int32Array;
  /** Least scale of every cell. */
  readonly minimumScale?: readonly number[];
  /** 1 where the code must stay (zeros of an N:M pattern). */
  readonly frozen?: Uint8Array;
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
 */
export const ROUNDINGS = ['soft', 'sign'] as const;
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

/** The weight of a layer at its starting codes. */
export function learnedWeight(
  graph: Graph,
  layer: WeightedLayer,
  quantization: WeightQuantization,
  start: SolvedWeight,
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
    start,
    cell,
    ...(least === undefined ? {} : { minimumScale: least }),
    ...(keepsZeros
      ? { frozen: Uint8Array.from(start.codes, (q, i) => (q === start.zeroPoint[cell[i] as number] ? 1 : 0)) }
      : {}),
  };
}

/** Real values of codes with their scales, in the initializer's order. */
export function realValues(cell: Int32Array, { codes, scale, zeroPoint }: SolvedWeight): Float32Array {
  return Float32Array.from(codes, (q, i) => {
    const c = cell[i] as number;
    return (q - (zeroPoint[c] as number)) * (scale[c] as number);
  });
}

/** How far soft rounding starts from the float weight (0) towards the starting code (1). */
const TRUST = 0.5;

/** Records a weight's constants in a program. */
export function weightProgram(
  p: Program,
  w: LearnedWeight,
  rounding: Rounding,
  trust = TRUST,
): WeightProgram {
  const { dims } = w.layer.layout;
  const array = (data: ArrayLike<number>): Value =>
    p.constant(tensor('float32', dims, Float32Array.from(data)));
  const at = <T extends ArrayLike<number>>(data: T, i: number): number => data[w.cell[i] as number] as number;
  const { start, grid } = w;
  const cell = p.constant(tensor('int64', dims, BigInt64Array.from(w.cell, BigInt)));
  const zero = array(start.codes.map((_, i) => at(start.zeroPoint, i)));
  const initial = p.constant(tensor('float32', [start.scale.length], start.scale));
  const least = w.minimumScale === undefined ? undefined : p.vector(w.minimumScale);
  const scaleOf = (b: Program, stretch: Value): Value => {
    const scale = b.mul(initial, stretch);
    return least === undefined ? scale : b.max(scale, least);
  };
  /** Float weights in units of the grid. */
  const place = Float32Array.from(w.weight, (v, i) => v / at(start.scale, i) + at(start.zeroPoint, i));
  const shape = rounding === 'soft' ? softCodes(w, place, array, trust) : freeCodes(p, w, place, array, grid);
  const real = (b: Program, codes: Value, stretch: Value): Value =>
    b.mul(b.sub(codes, zero), b.gather(scaleOf(b, stretch), cell));
  return {
    first: { v: shape.v, stretch: p.fullLike(initial, 1) },
    values: (b, { v, stretch }) => {
      const { codes, share } = shape.codes(b, v);
      return { values: real(b, codes, stretch), ...(share === undefined ? {} : { share }) };
    },
    settle: (b, { v, stretch }) => ({ codes: shape.hard(b, v), scale: scaleOf(b, stretch) }),
  };
}

/** How codes follow from a weight's rounding variable. */
interface CodeShape {
  readonly v: Value;
  codes(b: Program, v: Value): { readonly codes: Value; readonly share?: Value };
  hard(b: Program, v: Value): Value;
}

/** Stretch of the rectified sigmoid; as in `softRounding`. */
const [ZETA, GAMMA] = [1.1, -0.1];

/** Shares are kept from the ends at the start, where the sigmoid has no slope. */
const MARGIN = 0.02;

/** Starting code, or its neighbour on the side of the float weight. */
function softCodes(
  { start, grid, frozen }: LearnedWeight,
  place: Float32Array,
  array: (data: ArrayLike<number>) => Value,
  trust: number,
): CodeShape {
  const lower = Float32Array.from(start.codes, (q, i) => {
    const below = (place[i] as number) < q ? q - 1 : q;
    return Math.min(Math.max(below, grid.low), grid.high - 1);
  });
  const shares = Float32Array.from(start.codes, (q, i) => {
    const low = lower[i] as number;
    const own = Math.min(Math.max((place[i] as number) - low, 0), 1);
    return Math.min(Math.max(own + trust * (q - low - own), MARGIN), 1 - MARGIN);
  });
  const v = array(shares.map((h) => -Math.log((ZETA - GAMMA) / (h - GAMMA) - 1)));
  const floor = array(lower);
  const fixed = frozen === undefined ? undefined : { mask: array(frozen), codes: array(start.codes) };
  const keep = (b: Program, codes: Value): Value =>
    fixed === undefined ? codes : b.where(b.greater(fixed.mask, 0), fixed.codes, codes);
  return {
    v,
    codes: (b, now) => {
      const share = softRounding(b, now);
      return { codes: keep(b, b.add(floor, share)), share };
    },
    hard: (b, now) => keep(b, b.add(floor, b.cast(b.greaterOrEqual(softRounding(b, now), 0.5), 'float32'))),
  };
}

/** Codes start at the starting ones, close to the next where the float weight lies there, and may go anywhere. */
function freeCodes(
  p: Program,
  { start, frozen }: LearnedWeight,
  place: Float32Array,
  array: (data: ArrayLike<number>) => Value,
  grid: WeightGrid,
): CodeShape {
  const latent = array(
    Float32Array.from(start.codes, (q, i) => Math.min(Math.max(place[i] as number, q - NEAR), q + NEAR)),
  );
  const movable = frozen === undefined ? undefined : array(frozen.map((f) => 1 - f));
  const rounded = (b: Program, v: Value): Value => {
    const offset = movable === undefined ? v : b.mul(v, movable);
    return roundStraightThrough(b, b.clip(b.add(latent, offset), grid.low, grid.high));
  };
  return { v: p.fullLike(latent, 0), codes: (b, v) => ({ codes: rounded(b, v) }), hard: rounded };
}

/** Largest distance of a latent weight from its starting code, in steps. */
const NEAR = 0.45;
