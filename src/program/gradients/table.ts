/** The one table of gradient rules, by operator of the standard domain (opset 18 to 26). */
import { CONVOLUTION } from './convolution.js';
import { ELEMENTWISE } from './elementwise.js';
import { MATRIX } from './matrix.js';
import { MOVEMENT } from './movement.js';
import { NORMALIZATION } from './normalization.js';
import { POOLING } from './pooling.js';
import { REDUCTION } from './reduction.js';
import { type GradientRule } from './rule.js';

export const GRADIENTS: ReadonlyMap<string, GradientRule> = new Map<string, GradientRule>(
  Object.entries({
    ...ELEMENTWISE,
    ...MATRIX,
    ...CONVOLUTION,
    ...POOLING,
    ...NORMALIZATION,
    ...REDUCTION,
    ...MOVEMENT,
  }),
);

/** Operators whose rules work on each element alone. */
export const ELEMENTWISE_OPERATORS: ReadonlySet<string> = new Set(Object.keys(ELEMENTWISE));

/** Operators whose rules may return a gradient in the shape of the output, wider than the input. */
export const BROADCASTING: ReadonlySet<string> = new Set([
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Min', 'Max', 'Sum', 'Mean', 'Where', 'PRelu', 'Clip'],
  ...['MatMul', 'Gemm', 'Expand', 'LayerNormalization', 'RMSNormalization'],
]);
