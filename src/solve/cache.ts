/** Finished layers by content: an interrupted run continues where it stopped, with the same bytes. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, sha256, writeOutput } from '../core/index.js';
import { readNpz, tensor, writeNpz, type Tensor } from '../tensor/index.js';
import { type LayerError, type LayerProblem, type LayerSolution, type Moments } from './problem.js';

/** Where solutions are kept. Keys say everything a solution depends on. */
export interface LayerCache {
  get(key: string): LayerSolution | undefined;
  set(key: string, solution: LayerSolution): void;
  /** Blocks: facts as JSON, and arrays. */
  getBlock(key: string): CachedBlock | undefined;
  setBlock(key: string, block: CachedBlock): void;
}

export interface CachedBlock {
  readonly facts: unknown;
  readonly arrays: ReadonlyMap<string, Tensor>;
}

/** Counts up when solvers change what they give for the same problem. */
const GENERATION = 1;

/** Hash of all that determines a solution: the problem, numbers included, the solver, its settings and the seed. */
export function problemKey(problem: LayerProblem, solver: string, settings: unknown, seed: number): string {
  const { weight, moments, heldOut, importance, mask, sharing, minimumScale, givenScale, ...rest } = problem;
  const arrays = [
    weight,
    ...momentArrays(moments),
    ...(heldOut === undefined ? [] : momentArrays(heldOut)),
    ...[importance, mask, sharing.rowSet, sharing.block, minimumScale, givenScale].flatMap(
      (a) => a ?? new Uint8Array(),
    ),
  ];
  const facts = canonicalJson({
    GENERATION,
    ...rest,
    counts: [moments.count, heldOut?.count ?? 0],
    sizes: arrays.map((a) => a.byteLength),
    solver,
    settings,
    seed,
  });
  return sha256(facts, ...arrays.map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)));
}

function momentArrays({ gram, mean, target }: Moments): Float64Array[] {
  return [...gram, ...mean, ...(target === undefined ? [] : [target.product, target.mean, target.energy])];
}

/** A cache in a folder, one file a layer; files are written whole or not at all. Damaged ones are solved again. */
export function folderCache(folder: string): LayerCache {
  const pathOf = (key: string): string => join(folder, `${key}.npz`);
  return {
    get: (key) => {
      const path = pathOf(key);
      return existsSync(path) ? decode(readFileSync(path), path) : undefined;
    },
    set: (key, solution) => writeOutput(pathOf(key), [encode(solution)]),
    getBlock: (key) => {
      const path = pathOf(key);
      return existsSync(path) ? decodeBlock(readFileSync(path), path) : undefined;
    },
    setBlock: (key, { facts, arrays }) =>
      writeOutput(pathOf(key), [writeNpz(new Map([[FACTS, encodeFacts(facts)], ...arrays]))]),
  };
}

const FACTS = 'facts';

function encodeFacts(facts: unknown): Tensor {
  const text = new TextEncoder().encode(canonicalJson(facts));
  return tensor('uint8', [text.length], text);
}

function decodeFacts(arrays: ReadonlyMap<string, Tensor>): unknown {
  return JSON.parse(new TextDecoder().decode(arrays.get(FACTS)?.data as Uint8Array));
}

function decodeBlock(bytes: Uint8Array, path: string): CachedBlock | undefined {
  try {
    const arrays = readNpz(bytes, path);
    const facts = decodeFacts(arrays);
    return { facts, arrays: new Map([...arrays].filter(([name]) => name !== FACTS)) };
  } catch {
    return undefined;
  }
}

interface Facts {
  readonly solver: string;
  readonly error: LayerError;
  readonly fellBack: boolean;
  readonly exponent?: number;
  readonly levels?: readonly number[];
}

function encode({
  solver,
  error,
  fellBack,
  codes,
  scale,
  zeroPoint,
  exponent,
  levels,
  biasCorrection,
}: LayerSolution): Uint8Array {
  const facts: Facts = {
    solver,
    error,
    fellBack,
    ...(exponent === undefined ? {} : { exponent }),
    ...(levels === undefined ? {} : { levels }),
  };
  const arrays: [string, Tensor][] = [
    [FACTS, encodeFacts(facts)],
    ['codes', tensor('int32', [codes.length], codes)],
    ['scale', tensor('float64', [scale.length], scale)],
    ['zero_point', tensor('int32', [zeroPoint.length], zeroPoint)],
  ];
  if (biasCorrection !== undefined)
    arrays.push(['bias_correction', tensor('float64', [biasCorrection.length], biasCorrection)]);
  return writeNpz(new Map(arrays));
}

function decode(bytes: Uint8Array, path: string): LayerSolution | undefined {
  try {
    const arrays = readNpz(bytes, path);
    const facts = decodeFacts(arrays) as Facts;
    const bias = arrays.get('bias_correction')?.data as Float64Array | undefined;
    return {
      ...facts,
      codes: arrays.get('codes')?.data as Int32Array,
      scale: arrays.get('scale')?.data as Float64Array,
      zeroPoint: arrays.get('zero_point')?.data as Int32Array,
      ...(bias === undefined ? {} : { biasCorrection: bias }),
    };
  } catch {
    return undefined;
  }
}
