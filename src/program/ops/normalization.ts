/** Normalizations. */
import { float } from '../../onnx/index.js';
import { type Tape } from '../tape.js';
import { type Value } from '../value.js';

/** Parameters of a batch normalization in inference, one entry a channel each. */
export interface BatchStatistics {
  readonly scale: Value;
  readonly bias: Value;
  readonly mean: Value;
  readonly variance: Value;
}

/** The normalizing operators of a program. */
export function normalizationOps(t: Tape) {
  return {
    /** (x − mean) / √(variance + ε) · scale + bias over the axes from `axis` on. */
    layerNormalization: (
      x: Value,
      scale: Value,
      bias?: Value,
      options: { axis?: number; epsilon?: number } = {},
    ): Value => {
      const { axis = -1, epsilon = 1e-5 } = options;
      return t.op('LayerNormalization', bias === undefined ? [x, scale] : [x, scale, bias], x, {
        axis,
        epsilon: float(epsilon),
      });
    },
    /** Normalization of x [N, C, …] by given statistics. */
    batchNormalization: (x: Value, s: BatchStatistics, epsilon = 1e-5): Value =>
      t.op('BatchNormalization', [x, s.scale, s.bias, s.mean, s.variance], x, { epsilon: float(epsilon) }),
    /** Normalization of each channel of each sample of x [N, C, …] by its own statistics. */
    instanceNormalization: (x: Value, scale: Value, bias: Value, epsilon = 1e-5): Value =>
      t.op('InstanceNormalization', [x, scale, bias], x, { epsilon: float(epsilon) }),
  };
}
