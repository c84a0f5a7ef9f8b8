/** Weights of a graph put at the values that their codes stand for. */
import { required } from '../core/index.js';
import { dequantize } from '../formats/index.js';
import { storeTensor, type Model } from '../onnx/index.js';
import { solvedFormat, type Plan, type SolvedWeight } from '../plan/index.js';
import { tensor } from '../tensor/index.js';
import { withInitializers } from './moments/walk.js';
import { groupingOf } from './round-to-nearest.js';

/** The model with some float weights replaced by quantized ones; what is no initializer of the main graph stays. */
export function withRoundedWeights(
  model: Model,
  plan: Plan,
  solved: ReadonlyMap<string, SolvedWeight>,
  isWanted: (initializer: string) => boolean,
): Model {
  const { initializers } = model.graph;
  const rounded = [...solved.values()].filter(
    (w) => isWanted(w.initializer) && initializers.has(w.initializer),
  );
  return withInitializers(
    model,
    new Map(
      rounded.map((weight) => {
        const planned = required(plan.weights[weight.initializer], weight.initializer);
        const { dims } = required(initializers.get(weight.initializer), weight.initializer);
        const grouping = groupingOf(planned.granularity, dims);
        const values = dequantize(solvedFormat(planned, weight), weight, grouping);
        return [weight.initializer, storeTensor(tensor('float32', dims, values))] as const;
      }),
    ),
  );
}
