/** Channels in an order in which sparse patterns lose less, before anything is planned: the same network, renamed. */
import { FxqError, required, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { inferValueTypes } from '../engine/index.js';
import { feedInputs } from '../onnx/index.js';
import { planQuantization, type PlanSettings, type Sparsity } from '../plan/index.js';
import {
  collectMoments,
  findWeightedLayers,
  matrixSize,
  permuteNetwork,
  type ChannelPermutation,
} from '../solve/index.js';
import { type LoadedModel } from './load-model.js';
import { sparseLayers } from './sparse-layers.js';

/** Energies of inputs need few rows: only a diagonal is read. */
const MOMENTS = { heldOut: 0, rowsPerColumn: 1 };

/**
 * Permutes the channels that the sparse layers of a plan read.
 *
 * @param common pattern of all layers that can take one
 * @throws FxqError E_USAGE without data
 */
export async function permuteChannels(
  loaded: LoadedModel,
  settings: PlanSettings,
  common: Sparsity | undefined,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<{ readonly loaded: LoadedModel; readonly permutation: ChannelPermutation }> {
  const { model, types } = loaded;
  if (spec === undefined)
    throw new FxqError('E_USAGE', 'permuting channels weighs them by what layers see, which needs data', [
      'Give --data PATH, also beside --calibration.',
    ]);
  const quiet: Context = { ...ctx, note: () => undefined };
  const sparse = sparseLayers(model, planQuantization(model, types, settings), common, quiet);
  const layers = findWeightedLayers(model.graph).filter((l) => sparse.has(l.node.name));
  const data = await openDataSet(spec, feedInputs(model.graph), quiet);
  const moments = await collectMoments(model, layers, data, ctx, MOMENTS);
  const energies = layers.map((layer): [string, Float64Array] => {
    const { name } = layer.node;
    const { cols } = matrixSize(layer.layout);
    // Sparse layers have one group of channels.
    const gram = required(required(moments.get(layer), name).fit.gram[0], name);
    return [name, Float64Array.from({ length: cols }, (_, c) => gram[c * cols + c] ?? 0)];
  });
  const patterns = new Map([...sparse].map(([node, { pattern }]) => [node, pattern]));
  const { model: permuted, ...permutation } = permuteNetwork(
    model,
    types,
    patterns,
    new Map(energies),
    ctx.rng.fork('permute channels'),
  );
  noteResult(permutation, ctx);
  if (permuted === model) return { loaded, permutation };
  return {
    loaded: { ...loaded, model: permuted, types: await inferValueTypes(permuted) },
    permutation,
  };
}

function noteResult({ permuted, fixed }: ChannelPermutation, ctx: Context): void {
  const changed = permuted.filter(({ kept }) => kept.after > kept.before);
  const stay = fixed.map(({ layer, why }) => `${layer} (${why})`);
  const rest = stay.length === 0 ? '' : `; the inputs of ${stay.join(', ')} keep theirs`;
  ctx.note({
    level: 'info',
    code: 'permutation',
    message: `${changed.length} of ${permuted.length + fixed.length} sets of channels in another order${rest}`,
  });
}
