/** A data set: samples chosen and bound to the inputs of a model, batches made on demand. */
import { FxqError, checkAbort, didYouMean, type Context } from '../core/index.js';
import { type Batch, type Carry } from '../engine/index.js';
import { type ValueInfo } from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';
import { bindInputs, type BoundInput } from './bind.js';
import { hashSamples } from './content-hash.js';
import { isRounding } from './convert.js';
import { fillDerived, fillFromArray, fillWithValue, zeroState, type Fill } from './fill.js';
import { modelInput, type ModelInput } from './inputs.js';
import { chooseRows, splitRows } from './rows.js';
import { parseDerivation, validateDataSpec, type DataSpec, type InputSpec } from './spec.js';

/** Samples for a model; they are read again each time batches are asked for, and never all held in memory. */
export interface DataSet {
  readonly samples: number;
  /** Model inputs that the batches fill. */
  readonly inputs: readonly string[];
  /** Row of the source behind each sample. */
  readonly rows: readonly number[];
  /** Number of rows of the source. */
  readonly sourceRows: number;
  /** Random numbers, or made by `fxq synthesize`: no real input is among them. */
  readonly synthetic: boolean;
  /** Shapes differ from sample to sample. */
  readonly varying: boolean;
  /** Recurrent inputs and the outputs they continue. */
  readonly carry: Carry;
  /** Consecutive samples that depend on each other: 1, the length of a sequence, or all. */
  readonly sequence: number;
  /** Samples of one run when `wanted` are asked for; the model or the data may allow only one. */
  batchSize(wanted: number): number;
  /** SHA-256 of samples and preprocessing: the same for the same numbers, wherever they are stored. */
  hash(): string;
  /** Samples `from` up to `to` (all by default) in batches of `batchSize(wanted)`, the last one possibly smaller. */
  batches(wanted: number, from?: number, to?: number): AsyncIterable<Batch>;
  /**
   * Part of the samples, drawn by the seed, and the others; whole batches where the model fixes their size. One part may
   * be empty. Only for samples that do not depend on each other.
   */
  split(count: number): readonly [DataSet, DataSet];
}

/**
 * Opens a data set for the inputs of a model.
 *
 * @param inputs inputs that must be fed: `feedInputs(model.graph)`
 * @throws FxqError E_CONFIG for a contradictory description, E_FILE or E_DATA naming file, array and input
 */
export async function openDataSet(
  spec: DataSpec,
  inputs: readonly ValueInfo[],
  ctx: Context,
): Promise<DataSet> {
  validateDataSpec(spec);
  refuseUnknownInputs(spec.inputs ?? {}, inputs);
  const specOf = ({ name }: { name: string }): InputSpec => spec.inputs?.[name] ?? {};
  const all = inputs.map((value) => modelInput(value, specOf(value)));
  const bound = await bindInputs(
    spec,
    all.filter((input) => isFromArray(specOf(input))),
    ctx,
  );
  const carry = new Map(all.flatMap((i) => pairs(i.name, specOf(i).recurrent)));
  const sourceRows = countRows(bound, spec);
  const fixedBatch = commonBatch(all);
  const rows = chooseRows(spec, sourceRows, fixedBatch, ctx);
  if (spec.sequence !== undefined && carry.size === 0)
    throw new FxqError(
      'E_CONFIG',
      `sequences of ${spec.sequence} samples are given, but no input is recurrent`,
      ['Say which input carries state over (--input STATE=output:NAME), or leave the sequence out.'],
    );
  const sequence = carry.size === 0 ? 1 : sequenceLength(spec, rows.length);
  noteRounding(bound, ctx);

  const fills: readonly (readonly [string, Fill])[] = [
    ...bound.map((b) => [b.input.name, fillFromArray(b.input, b.array, b.preprocess)] as const),
    ...all.flatMap((input) => pairs(input.name, madeFill(input, specOf(input)))),
  ];
  const states = all
    .filter((input) => carry.has(input.name))
    .map((input) => [input.name, zeroState(input)] as const);
  const varying = bound.some(hasVaryingShape);
  const single =
    varying ||
    carry.size > 0 ||
    bound.some(({ input, array }) => array.whole || input.sampleAxis === undefined);
  const batchSize = (wanted: number): number => (single ? 1 : (fixedBatch ?? Math.max(1, wanted)));
  const describe = (rows: readonly number[]): DataSet => {
    let hash: string | undefined;
    return {
      samples: rows.length,
      inputs: all.map((input) => input.name),
      rows,
      sourceRows,
      synthetic: spec.kind === 'random' || bound.some(({ array }) => array.synthesized === true),
      varying,
      carry,
      sequence,
      batchSize,
      hash: () => (hash ??= hashSamples(bound, madeSpecs(all, specOf), rows, sequence)),
      async *batches(wanted, from = 0, to = rows.length) {
        const size = batchSize(wanted);
        for (let first = from; first < to; first += size) {
          checkAbort(ctx);
          const samples = rows.slice(first, Math.min(first + size, to));
          const feeds = new Map<string, Tensor>(first % sequence === 0 ? states : []);
          for (const [name, fill] of fills) feeds.set(name, await fill(samples, feeds));
          yield { first, count: samples.length, inputs: feeds };
        }
      },
      split: (count) => {
        const [part, others] = splitRows(rows, count, fixedBatch, ctx);
        return [describe(part), describe(others)];
      },
    };
  };
  return describe(rows);
}

/** Samples keep their own shapes: image files all become one size unless they are taken as they are. */
function hasVaryingShape({ array, preprocess }: BoundInput): boolean {
  return array.dims === undefined && !(array.image && preprocess?.settings.fit !== 'none');
}

/** No rule makes the input, so an array must fill it. */
function isFromArray({ value, derive, recurrent }: InputSpec): boolean {
  return value === undefined && derive === undefined && recurrent === undefined;
}

/** The fill of an input that is made by a rule; recurrent ones have none, the runs fill them. */
function madeFill(input: ModelInput, { value, derive }: InputSpec): Fill | undefined {
  if (value !== undefined) return fillWithValue(input, value);
  const derivation = derive === undefined ? undefined : parseDerivation(derive);
  return derivation === undefined ? undefined : fillDerived(input, derivation);
}

function madeSpecs(
  inputs: readonly ModelInput[],
  specOf: (input: ModelInput) => InputSpec,
): Record<string, unknown> {
  return Object.fromEntries(inputs.filter((i) => !isFromArray(specOf(i))).map((i) => [i.name, specOf(i)]));
}

function pairs<T>(key: string, value: T | undefined): [string, T][] {
  return value === undefined ? [] : [[key, value]];
}

/** @throws FxqError E_CONFIG for a description of an input that the model does not have */
export function refuseUnknownInputs(
  described: Readonly<Record<string, InputSpec>>,
  inputs: readonly ValueInfo[],
): void {
  const names = inputs.map((i) => i.name);
  const unknown = Object.keys(described).find((name) => !names.includes(name));
  if (unknown === undefined) return;
  throw new FxqError('E_CONFIG', `the data describes input '${unknown}', which the model does not have`, [
    ...[didYouMean(unknown, names)].filter((s) => s !== ''),
    `Its inputs are ${names.join(', ')}.`,
  ]);
}

function countRows(bound: readonly BoundInput[], spec: DataSpec): number {
  const count = bound[0]?.array.count;
  if (count !== undefined) return count;
  throw new FxqError(
    'E_CONFIG',
    `no input is filled from ${spec.path ?? 'the data'}`,
    'Fill at least one model input from an array.',
  );
}

/** Samples the model takes at once, when an input fixes them. */
function commonBatch(inputs: readonly ModelInput[]): number | undefined {
  const fixed = inputs.filter((i) => i.fixedBatch !== undefined);
  const [first] = fixed;
  const other = fixed.find((i) => i.fixedBatch !== first?.fixedBatch);
  if (first === undefined || other === undefined) return first?.fixedBatch;
  throw new FxqError(
    'E_DATA',
    `inputs '${first.name}' (${first.shape}) and '${other.name}' (${other.shape}) take different numbers of samples`,
    `Say where samples are stacked: inputs.${other.name}.sampleAxis, a number or none.`,
  );
}

function sequenceLength(spec: DataSpec, samples: number): number {
  if (spec.samples !== undefined) {
    throw new FxqError(
      'E_CONFIG',
      'samples draws a random subset, which tears sequences apart',
      'Give rows: [from, to] instead.',
    );
  }
  return spec.sequence ?? samples;
}

function noteRounding(bound: readonly BoundInput[], ctx: Context): void {
  for (const { input, array, preprocess } of bound) {
    if (preprocess !== undefined || !isRounding(array.dtype, input.dtype)) continue;
    const message = `${array.label} is ${array.dtype}; it is rounded to the ${input.dtype} that '${input.name}' takes`;
    ctx.note({ level: 'info', code: 'data-rounded', message });
  }
}
