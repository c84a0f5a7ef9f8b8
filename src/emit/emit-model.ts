/** The four forms a quantized model is written in. */
import { FxqError } from '../core/index.js';
import { describeNode, feedInputs, type Model } from '../onnx/index.js';
import { type Plan, type ValueTypes } from '../plan/index.js';
import { type Tensor } from '../tensor/index.js';
import { cIdentifier, testVectors, writeCpp, type CppTypes } from './cpp/index.js';
import {
  emitInteger,
  interpret,
  refuseOverflow,
  type CalibratedRanges,
  type EmittedIntegers,
} from './integer/index.js';
import { emitQOperator } from './qoperator/index.js';
import { emitQdq, type SolvedWeights } from './qdq.js';

/** Each form and what it is, for messages and help. */
export const FORMS = {
  qdq: 'QuantizeLinear and DequantizeLinear around every node, for runtimes that fuse them',
  qoperator: 'QLinear and integer operators of ONNX and onnxruntime',
  integer: 'integer arithmetic in standard operators only: the same bits in every runtime',
  cpp: 'the integer model, and C++17 that computes the same bits',
} as const;

export type Form = keyof typeof FORMS;

/** Whether a form computes in integers only, and so wants plans for the target `integer`. */
export function isIntegerForm(form: Form): boolean {
  return form === 'integer' || form === 'cpp';
}

export interface EmissionInput {
  /** The prepared model the plan was made for. */
  readonly model: Model;
  readonly plan: Plan;
  readonly solved: SolvedWeights;
  readonly types: ValueTypes;
  /** File name of the output without folder and ending. */
  readonly name: string;
  /** Real ranges seen in calibration, by activation id. */
  readonly calibrated?: CalibratedRanges;
  /** Single samples: the C++ test bench replays them, and overflows are looked for on them. */
  readonly samples: readonly ReadonlyMap<string, Tensor>[];
  readonly options?: FormOptions;
}

/** What some forms leave open. */
export interface FormOptions {
  /** What integers are declared as in C++. */
  readonly cppTypes?: CppTypes;
  /** Bits beyond which sums of products on the samples are refused. */
  readonly detectBeyond?: number;
}

/**
 * What becomes of sums that need more bits than they may have: partial sums move to a wider accumulator, the model is
 * refused when samples show one, or weights drop bits until no input can cause one (Das et al., arXiv 1802.00930).
 */
export const ACCUMULATOR_OVERFLOWS = ['split', 'detect', 'drop-bits'] as const;
export type AccumulatorOverflow = (typeof ACCUMULATOR_OVERFLOWS)[number];

/** Bits of an accumulator where no other width is given. */
export const ACCUMULATOR_BITS = 32;

/**
 * Refuses options that the form has no use for.
 *
 * @throws FxqError E_USAGE
 */
export function checkFormOptions(form: Form, { cppTypes }: FormOptions): void {
  if (cppTypes === undefined || form === 'cpp') return;
  throw new FxqError(
    'E_USAGE',
    `C++ types are chosen, but the form ${form} writes no C++`,
    'Choose --emit cpp.',
  );
}

/** `model.onnx` → `model.integer.json`: the table of formats and accumulators beside an integer model. */
export function tablePath(model: string): string {
  return `${model.replace(/\.onnx$/, '')}.integer.json`;
}

/** A file that goes beside the model. */
export interface CompanionFile {
  readonly name: string;
  readonly content: string | Uint8Array;
}

export interface Emission {
  readonly model: Model;
  readonly files: readonly CompanionFile[];
}

/**
 * Writes a plan in a form.
 *
 * @throws FxqError E_UNSUPPORTED when a node has no form of that kind
 */
export async function emitModel(form: Form, input: EmissionInput): Promise<Emission> {
  const { model, plan, solved, types, calibrated } = input;
  if (form === 'qdq') return { model: emitQdq(model, plan, solved), files: [] };
  if (form === 'qoperator') return { model: emitQOperator(emitQdq(model, plan, solved)), files: [] };
  const emitted = await emitInteger(model, plan, solved, types, calibrated);
  const { detectBeyond } = input.options ?? {};
  if (detectBeyond !== undefined) refuseOverflow(emitted.program, detectBeyond, input.samples);
  const table = {
    name: tablePath(input.name),
    content: `${JSON.stringify(emitted.table, null, 2)}\n`,
  };
  return { model: emitted.model, files: form === 'cpp' ? [table, ...cppFiles(emitted, input)] : [table] };
}

function cppFiles(
  emitted: EmittedIntegers,
  { model, name, samples, options }: EmissionInput,
): CompanionFile[] {
  const { program, before, after } = emitted;
  const [float] = [...before, ...after];
  if (float !== undefined) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `C++ is written for models without float nodes; ${describeNode(float)} stays float`,
      'Quantize it, or cut the model before it.',
    );
  }
  const inputs = new Map(feedInputs(model.graph).map((v) => [v.name, singleSample(v.name, v.type?.dims)]));
  const space = cIdentifier(name);
  const { header, source, testBench } = writeCpp(program, {
    name: space,
    inputs,
    ...(options?.cppTypes === undefined ? {} : { types: options.cppTypes }),
  });
  const vectors = samples.map((sample) => {
    const { outputs } = interpret(program, sample);
    return {
      inputs: program.inputs.map(({ real }) => sample.get(real)?.data as Float32Array),
      outputs: [...outputs.values()].map((t) => t.data as Float32Array),
    };
  });
  return [
    { name: `${space}.h`, content: header },
    { name: `${space}.cpp`, content: source },
    { name: `${space}_test.cpp`, content: testBench },
    { name: `${space}.vectors.bin`, content: testVectors(vectors) },
  ];
}

/** The shape of one sample: the first axis counts samples, the others have to be known. */
function singleSample(name: string, dims: readonly (number | string | null)[] | undefined): number[] {
  return (dims ?? []).map((d, axis) => {
    if (axis === 0) return 1;
    if (typeof d === 'number') return d;
    throw new FxqError(
      'E_UNSUPPORTED',
      `C++ needs known dimensions; input '${name}' has '${d ?? '?'}' on axis ${axis}`,
      'Fix the dimension in the model.',
    );
  });
}
