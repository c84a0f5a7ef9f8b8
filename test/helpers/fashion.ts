/** The convolutional network of fixtures/ quantized from a few of its images, for tests of the quantize program. */
import { createContext } from '../../src/core/index.js';
import { openDataSet, type DataSpec } from '../../src/data/index.js';
import { openSession } from '../../src/engine/index.js';
import { feedInputs, readModel } from '../../src/onnx/index.js';
import { type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS, type PlanSettings } from '../../src/plan/index.js';
import { errorSums, sqnr, toFloat32, type Tensor } from '../../src/tensor/index.js';

export const FASHION_CNN = 'fixtures/fashion-cnn/cnn.onnx';

/** Images as the network takes them. */
export function fashionImages(file: 'calibration' | 'test', rows: readonly [number, number]): DataSpec {
  return {
    path: `fixtures/fashion-mnist/${file}.npz`,
    rows,
    preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 },
  };
}

/** Weights alone, by 64 images; nothing is written. */
export function fashionRequest(
  out: string,
  plan: Partial<PlanSettings>,
  changes: Partial<QuantizeRequest> = {},
): QuantizeRequest {
  return {
    model: FASHION_CNN,
    out,
    plan: { ...DEFAULT_SETTINGS, activations: 'float', ...plan },
    emit: 'qdq',
    ranges: { method: 'minmax' },
    weightRange: 'mse',
    statistics: { kind: 'data', spec: fashionImages('calibration', [0, 64]) },
    solving: { effort: 'fast' },
    avoidSaturation: false,
    externalData: false,
    dryRun: true,
    locked: false,
    ...changes,
  };
}

/** Signal-to-noise ratio of a written model's logits on 200 test images. */
export async function fashionSqnr(path: string): Promise<number> {
  const inputs = feedInputs(readModel(FASHION_CNN).graph);
  const data = await openDataSet(fashionImages('test', [0, 200]), inputs, createContext());
  const [float, quantized] = [await openSession(FASHION_CNN), await openSession(path)];
  let sums = errorSums([], []);
  for await (const { inputs: feeds } of data.batches(50)) {
    const [a, b] = [await float.run(feeds), await quantized.run(feeds)];
    sums = errorSums(toFloat32(a.get('logits') as Tensor), toFloat32(b.get('logits') as Tensor), sums);
  }
  return sqnr(sums);
}

/** Mean of the logarithm of the layers' errors on samples that solvers have not seen. */
export function heldOutError({ layers }: QuantizeResult): number {
  return layers.reduce((sum, l) => sum + Math.log(l.error.heldOut ?? NaN), 0) / layers.length;
}
