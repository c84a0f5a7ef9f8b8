/**
 * Replaces a `BatchNormalization(x)` that no layer took with a depthwise 1×1 `Conv(x)`: with one weight a channel,
 * quantization per channel loses nothing, and onnxruntime has an integer kernel for it and none for the normalization.
 */
import { node as createNode, type Node } from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { affineMap, type Affine } from '../affine.js';
import { isOperator, outputOf } from '../pattern.js';
import { isRefusal, refuse, rule } from '../rule.js';

interface Match {
  readonly node: Node;
}

interface Ready extends Match {
  readonly map: Affine;
  readonly rank: number;
}

export const batchNormToConv = rule<Match, Ready>({
  name: 'batchnorm-to-conv',

  pattern: (node) => (isOperator(node, 'BatchNormalization') ? { node } : undefined),

  check: ({ node }, scope) => {
    const { dtype, dims } = scope.type(node.inputs[0] ?? '') ?? {};
    const channels = scope.constant(node.inputs[1] ?? '')?.dims[0];
    if (dims === undefined || channels === undefined)
      return refuse('its input has no known rank, or its scale is not constant');
    if (dims.length < 3) return refuse(`its input has ${dims.length} axes and a convolution needs 3`);
    if (dtype !== 'float32') return refuse(`its input is ${String(dtype)}`);
    const rank = dims.length;
    const map = affineMap(node, 0, { channels, fromEnd: rank - 1, rank }, scope);
    return isRefusal(map) ? map : { node, map, rank };
  },

  rewrite: ({ node, map, rank }, { graph }) => {
    const channels = map.scale.length;
    const kernel = new Array<number>(rank - 2).fill(1);
    const weight = graph.addInitializer(
      `${node.name}_weight`,
      tensor('float32', [channels, 1, ...kernel], Float32Array.from(map.scale)),
    );
    const bias = graph.addInitializer(
      `${node.name}_bias`,
      tensor('float32', [channels], Float32Array.from(map.shift)),
    );
    const attributes = { group: channels, kernel_shape: kernel };
    const conv = createNode('Conv', [node.inputs[0] ?? '', weight, bias], [outputOf(node)], attributes, {
      name: node.name,
    });
    graph.replace(node, conv);
  },
});
