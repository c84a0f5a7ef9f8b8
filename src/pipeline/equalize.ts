/** Transforms before quantization that leave the float model as it is: channels of weights and activations evened out. */
import { collect } from '../calibrate/index.js';
import { FxqError, checkAbort, required, type Context } from '../core/index.js';
import { openDataSet, type DataSet, type DataSpec } from '../data/index.js';
import { inferValueTypes } from '../engine/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { matchRules, type PlanSettings } from '../plan/index.js';
import {
  absorbBiases,
  absorbable,
  type EqualizeRequest,
  type Equalization,
  equalizeCrossLayer,
  valuesToEqualize,
  type AbsorbedBias,
  type EqualizeReport,
} from '../rewrite/index.js';
import { type LoadedModel } from './load-model.js';
import { smoothActivations } from './smooth-activations.js';

export interface EqualizedModel {
  readonly loaded: LoadedModel;
  readonly report: EqualizeReport;
}

/**
 * Applies the steps asked for, in a fixed order: cross-layer, absorb, smooth.
 *
 * @param spec calibration data; absorbing and smoothing need them
 * @throws FxqError E_USAGE when they are missing
 */
export async function equalize(
  loaded: LoadedModel,
  request: EqualizeRequest,
  settings: PlanSettings,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<EqualizedModel> {
  const left = excluded(loaded.model, settings);
  const isWanted = (node: string): boolean => !left.has(node);
  const steps = new Set(request.steps);
  let { model } = loaded;
  let report: EqualizeReport = { crossLayer: [], absorbed: [], smoothed: [] };
  if (steps.has('cross-layer')) {
    const reachOf = await channelReachOf(loaded, spec, ctx);
    const equalized = equalizeCrossLayer(model, loaded.types, reachOf, isWanted);
    model = equalized.model;
    report = { ...report, crossLayer: equalized.groups };
  }
  if (steps.has('absorb')) {
    const { result, absorbed } = await absorb(
      model,
      isWanted,
      await dataFor('absorb', model, spec, ctx),
      ctx,
    );
    model = result;
    report = { ...report, absorbed };
  }
  if (steps.has('smooth')) {
    const data = await dataFor('smooth', model, spec, ctx);
    const types = await inferValueTypes(model);
    const smoothed = await smoothActivations(model, types, settings, request, isWanted, data, ctx);
    model = smoothed.model;
    report = { ...report, smoothed: smoothed.groups };
  }
  noteResult(report, request, ctx);
  if (model === loaded.model) return { loaded, report };
  return { loaded: { ...loaded, model, types: await inferValueTypes(model) }, report };
}

/** Nodes whose last rule on the matter says no. */
function excluded({ graph }: Model, { nodes }: PlanSettings): Set<string> {
  const rules = [...matchRules(graph, nodes)];
  return new Set(
    rules
      .filter(([, of]) => of.findLast((r) => r.equalize !== undefined)?.equalize === false)
      .map(([node]) => node.name),
  );
}

async function dataFor(
  step: Equalization,
  model: Model,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<DataSet> {
  if (spec !== undefined)
    return openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  throw new FxqError('E_USAGE', `--equalize ${step} looks at activations, which needs data`, [
    'Give --data PATH, also beside --calibration.',
    'Without data, only --equalize cross-layer is possible.',
  ]);
}

/** Largest magnitude of every channel between layers on calibration data; nothing is known without data. */
async function channelReachOf(
  { model, types }: LoadedModel,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<(value: string) => Float64Array | undefined> {
  const values = spec === undefined ? [] : valuesToEqualize(model, types);
  if (values.length === 0) return () => undefined;
  const data = await dataFor('cross-layer', model, spec, ctx);
  const { tensors } = await collect(model, data, values, ctx);
  return (value) => {
    const channels = tensors.get(value)?.channels;
    if (channels === undefined) return undefined;
    return Float64Array.from(channels.max, (most, c) =>
      Math.max(Math.abs(most), Math.abs(channels.min[c] ?? 0)),
    );
  };
}

async function absorb(
  model: Model,
  isWanted: (node: string) => boolean,
  data: DataSet,
  ctx: Context,
): Promise<{ result: Model; absorbed: readonly AbsorbedBias[] }> {
  checkAbort(ctx);
  const values = absorbable(model);
  if (values.length === 0) return { result: model, absorbed: [] };
  const { tensors } = await collect(model, data, values, ctx);
  const { model: result, absorbed } = absorbBiases(
    model,
    (value) => required(tensors.get(value), value).channels,
    isWanted,
  );
  return { result, absorbed };
}

function noteResult(
  { crossLayer, absorbed, smoothed }: EqualizeReport,
  request: EqualizeRequest,
  ctx: Context,
): void {
  const parts = [
    ...(request.steps.includes('cross-layer') ? [`${crossLayer.length} groups of channels equalized`] : []),
    ...(request.steps.includes('absorb') ? [`biases in front of ${absorbed.length} Relus absorbed`] : []),
    ...(request.steps.includes('smooth')
      ? [`${smoothed.filter((g) => g.alpha !== undefined).length} of ${smoothed.length} activations smoothed`]
      : []),
  ];
  if (parts.length > 0) ctx.note({ level: 'info', code: 'equalization', message: parts.join('; ') });
}
