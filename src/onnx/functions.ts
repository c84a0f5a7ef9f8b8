/** Functions that a model defines for itself. fxq keeps them as they are and looks only at what they depend on. */
import { standardDomain } from './decode.js';
import { type Model } from './model.js';
import { toNumber } from './proto.js';

export interface ModelFunction {
  readonly name: string;
  /** Version of the standard operator set its body is written for; undefined when it uses none of it. */
  readonly opset: number | undefined;
}

/** The functions of a model. */
export function functionsOf(model: Model): ModelFunction[] {
  return (model.rest?.functions ?? []).map(({ name, opsetImport }) => {
    const standard = opsetImport?.find(({ domain }) => standardDomain(domain) === '');
    return { name: name ?? '', opset: standard && toNumber(standard.version) };
  });
}
