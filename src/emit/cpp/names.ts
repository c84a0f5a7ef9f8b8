/** C++ identifiers for names of values and nodes. */

/** Gives every name an identifier of its own. */
export function createIdentifiers(): (name: string) => string {
  const known = new Map<string, string>();
  const taken = new Set<string>(RESERVED);
  return (name) => {
    const found = known.get(name);
    if (found !== undefined) return found;
    const base = cIdentifier(name);
    let identifier = base;
    for (let i = 1; taken.has(identifier); i++) identifier = `${base}_${i}`;
    taken.add(identifier);
    known.set(name, identifier);
    return identifier;
  };
}

/** Letters, digits and underscores; not starting with a digit or underscore, without runs of underscores. */
export function cIdentifier(name: string): string {
  const plain = name
    .replace(/[^A-Za-z0-9]+/g, '_')
    .replace(/^_+|_+$/g, '')
    .replace(/_+/g, '_');
  return /^[A-Za-z]/.test(plain) ? plain : `v_${plain}`;
}

/** Keywords that could be names of tensors, and names the kernels use. */
const RESERVED = [
  'auto bool break case char class const continue default delete do double else enum explicit export extern false float',
  'for friend goto if inline int long mutable namespace new operator private protected public register return short',
  'signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void',
  'volatile while and or not xor rescale wrap quantize dequantize convolution matrix_product window_sum window_max',
  'axis_sum lookup difference product power_of_two floor_shift round_shift into_word square_root floor_divide softmax',
  'layer_norm copy_from copy_to gather run run_codes run_fixed Rescale Rounding Overflow Word Window View',
].flatMap((line) => line.split(' '));
