/** Replaces a Constant node with an initializer. */
import { storeTensor, type Attribute, type Node, type StoredTensor } from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { refuse, rule } from '../rule.js';

interface Match {
  readonly node: Node;
  readonly value: Attribute | undefined;
}

interface Ready {
  readonly node: Node;
  readonly stored: StoredTensor;
}

const STRING = 8;

/** The tensor a Constant node's attribute stands for; undefined for sparse ones and references. */
function constantValue(value: Attribute | undefined): StoredTensor | undefined {
  switch (value?.kind) {
    case 'tensor':
      return value.value;
    case 'float':
      return storeTensor(tensor('float32', [], [value.value]));
    case 'floats':
      return storeTensor(tensor('float32', [value.value.length], value.value));
    case 'int':
      return storeTensor(tensor('int64', [], [value.value]));
    case 'ints':
      return storeTensor(tensor('int64', [value.value.length], value.value));
    case 'string':
      return storeStrings([], [value.value]);
    case 'strings':
      return storeStrings([value.value.length], value.value);
    default:
      return undefined;
  }
}

function storeStrings(dims: readonly number[], stringData: readonly Uint8Array[]): StoredTensor {
  const rest = { dims: [...dims], dataType: STRING, stringData: [...stringData] };
  return { dtype: 'string', dims, source: { kind: 'opaque' }, rest };
}

export const constantsToInitializers = rule<Match, Ready>({
  name: 'constants-to-initializers',

  pattern: (node) => {
    if (node.opType !== 'Constant' || node.domain !== '') return undefined;
    return { node, value: [...node.attributes.values()][0] };
  },

  check: ({ node, value }, { graph }) => {
    const stored = constantValue(value);
    if (stored === undefined) return refuse('its value is sparse or refers to a function attribute');
    const output = node.outputs[0] ?? '';
    return graph.isGraphOutput(output) ? refuse(`'${output}' is a graph output`) : { node, stored };
  },

  rewrite: ({ node, stored }, { graph }) => {
    graph.remove(node);
    graph.initializers.set(node.outputs[0] ?? '', stored);
  },
});
