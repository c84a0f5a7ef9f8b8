/** Best-iterate tracking: the state with the lowest loss seen so far, kept inside the loop. */
import { isValue, type Program } from './program.js';
import { leaves, mapTree, type Tree } from './tree.js';
import { type Value } from './value.js';

/** The best iterate so far and its loss. A type alias, so that it is itself a tree and can be loop state. */
export type Best<T> = {
  readonly loss: Value;
  readonly iterate: T;
};

/** Nothing seen yet: any loss is lower. */
export function startBest<T extends Tree<Value>>(p: Program, iterate: T): Best<T> {
  return { loss: p.scalar(Infinity), iterate };
}

/** The better of the best so far and an iterate with its loss; the earlier one on ties. NaN is never better. */
export function keepBest<T extends Tree<Value>>(p: Program, best: Best<T>, loss: Value, iterate: T): Best<T> {
  const better = p.less(loss, best.loss);
  const kept = leaves<Value>(best.iterate, isValue).values();
  return {
    loss: p.where(better, loss, best.loss),
    iterate: mapTree<Value, Value>(iterate, isValue, (now) =>
      p.where(better, now, kept.next().value as Value),
    ) as T,
  };
}
