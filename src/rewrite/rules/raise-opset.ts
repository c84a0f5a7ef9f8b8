/** Raises the opset to the first one that has the operators the model spells out, so that they can be fused. */
import { FxqError, type Note } from '../../core/index.js';
import { opsetOf, type Model } from '../../onnx/index.js';
import { isSpelled, type Fusion } from '../fusion.js';
import { convertOpset } from '../opset/convert.js';
import { type Pass, type PassResult } from '../pass.js';

/** @param limit highest opset to raise to; what needs more stays spelled out */
export function raiseOpset(fusions: readonly Fusion[], limit: number): Pass {
  const name = 'raise-opset';
  return {
    name,
    run: async (model) => {
      const opset = opsetOf(model);
      const wanted = fusions.filter((f) => f.since > opset && f.since <= limit && isSpelled(f, model));
      const target = Math.max(opset, ...wanted.map((f) => f.since));
      if (target === opset) return { model, changed: 0, notes: [] };
      const why = `for ${wanted.map((f) => f.operator).join(' and ')}`;
      return convert(model, target, why, name);
    },
  };
}

async function convert(model: Model, target: number, why: string, name: string): Promise<PassResult> {
  const note = (message: string): Note => ({ level: 'info', code: `prepare/${name}`, message });
  try {
    const raised = await convertOpset(model, target);
    return { model: raised.model, changed: 1, notes: [note(`opset ${target} ${why}`), ...raised.notes] };
  } catch (error) {
    if (!(error instanceof FxqError) || error.code !== 'E_OPSET') throw error;
    return { model, changed: 0, notes: [note(`opset ${opsetOf(model)} stays: ${error.message}`)] };
  }
}
