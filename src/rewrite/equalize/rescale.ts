/** Writing factors into a model: its channel groups divided, and the constants around them made up for it. */
import { loadTensor, namesOf, renameValues, storeTensor, withGraph, type Model } from '../../onnx/index.js';
import { required } from '../../core/index.js';
import { realsOf, roundReals } from '../constants.js';
import { type ChannelGroup } from './group.js';

/** What each channel of a group is divided by, [channels], all positive. */
export interface GroupScales {
  readonly group: ChannelGroup;
  readonly scales: Float64Array;
}

/** Constants of groups in float64, which scales are applied to in place. */
export interface ScaledWeights {
  /** Elements as they stand, by initializer. */
  readonly values: ReadonlyMap<string, Float64Array>;
  apply(group: ChannelGroup, scales: Float64Array): void;
}

/** The constants of all groups, at their present values. */
export function openWeights(model: Model, groups: readonly ChannelGroup[]): ScaledWeights {
  const values = new Map<string, Float64Array>();
  for (const { initializer } of groups.flatMap((g) => [...g.producers, ...g.consumers])) {
    const stored = required(model.graph.initializers.get(initializer), initializer);
    values.set(initializer, required(realsOf(loadTensor(stored, initializer)), initializer).slice());
  }
  return {
    values,
    apply: ({ producers, consumers }, scales) => {
      for (const { initializer, power, channelOf } of [...producers, ...consumers]) {
        const elements = required(values.get(initializer), initializer);
        for (let i = 0; i < elements.length; i++) {
          const s = scales[channelOf(i)] as number;
          elements[i] = (elements[i] as number) * (power === 1 ? s : 1 / s);
        }
      }
    },
  };
}

/**
 * The model with other numbers in some constants, rounded once. They and the values that change with them get new names,
 * because a name stands for what a value holds.
 *
 * @param values    names of values that hold other numbers than before
 * @param constants new elements of initializers
 */
export function replaceConstants(
  model: Model,
  values: Iterable<string>,
  constants: ReadonlyMap<string, Float64Array>,
): Model {
  const { graph } = model;
  const names = freshNames(model, [...values, ...constants.keys()]);
  const initializers = new Map(graph.initializers);
  for (const [name, elements] of constants) {
    const before = loadTensor(required(graph.initializers.get(name), name), name);
    initializers.delete(name);
    initializers.set(required(names.get(name), name), storeTensor(roundReals(before, before.dims, elements)));
  }
  return withGraph(model, { ...renameValues(graph, names), initializers });
}

/** `x` → `x_equalized`, also when it was equalized before. */
function freshNames({ graph }: Model, names: readonly string[]): Map<string, string> {
  const taken = namesOf(graph);
  return new Map(
    [...new Set(names)].map((name) => {
      const base = `${name.replace(/_equalized(_\d+)?$/, '')}_equalized`;
      let fresh = base;
      for (let i = 1; taken.has(fresh); i++) fresh = `${base}_${i}`;
      taken.add(fresh);
      return [name, fresh];
    }),
  );
}

/** The model with these groups divided as far as `weights` says. */
export function rescaledModel(
  model: Model,
  groups: readonly ChannelGroup[],
  { values }: ScaledWeights,
): Model {
  const constants = groups.flatMap((g) => [...g.producers, ...g.consumers].map((c) => c.initializer));
  return replaceConstants(
    model,
    groups.flatMap((g) => [...g.values.keys()]),
    new Map(constants.map((name) => [name, required(values.get(name), name)])),
  );
}

/** The model with every group divided by its scales. */
export function rescale(model: Model, scaled: readonly GroupScales[]): Model {
  const groups = scaled.map(({ group }) => group);
  const weights = openWeights(model, groups);
  for (const { group, scales } of scaled) weights.apply(group, scales);
  return rescaledModel(model, groups, weights);
}
