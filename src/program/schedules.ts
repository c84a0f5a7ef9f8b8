/** Schedules as expressions of the step number: learning rates, annealed exponents. */
import { type Program } from './program.js';
import { type Operand, type Value } from './value.js';

/** A value over time: from the step number (float32 scalar, from 0) to a float32 scalar. */
export type Schedule = (p: Program, step: Value) => Value;

/** The same at every step. */
export function constantSchedule(value: number): Schedule {
  return (p) => p.scalar(value);
}

/** From `start` to `end` in a straight line over `steps`, then `end`. */
export function linearSchedule(start: number, end: number, steps: number): Schedule {
  return (p, step) => p.add(p.mul(progress(p, step, steps), end - start), start);
}

/** From `start` to `end` along half a cosine over `steps`, then `end`. */
export function cosineSchedule(start: number, end: number, steps: number): Schedule {
  return (p, step) => {
    const wave = p.mul(p.add(p.cos(p.mul(progress(p, step, steps), Math.PI)), 1), 0.5);
    return p.add(p.mul(wave, start - end), end);
  };
}

/** A straight line from 0 over the first `steps`, then the other schedule, counted from there. */
export function warmUp(steps: number, then: Schedule): Schedule {
  return (p, step) => {
    const rest = then(p, p.max(p.sub(step, steps), 0));
    return p.mul(rest, p.min(p.div(p.add(step, 1), steps), 1));
  };
}

/** `before` for the first `steps`, then the other schedule, counted from there. */
export function delayed(steps: number, before: number, then: Schedule): Schedule {
  return (p, step) => p.where(p.less(step, steps), before, then(p, p.max(p.sub(step, steps), 0)));
}

/** Share of `steps` that is done, at most 1. */
function progress(p: Program, step: Value, steps: Operand): Value {
  return p.min(p.div(step, steps), 1);
}
