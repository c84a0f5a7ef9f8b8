/** What the student is to match: the teacher's outputs, and its features where it fell behind (arXiv 2305.10727). */
import { required } from '../../core/index.js';
import { type Program, type Value } from '../../program/index.js';
import { type LossKind } from '../importance/output-loss.js';

/** A loss for each output, and the weight of each feature. */
export interface Targets {
  readonly outputs: readonly { readonly value: string; readonly kind: LossKind }[];
  readonly features: readonly { readonly value: string; readonly weight: number }[];
}

/** Loss of the outputs, relative squared error of every feature, and what is minimized. */
export interface Losses {
  readonly output: Value;
  readonly features: readonly Value[];
  readonly total: Value;
}

/** Values of one network by name. */
type Values = Readonly<Record<string, Value>>;

/** L = mean over outputs of their loss + Σ over features of weight · ‖student − teacher‖² / ‖teacher‖². */
export function losses(p: Program, targets: Targets, teacher: Values, student: Values): Losses {
  const both = (name: string): [Value, Value] => [
    required(teacher[name], `${name} of the teacher`),
    required(student[name], `${name} of the student`),
  ];
  const each = targets.outputs.map(({ value, kind }) => outputLoss(p, kind, ...both(value)));
  const output = p.mul(p.sum(each as [Value, ...Value[]]), 1 / each.length);
  const features = targets.features.map(({ value }) => relativeError(p, ...both(value)));
  const weighted = features.map((error, i) => p.mul(error, targets.features[i]?.weight ?? 0));
  return { output, features, total: p.sum([output, ...weighted]) };
}

/** KL(teacher ‖ student), the mean over rows, or the relative squared error. */
function outputLoss(p: Program, kind: LossKind, teacher: Value, student: Value): Value {
  switch (kind) {
    case 'kl':
      return divergence(p, p.softmax(teacher), p.logSoftmax(teacher), p.logSoftmax(student));
    case 'probability-kl':
      return divergence(p, teacher, logOf(p, teacher), logOf(p, student));
    case 'bernoulli-kl': {
      const of = (x: Value): Value => p.mul(p.sub(x, 1), -1);
      const rows = p.add(
        p.mul(teacher, p.sub(logOf(p, teacher), logOf(p, student))),
        p.mul(of(teacher), p.sub(logOf(p, of(teacher)), logOf(p, of(student)))),
      );
      return p.reduceMean(rows);
    }
    case 'relative':
      return relativeError(p, teacher, student);
  }
}

/** Σ p·(log p − log q) along the last axis, the mean over rows. */
function divergence(p: Program, share: Value, logTeacher: Value, logStudent: Value): Value {
  return p.reduceMean(p.reduceSum(p.mul(share, p.sub(logTeacher, logStudent)), [-1]));
}

/** Logarithm of a probability, floored so that an empty class does not hide the others. */
function logOf(p: Program, x: Value): Value {
  return p.log(p.max(x, 1e-6));
}

function relativeError(p: Program, teacher: Value, student: Value): Value {
  const energy = p.max(p.reduceMean(p.square(teacher)), 1e-12);
  return p.div(p.reduceMean(p.square(p.sub(student, teacher))), energy);
}
