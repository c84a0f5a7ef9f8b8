/** The second walk: from codes that layer solvers found to blocks learned together. */
import { type Context } from '../../core/index.js';
import { storeTensor, type Model } from '../../onnx/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';
import { type WeightedLayer } from '../layers.js';
import { type LayerData } from '../moments/collect.js';
import { readBatches } from '../moments/batches.js';
import { withInitializers } from '../moments/walk.js';
import { withRoundedWeights } from '../rounded-weights.js';
import { type SolvedLayers } from '../solved.js';
import { solveBlocks, type BlockOptions } from './solve-blocks.js';

export interface BlockSettings {
  readonly options: BlockOptions;
  /** All weights rounded to nearest. */
  readonly nearest: ReadonlyMap<string, SolvedWeight>;
  readonly sparse: ReadonlySet<string>;
}

/** Learns the blocks around some layers, starting from the codes of a layer solver, and reports both. */
export async function refineBlocks(
  model: Model,
  simulated: Model,
  plan: Plan,
  layers: readonly WeightedLayer[],
  solved: SolvedLayers,
  data: LayerData,
  { options, nearest, sparse }: BlockSettings,
  ctx: Context,
): Promise<SolvedLayers> {
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
      start: solved,
      nearest,
      sparse,
      batches,
      fitBatches,
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
