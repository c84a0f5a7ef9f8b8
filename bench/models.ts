/**
 * The trained models that benchmarks measure, by folder name: files, and data sets described as a configuration file
 * would. Paths are relative to the folder of models, which benchmarks take as argument or from FXQ_MODELS.
 */
import { join } from 'node:path';
import { type DataSpec, type PreprocessSpec } from '../src/data/index.js';

export interface BenchModel {
  readonly name: string;
  readonly model: string;
  /** Rows that the model's documentation names for calibration. */
  readonly calibration: DataSpec;
  /** Rows to measure on. */
  readonly test: DataSpec;
  readonly labels?: string;
}

/** A data set whose calibration and test rows are parts of one file. */
function split(
  spec: DataSpec,
  calibration: readonly [number, number],
  test: readonly [number, number],
): Pick<BenchModel, 'calibration' | 'test'> {
  return { calibration: { ...spec, rows: calibration }, test: { ...spec, rows: test } };
}

const CIFAR = 'data-cifar10/jpeg2000_x.npy';
const IMAGENET_VALUES: PreprocessSpec = {
  scale: 1 / 255,
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/** Text recognition and detection take gray pages, repeated to three channels. */
const GRAY = { stored: 'HW', channels: 'RGB' } as const;

export const MODELS: readonly BenchModel[] = [
  {
    name: 'ic-resnet8',
    model: 'ic-resnet8/resnet8.onnx',
    ...split({ path: CIFAR, preprocess: 'raw' }, [0, 256], [256, 2000]),
    labels: 'data-cifar10/jpeg2000_y.npy',
  },
  {
    name: 'ic-resnet8-wide',
    model: 'ic-resnet8/resnet8_wide.onnx',
    ...split({ path: CIFAR, preprocess: 'raw' }, [0, 256], [256, 2000]),
    labels: 'data-cifar10/jpeg2000_y.npy',
  },
  {
    name: 'cifar-resnet20',
    model: 'cifar-resnet/resnet20.onnx',
    ...split({ path: CIFAR, preprocess: IMAGENET_VALUES }, [0, 256], [256, 2000]),
    labels: 'data-cifar10/jpeg2000_y.npy',
  },
  {
    name: 'cifar-resnet56',
    model: 'cifar-resnet/resnet56.onnx',
    ...split({ path: CIFAR, preprocess: IMAGENET_VALUES }, [0, 256], [256, 2000]),
    labels: 'data-cifar10/jpeg2000_y.npy',
  },
  {
    name: 'vww-mobilenet',
    model: 'vww-mobilenet/mobilenetv1_025.onnx',
    ...split({ path: 'vww-mobilenet/vww1000_x.npy', preprocess: 'unit' }, [0, 256], [256, 1000]),
    labels: 'vww-mobilenet/vww1000_y.npy',
  },
  {
    name: 'kws-dscnn',
    model: 'kws-dscnn/dscnn.onnx',
    ...split({ path: 'kws-dscnn/mfcc1000_x.npy' }, [0, 200], [200, 1000]),
    labels: 'kws-dscnn/mfcc1000_y.npy',
  },
  {
    name: 'ppocr-rec',
    model: 'ppocr-rec/ppocrv4_rec.onnx',
    ...split(
      { path: 'ppocr-rec/lines300_gray.npy', preprocess: { ...GRAY, scale: 1 / 127.5, mean: 1 } },
      [0, 60],
      [60, 300],
    ),
    labels: 'ppocr-rec/lines300.txt',
  },
  {
    name: 'ppocr-det',
    model: 'ppocr-det/ppocrv4_det.onnx',
    ...split(
      {
        path: 'ppocr-det/pages12_gray.npy',
        preprocess: { ...GRAY, scale: 1 / 255, mean: [0.406, 0.456, 0.485], std: [0.225, 0.224, 0.229] },
      },
      [0, 4],
      [4, 12],
    ),
  },
  {
    name: 'fastestdet',
    model: 'fastestdet/fastestdet.onnx',
    ...split(
      {
        path: 'vww-mobilenet/vww1000_x.npy',
        preprocess: { fit: 'stretch', channels: 'BGR', scale: 1 / 255 },
      },
      [800, 1000],
      [0, 300],
    ),
    labels: 'vww-mobilenet/vww1000_y.npy',
  },
  {
    name: 'fashion-vit',
    model: 'fashion-vit/vit.onnx',
    calibration: {
      path: 'fashion-vit/calib512_x.npy',
      preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 },
    },
    test: { path: 'fashion-vit/test2000_x.npy', preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 } },
    labels: 'fashion-vit/test2000_y.npy',
  },
  {
    name: 'bank-bert',
    model: 'bank-bert/bert.onnx',
    calibration: {
      path: 'bank-bert/calib512_ids.npy',
      inputs: { attention_mask: { derive: 'nonzero(input_ids)' } },
    },
    test: {
      path: 'bank-bert/test3080_ids.npy',
      inputs: { attention_mask: { derive: 'nonzero(input_ids)' } },
    },
    labels: 'bank-bert/test3080_y.npy',
  },
  {
    name: 'tiny-llama',
    model: 'tiny-llama/aidreams260k.onnx',
    ...split({ path: 'tiny-llama/tokens160.npy' }, [0, 32], [32, 160]),
  },
  {
    name: 'charrnn-lstm',
    model: 'charrnn-lstm/charrnn.onnx',
    ...split({ path: 'charrnn-lstm/tokens160.npy' }, [0, 32], [32, 160]),
  },
  {
    name: 'silero-vad',
    model: 'silero-vad/silero_vad_16k_static.onnx',
    ...split(
      {
        path: 'silero-vad',
        inputs: {
          input: { file: 'calib_input.npy' },
          state: { file: 'calib_state.npy', sampleAxis: 1 },
        },
      },
      [0, 300],
      [300, 405],
    ),
  },
  {
    name: 'silero-vad-if',
    model: 'silero-vad/silero_vad.onnx',
    ...split(
      {
        path: 'silero-vad',
        inputs: {
          input: { file: 'calib_input.npy' },
          state: { file: 'calib_state.npy', sampleAxis: 1 },
          sr: { value: 16000 },
        },
      },
      [0, 300],
      [300, 405],
    ),
  },
];

/** A description with its path inside the folder of models. */
export function inFolder(folder: string, spec: DataSpec): DataSpec {
  return spec.path === undefined ? spec : { ...spec, path: join(folder, spec.path) };
}

/** The folder of models: first argument, or FXQ_MODELS. */
export function modelsFolder(): string {
  const folder = process.argv[2] ?? process.env.FXQ_MODELS;
  if (folder !== undefined) return folder;
  console.error('Give the folder of models as argument, or in FXQ_MODELS.');
  process.exit(2);
}
