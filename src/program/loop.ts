/** Loops: a step of an optimization becomes the body of an ONNX `Loop`, so that all of it is one run of the session. */
import { FxqError, required } from '../core/index.js';
import { graph as createGraph, node as createNode, value as createValueInfo } from '../onnx/index.js';
import { neededNodes } from './compile.js';
import { isValue, programOn, type Program } from './program.js';
import { Tape } from './tape.js';
import { leaves, mapTree, type Tree } from './tree.js';
import { describeType, type Value } from './value.js';

/** What the body of a loop hands on. */
export interface LoopStep<S, R> {
  /** State of the next iteration: the same nesting, types and shapes as the state it was given. */
  readonly state: S;
  /** Values recorded every iteration (a loss, for example). */
  readonly record?: R;
}

export interface LoopResult<S, R> {
  readonly state: S;
  /** Recorded values of all iterations, stacked along a new first axis. */
  readonly record: R;
}

/**
 * Repeats a body. It is given a builder of its own, the state, and the iteration number (int64 scalar); it may also read
 * any value made before the loop.
 *
 * @param state trees of values; every leaf keeps its type and shape
 * @param trips number of iterations, or an int64 scalar
 * @throws FxqError E_INTERNAL when the body returns a state of another nesting, type or shape
 */
export function loop<S extends Tree<Value>, R extends Tree<Value> = Record<never, Value>>(
  p: Program,
  state: S,
  trips: number | Value,
  body: (b: Program, state: S, iteration: Value) => LoopStep<S, R>,
): LoopResult<S, R> {
  const tape = new Tape(p.tape);
  const b = programOn(tape);
  const iteration = tape.define({ dtype: 'int64', dims: [] }, 'iteration');
  const condition = tape.define({ dtype: 'bool', dims: [] }, 'condition');
  const initial = leaves<Value>(state, isValue);
  const carried = mapTree<Value, Value>(state, isValue, (v, path) => tape.define(v, path || 'state')) as S;

  const result = body(b, carried, iteration);
  const next = leaves<Value>(result.state, isValue);
  const record = (result.record ?? {}) as R;
  const recorded = leaves<Value>(record, isValue);
  checkState(initial, next);

  // Every output must be a value that the body computes, under a name of its own: what it hands on is copied.
  const used = new Set<string>();
  const results = [condition, ...next, ...recorded].map((v) => {
    const own = tape.computes(v) && !used.has(v.name);
    used.add(v.name);
    return own ? v : b.identity(v);
  });
  const values = (vs: readonly Value[]) => vs.map((v) => createValueInfo(v.name, v.dtype, v.dims));
  const graph = createGraph({
    name: 'body',
    inputs: values([iteration, condition, ...leaves<Value>(carried, isValue)]),
    outputs: values(results),
    nodes: neededNodes(
      tape.steps,
      results.map((v) => v.name),
    ),
  });

  const count = typeof trips === 'number' ? p.scalar(trips, 'int64') : trips;
  const length = typeof trips === 'number' ? trips : null;
  const outputs = [
    ...initial.map((v) => p.tape.define(v, v.name)),
    ...recorded.map((v) =>
      p.tape.define({ dtype: v.dtype, dims: v.dims === undefined ? undefined : [length, ...v.dims] }, v.name),
    ),
  ];
  const inputs = [count, undefined, ...initial];
  p.tape.record({
    node: createNode(
      'Loop',
      inputs.map((v) => v?.name ?? ''),
      outputs.map((v) => v.name),
      { body: graph },
    ),
    inputs,
    outputs,
  });
  const taken = outputs.values();
  const take = (): Value => required(taken.next().value as Value | undefined, 'an output of the loop');
  return {
    state: mapTree<Value, Value>(state, isValue, take) as S,
    record: mapTree<Value, Value>(record, isValue, take) as R,
  };
}

function checkState(before: readonly Value[], after: readonly Value[]): void {
  if (before.length !== after.length) {
    throw new FxqError(
      'E_INTERNAL',
      `internal: a loop of ${before.length} state values returned ${after.length}`,
    );
  }
  before.forEach((v, i) => {
    const w = after[i] as Value;
    const compatible = v.dims === undefined || w.dims === undefined || v.dims.length === w.dims.length;
    const equal = v.dims?.every(
      (d, k) => typeof d !== 'number' || typeof w.dims?.[k] !== 'number' || d === w.dims[k],
    );
    if (v.dtype !== w.dtype || !compatible || equal === false) {
      throw new FxqError(
        'E_INTERNAL',
        `internal: loop state '${v.name}' is ${describeType(v)}, the body returns ${describeType(w)}`,
      );
    }
  });
}
