/** Preprocessing by the names under which models are published. */

/** Resize the shorter side to 256 (for 224) and keep the centre. */
const CENTRE = { fit: 'crop', cropFraction: 0.875 } as const;

/** Presets; their geometry applies to image files, for arrays it must be asked for. */
export const PREPROCESS_PRESETS = {
  /** torchvision, timm: 0…1, then ImageNet mean and deviation. */
  imagenet: { ...CENTRE, scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  /** ImageNet geometry, 0…1. */
  'imagenet-0-1': { ...CENTRE, scale: 1 / 255 },
  /** Keras `mode='tf'`: −1…1. */
  tf: { ...CENTRE, scale: 1 / 127.5, mean: 1 },
  /** Keras `mode='caffe'`: BGR, 0…255 minus the mean. */
  caffe: { ...CENTRE, channels: 'BGR', mean: [103.939, 116.779, 123.68] },
  /** 0…1. */
  unit: { scale: 1 / 255 },
  /** Numbers as they are stored. */
  raw: {},
} as const;

export type PreprocessPreset = keyof typeof PREPROCESS_PRESETS;
