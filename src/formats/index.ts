/** formats: number formats as values — what the codes stand for, how they are scaled, stored and written in ONNX. */
export { affineInteger, integerStorage } from './affine.js';
export { binaryPointSlope, chooseBinaryPoint, withFraction, type BinaryPointMethod } from './binary-point.js';
export { codebookFormat, codebookLevels } from './codebook.js';
export {
  addAligned,
  dotProduct,
  downConvert,
  dynamicFixedPoint,
  safeChain,
  type DfpTensor,
  type DotProduct,
  type OverflowPolicy,
} from './dfp.js';
export {
  fitGroups,
  fitTensor,
  fitParameters,
  meanSquaredError,
  parametersForRange,
  raiseScale,
  splitByGroup,
  type FitMethod,
  type FitOptions,
  type Parameters,
} from './fit.js';
export { apFixedType, fixedPoint, fractionFor, unsignedForm, type FixedFormat } from './fixed.js';
export {
  type FormatFamily,
  type NumberFormat,
  type OnnxForm,
  type ScaleRule,
  type VectorPart,
} from './format.js';
export { WHOLE_TENSOR, byBlock, byChannel, type Grouping } from './grouping.js';
export { kMeans } from './k-means.js';
export { FAMILIES, formatNames, parseFormat, storedFormat } from './parse.js';
export { powerFormat } from './power.js';
export { learnExponent, powerError, searchExponent } from './power-exponent.js';
export { countShiftAdds, signedDigits, type PotVariant, type ShiftAddCount } from './power-of-two-sums.js';
export {
  dequantize,
  quantize,
  tensorBytes,
  type GroupParameters,
  type Quantized,
  type TensorSize,
} from './quantize.js';
export {
  OVERFLOW,
  ROUNDING,
  castToWord,
  wordOf,
  type Overflow,
  type Rounding,
  type Word,
} from './rounding.js';
export {
  elementOrder,
  isInOrder,
  reductionMatrix,
  type Reduction,
  type ReductionMatrix,
} from './reduction.js';
export { sampleAbsmax, sampleRange, type Sample } from './sample.js';
export { WORD_LIMIT, vectorFormat, vectorsOfRow } from './vector.js';
export { learnWords, nearestWords, type VectorMatrix, type Words } from './vector-fit.js';
export {
  COST_ASSUMPTIONS,
  WORD_LENGTH_DEFAULTS,
  informationWordLength,
  predictCost,
  type LayerCost,
  type ModelCost,
  type WordLength,
  type WordLengthOptions,
} from './word-length.js';
