/** Word lengths by information content (AdaPT, arXiv 2107.13490): W and F of every tensor from its own distribution. */
import { asSample, distributionOf, sketchOf, type Statistics } from '../calibrate/index.js';
import { FxqError, required } from '../core/index.js';
import {
  COST_ASSUMPTIONS,
  fixedPoint,
  informationWordLength,
  parseFormat,
  predictCost,
  type FixedFormat,
  type Sample,
  type WordLength,
  type WordLengthOptions,
} from '../formats/index.js';
import { everyConstant, loadTensor } from '../onnx/index.js';
import { type ActivationQuantization, type Plan } from '../plan/index.js';
import { type ChosenWord, type WeightWord, type WordLengthEvidence } from '../report/index.js';
import { searchLayers } from '../search/index.js';
import { toFloat32 } from '../tensor/index.js';
import { type LoadedModel } from './load-model.js';

/** The widest word: integer operands and QuantizeLinear have up to 16 bits. */
const WIDEST = 16;
/** The widest of a weight beside activations that are quantized at run time, which operators take as bytes. */
const WIDEST_DYNAMIC = 8;

export interface SizedPlan {
  readonly plan: Plan;
  readonly evidence: WordLengthEvidence;
}

/**
 * Gives every fixed-point format that leaves its binary point open the smallest word that keeps the tensor's information.
 * Wider words than 16 bits are cut to 16, which shows in their divergence.
 *
 * @param keepsPoint false leaves F open, for another way to choose it
 * @throws FxqError E_CONFIG when no format is an open fixed-point one
 */
export function assignWordLengths(
  { model, types }: LoadedModel,
  planned: Plan,
  statistics: Statistics,
  options: WordLengthOptions,
  keepsPoint: boolean,
): SizedPlan {
  const size = (
    name: string,
    sample: Sample,
    widest: number,
  ): { format: FixedFormat; word: WordLength } | undefined => {
    const format = openFixed(name);
    if (format === undefined) return undefined;
    const word = informationWordLength(sample, options, format.signed, widest);
    const { signed, rounding, overflow } = format;
    const fraction = keepsPoint ? word.fraction : undefined;
    return { format: fixedPoint({ bits: word.bits, signed, rounding, overflow, fraction }), word };
  };

  const constants = everyConstant(model.graph);
  const layers = new Map(
    searchLayers(model, types, planned).map((layer) => [layer.layer.weight, layer] as const),
  );
  const dynamic = new Set(
    Object.values(planned.nodes)
      .filter((n) => n.decision === 'dynamic')
      .flatMap((n) => Object.values(n.weights)),
  );
  const weights: WeightWord[] = [];
  const sizedWeights = Object.entries(planned.weights).map(([name, weight]) => {
    const values = toFloat32(loadTensor(required(constants.get(name), name), name));
    const sized = size(weight.format, { values }, dynamic.has(name) ? WIDEST_DYNAMIC : WIDEST);
    if (sized === undefined) return [name, weight] as const;
    const layer = layers.get(name);
    if (layer !== undefined)
      weights.push({
        tensor: name,
        ...sized.word,
        node: layer.node,
        elements: layer.elements,
        macs: layer.macs,
        sparsity: zeroShare(values, sized.word.fraction),
      });
    return [name, { ...weight, format: sized.format.name }] as const;
  });

  const activations: ChosenWord[] = [];
  const sizedTies = new Map<string, string>();
  for (const [tie, members] of byTie(planned)) {
    const [first] = members;
    if (first === undefined || members.some((m) => m.range?.method === 'given')) continue;
    const sample = asSample(distributionOf(sketchOf(members, statistics)));
    const sized = size(first.format, sample, WIDEST);
    if (sized === undefined) continue;
    sizedTies.set(tie, sized.format.name);
    activations.push({ tensor: first.value, ...sized.word });
  }
  if (weights.length === 0 && activations.length === 0)
    throw new FxqError(
      'E_CONFIG',
      'word lengths are asked for, but no format is fixed point with an open binary point',
      'Choose --weights fix8 --activations fix8; the 8 is replaced.',
    );
  const plan = {
    ...planned,
    weights: Object.fromEntries(sizedWeights),
    activations: Object.fromEntries(
      Object.entries(planned.activations).map(([id, a]) => [
        id,
        { ...a, format: sizedTies.get(a.tie) ?? a.format },
      ]),
    ),
  };
  const evidence = {
    ...options,
    weights,
    activations,
    cost: predictCost(weights),
    assumptions: COST_ASSUMPTIONS,
  };
  return { plan, evidence };
}

/** A fixed-point format without a binary point of its own. */
function openFixed(name: string): FixedFormat | undefined {
  const format = parseFormat(name);
  if (format.family !== 'fixed') return undefined;
  return (format as FixedFormat).fraction === undefined ? (format as FixedFormat) : undefined;
}

/** Share of the values that round to zero. */
function zeroShare(values: Float32Array, fraction: number): number {
  const half = 2 ** (-fraction - 1);
  return values.reduce((sum, v) => sum + Number(Math.abs(v) <= half), 0) / Math.max(values.length, 1);
}

function byTie({ activations }: Plan): Map<string, ActivationQuantization[]> {
  const ties = new Map<string, ActivationQuantization[]>();
  for (const activation of Object.values(activations))
    ties.set(activation.tie, [...(ties.get(activation.tie) ?? []), activation]);
  return ties;
}
