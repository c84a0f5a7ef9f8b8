/** Scores: values that softmaxes read and nothing else does. */
import { namesRead, type Graph, type Node } from '../onnx/index.js';

const isSoftmax = ({ domain, opType }: Node): boolean => domain === '' && opType === 'Softmax';

/** Names of values of a graph that only softmaxes read. */
export function softmaxInputs({ nodes, outputs }: Graph): Set<string> {
  const scores = nodes.filter(isSoftmax).map((n) => n.inputs[0] ?? '');
  const others = nodes.filter((n) => !isSoftmax(n)).flatMap((n) => [...namesRead(n)]);
  const elsewhere = new Set([...others, ...outputs.map((o) => o.name)]);
  return new Set(scores.filter((value) => !elsewhere.has(value)));
}
