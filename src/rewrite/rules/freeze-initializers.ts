/** Replaces an initializer that is also a graph input with a plain constant. */
import { withGraph } from '../../onnx/index.js';
import { type Pass } from '../pass.js';

/** First IR version in which an initializer need not be an input. */
const IR_OPTIONAL_INPUTS = 4;

export const freezeInitializers: Pass = {
  name: 'freeze-initializers',
  run: (model) => {
    const { graph, irVersion } = model;
    const frozen = graph.inputs.filter((input) => graph.initializers.has(input.name));
    // Before IR 4 every initializer had to be an input; since then such an input is a default the caller may override.
    const isDefault = irVersion >= IR_OPTIONAL_INPUTS;
    const notes = frozen.map(({ name }) => ({
      level: 'warn' as const,
      code: 'prepare/freeze-initializers',
      message: `input '${name}' has a default value, which is now fixed: the result no longer has this input`,
    }));
    const inputs = graph.inputs.filter((input) => !graph.initializers.has(input.name));
    if (frozen.length === 0 && isDefault) return { model, changed: 0, notes: [] };
    return {
      model: {
        ...withGraph(model, { ...graph, inputs }),
        irVersion: Math.max(irVersion, IR_OPTIONAL_INPUTS),
      },
      changed: frozen.length,
      notes: isDefault ? notes : [],
    };
  },
};
