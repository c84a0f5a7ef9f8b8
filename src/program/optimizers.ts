/** Optimizers as graph: from parameters, gradients and state to the next ones, leaf by leaf of a tree. */
import { isValue, type Program } from './program.js';
import { leaves, mapTree, type Tree } from './tree.js';
import { type Operand, type Value } from './value.js';

/** Moments of one parameter, by name. */
type Moments = Readonly<Record<string, Value>>;

/** What an optimizer knows of one step. */
export interface UpdateStep {
  /** Learning rate, a number or scalar. */
  readonly rate: Operand;
  /** Number of this step as a float scalar, from 1. */
  readonly count: Value;
}

/** One rule for every parameter: its moments, and the step it takes. */
export interface Optimizer {
  /** Names of the tensors that are kept for each parameter; they start at zero. */
  readonly moments: readonly string[];
  /** The parameter's next value and moments. */
  update(
    p: Program,
    w: Value,
    gradient: Value,
    moments: Moments,
    step: UpdateStep,
  ): { w: Value; moments: Moments };
}

/** State of an optimizer: the moments of every parameter, in the order of the tree's leaves. */
export type OptimizerState = readonly Moments[];

/** Zero moments for every parameter. */
export function startOptimizer(p: Program, optimizer: Optimizer, parameters: Tree<Value>): OptimizerState {
  return leaves<Value>(parameters, isValue).map((w) =>
    Object.fromEntries(optimizer.moments.map((name) => [name, p.fullLike(w, 0)])),
  );
}

/** One step for a tree of parameters. */
export function updateParameters<T extends Tree<Value>>(
  p: Program,
  optimizer: Optimizer,
  parameters: T,
  gradients: T,
  state: OptimizerState,
  step: UpdateStep,
): { parameters: T; state: OptimizerState } {
  const slopes = leaves<Value>(gradients, isValue).values();
  const moments = state.values();
  const next: Moments[] = [];
  const updated = mapTree<Value, Value>(parameters, isValue, (w) => {
    const result = optimizer.update(
      p,
      w,
      slopes.next().value as Value,
      moments.next().value as Moments,
      step,
    );
    next.push(result.moments);
    return result.w;
  }) as T;
  return { parameters: updated, state: next };
}

export interface AdamOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled weight decay (AdamW, Loshchilov and Hutter 2019): w ← w − rate·decay·w. */
  readonly weightDecay?: number;
}

/** Adam (Kingma and Ba 2015): m̂/(√v̂ + ε) with bias-corrected moments. */
export function adam(options: AdamOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  return {
    moments: ['mean', 'square'],
    update: (p, w, g, { mean, square }, { rate, count }) => {
      const m = average(p, mean as Value, g, beta1);
      const v = average(p, square as Value, p.square(g), beta2);
      // m̂/(√v̂ + ε) with the corrections of both moments moved to scalars.
      const root = p.sqrt(unbias(p, beta2, count));
      const direction = p.div(m, p.add(p.sqrt(v), p.mul(root, epsilon)));
      const scale = p.div(root, unbias(p, beta1, count));
      return { w: descend(p, w, direction, rate, weightDecay, scale), moments: { mean: m, square: v } };
    },
  };
}

/** AdaMax (Kingma and Ba 2015, section 7.1): the second moment is a decaying maximum. */
export function adaMax(options: AdamOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0 } = options;
  return {
    moments: ['mean', 'maximum'],
    update: (p, w, g, { mean, maximum }, { rate, count }) => {
      const m = average(p, mean as Value, g, beta1);
      const u = p.max(p.mul(maximum as Value, beta2), p.add(p.abs(g), epsilon));
      const scale = p.reciprocal(unbias(p, beta1, count));
      return { w: descend(p, w, p.div(m, u), rate, weightDecay, scale), moments: { mean: m, maximum: u } };
    },
  };
}

/** Gradient descent; with momentum μ: v ← μv + g, w ← w − rate·v. */
export function sgd(options: { momentum?: number; weightDecay?: number } = {}): Optimizer {
  const { momentum = 0, weightDecay = 0 } = options;
  if (momentum === 0) {
    return {
      moments: [],
      update: (p, w, g, _moments, { rate }) => ({ w: descend(p, w, g, rate, weightDecay), moments: {} }),
    };
  }
  return {
    moments: ['velocity'],
    update: (p, w, g, { velocity }, { rate }) => {
      const v = p.add(p.mul(velocity as Value, momentum), g);
      return { w: descend(p, w, v, rate, weightDecay), moments: { velocity: v } };
    },
  };
}

/** Steps of one size against the sign of the gradient (SignRound, Cheng et al. 2023). */
export function signDescent(): Optimizer {
  return {
    moments: [],
    update: (p, w, g, _moments, { rate }) => ({ w: descend(p, w, p.sign(g), rate, 0), moments: {} }),
  };
}

/** w − rate·(scale·direction + decay·w) */
function descend(p: Program, w: Value, direction: Value, rate: Operand, decay: number, scale?: Value): Value {
  const step = p.mul(direction, scale === undefined ? rate : p.mul(scale, rate));
  return p.sub(decay === 0 ? w : p.mul(w, p.sub(1, p.mul(p.operand(rate), decay))), step);
}

/** β·before + (1 − β)·now */
function average(p: Program, before: Value, now: Value, beta: number): Value {
  return p.add(p.mul(before, beta), p.mul(now, 1 - beta));
}

/** 1 − βᵗ, which undoes the start at zero. */
function unbias(p: Program, beta: number, count: Value): Value {
  return p.sub(1, p.pow(beta, count));
}
