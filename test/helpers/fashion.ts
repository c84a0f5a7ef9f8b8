/** The convolutional network of fixtures/ quantized from a few of its images, for tests of weight formats. */
import { type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS, type PlanSettings } from '../../src/plan/index.js';

/** Weights alone, by 64 images; nothing is written. */
export function fashionRequest(
  out: string,
  plan: Partial<PlanSettings>,
  changes: Partial<QuantizeRequest> = {},
): QuantizeRequest {
  const spec = {
    path: 'fixtures/fashion-mnist/calibration.npz',
    rows: [0, 64] as const,
    preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 },
  };
  return {
    model: 'fixtures/fashion-cnn/cnn.onnx',
    out,
    plan: { ...DEFAULT_SETTINGS, activations: 'float', ...plan },
    emit: 'qdq',
    ranges: { method: 'minmax' },
    weightRange: 'mse',
    statistics: { kind: 'data', spec },
    solving: { effort: 'fast' },
    avoidSaturation: false,
    externalData: false,
    dryRun: true,
    locked: false,
    ...changes,
  };
}

/** Mean of the logarithm of the layers' errors on samples that solvers have not seen. */
export function heldOutError({ layers }: QuantizeResult): number {
  return layers.reduce((sum, l) => sum + Math.log(l.error.heldOut ?? NaN), 0) / layers.length;
}
