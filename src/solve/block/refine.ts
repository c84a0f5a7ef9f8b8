/** The second walk: from codes that layer solvers found to blocks learned together. */
import { type Context } from '../../core/index.js';
import { storeTensor, type Model } from '../../onnx/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';
import { type LayerCache } from '../cache.js';
import { type WeightedLayer } from '../layers.js';
import { type LayerData } from '../moments/collect.js';
import { readBatches } from '../moments/batches.js';
import { withInitializers } from '../moments/walk.js';
import { withRoundedWeights } from '../rounded-weights.js';
import { type SolvedLayers } from '../solved.js';
import { solveBlocks, type BlockOptions } from './solve-blocks.js';

/** Names of the answers that blocks may start from. */
const STARTS = ['descent', 'descent, one pass'];

export interface BlockSettings {
  readonly options: BlockOptions;
  /** All weights rounded to nearest. */
  readonly nearest: ReadonlyMap<string, SolvedWeight>;
  readonly sparse: ReadonlySet<string>;
  /** Keeps finished blocks. */
  readonly cache?: LayerCache;
}

/**
 * Learns the blocks around some layers, and reports what that bought beside the layer solvers.
 *
 * @param starts answers of layer solvers; the first one has all layers, further ones those that are learned
 */
export async function refineBlocks(
  model: Model,
  simulated: Model,
  plan: Plan,
  layers: readonly WeightedLayer[],
  starts: readonly [SolvedLayers, ...SolvedLayers[]],
  data: LayerData,
  { options, nearest, sparse, cache }: BlockSettings,
  ctx: Context,
): Promise<SolvedLayers> {
  const [solved] = starts;
  const { batches, fitBatches } = await readBatches(data);
  const biases = new Map([...solved.biases].map(([name, t]) => [name, storeTensor(t)] as const));
  const {
    weights,
    biases: learned,
    reports,
  } = await solveBlocks(
    {
      model,
      simulated: withInitializers(
        withRoundedWeights(simulated, plan, solved.weights, () => true),
        biases,
      ),
      plan,
      layers,
      starts: starts.map((values, i) => ({ ...values, name: STARTS[i] ?? '' })),
      nearest,
      sparse,
      batches,
      fitBatches,
      ...(cache === undefined ? {} : { cache }),
    },
    options,
    ctx,
  );
  const blockOf = new Map(reports.flatMap((report) => report.layers.map((node) => [node, report] as const)));
  return {
    weights: new Map([...solved.weights, ...weights]),
    biases: new Map([...solved.biases, ...learned]),
    reports: solved.reports.map((report) => {
      const block = blockOf.get(report.node);
      return block === undefined
        ? report
        : { ...report, solver: block.adopted ? 'block' : report.solver, block };
    }),
  };
}
