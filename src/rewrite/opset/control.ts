/** Steps of operators with subgraphs. */
import {
  graph as createGraph,
  intAttribute,
  intsAttribute,
  node as createNode,
  withAttributes,
  type Attribute,
  type Graph,
  type Node,
  type ValueInfo,
} from '../../onnx/index.js';
import { refuse } from '../rule.js';
import { unsafe, withoutAttributes, type Site, type Step, type StepTable } from './step.js';

/**
 * Opset 9: the batch axis and the sequence lengths went. A batch is a Scan over its samples, each of which is scanned
 * as before: states and sequences are what the outer Scan runs over.
 */
const scanBatch: Step = (node, site) => {
  const [lengths = '', ...values] = node.inputs;
  const body = node.attributes.get('body');
  if (lengths !== '') return refuse('it has sequence lengths, which opset 9 removed');
  if (body?.kind !== 'graph') return refuse('it has no body');
  const sample = sampleGraph(node, body, values, site);
  return {
    ...withAttributes(withoutAttributes(node, ['directions']), {
      body: sample,
      num_scan_inputs: values.length,
    }),
    inputs: values,
  };
};

/** The body that scans one sample of a batch. */
function sampleGraph(node: Node, body: Attribute, values: readonly string[], site: Site): Graph {
  const declare = (name: string): ValueInfo => ({ name, type: undefined, proto: {} });
  const inputs = values.map((name) => site.freshName(`${name}_sample`));
  const outputs = node.outputs.map((name) => site.freshName(`${name}_sample`));
  const directions = intsAttribute(node, 'directions');
  const scan = createNode('Scan', inputs, outputs, {
    body,
    num_scan_inputs: intAttribute(node, 'num_scan_inputs', 0),
    ...(directions && { scan_input_directions: directions }),
  });
  return createGraph({ inputs: inputs.map(declare), outputs: outputs.map(declare), nodes: [scan] });
}

export const CONTROL_STEPS: StepTable = {
  Attention: { 25: unsafe('what changed in it is not known to fxq') },
  Scan: { 9: scanBatch },
};
