/** Sparsity of activations as a section: what layers read that is zero, or so small that it can be left out. */
import { type ActivationsResult } from './result.js';
import { cell, left, right, type Section } from './section.js';
import { significant } from './units.js';

/** One row a layer. */
export function activationSection(result: ActivationsResult): Section {
  const { sites, target, loss, predictedSavedMacs: saved, quantizedZeros } = result;
  const share = (x: number | undefined): string => (x === undefined ? '–' : `${(100 * x).toFixed(1)} %`);
  const split = ({ fit, heldOut }: { fit: number; heldOut?: number }, show: (x: number) => string): string =>
    `${show(fit)}${heldOut === undefined ? '' : ` / ${show(heldOut)}`}`;
  const wanted = target.kind === 'cett' ? `CETT ${target.value}` : `perplexity + ${target.value} %`;
  return {
    title: 'Activation sparsity',
    lead:
      `Inputs of layers that are zero, and that thresholds for ${wanted} leave out (on samples the thresholds were ` +
      `chosen on / on others). Output ${loss.kind} against the dense model: ${split(loss, significant)}. Predicted, not ` +
      `measured: ${share(saved.zeros)} of all multiplications are with zeros, ${share(saved.sparse)} with thresholds` +
      (saved.quantized === undefined ? '' : `, ${share(saved.quantized)} in the quantized model`) +
      '; kernels that skip them are not in onnxruntime.',
    columns: [
      left('node'),
      left('behind'),
      right('zeros'),
      ...(quantizedZeros === undefined ? [] : [right('zeros, quantized')]),
      right('left out'),
      right('CETT'),
    ],
    rows: sites.map((site) => [
      cell(site.node),
      cell(site.activation),
      cell(share(site.zeros)),
      ...(quantizedZeros === undefined ? [] : [cell(share(quantizedZeros[site.node]))]),
      cell(split(site.sparsity, share)),
      cell(split(site.cett, significant)),
    ]),
  };
}
