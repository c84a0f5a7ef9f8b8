/** Numbers from attributes as constants of the element type that an input must have. */
import { numberToBfloat16, numberToFloat16, tensor, type Tensor } from '../../tensor/index.js';
import { type Site } from './step.js';

/** A scalar of the element type of `value`; undefined when that is not known or not a float type. */
export function scalarLike(value: string, number: number, site: Site): Tensor | undefined {
  switch (site.type(value)?.dtype) {
    case 'float32':
      return tensor('float32', [], [number]);
    case 'float64':
      return tensor('float64', [], [number]);
    case 'float16':
      return tensor('float16', [], [numberToFloat16(number)]);
    case 'bfloat16':
      return tensor('bfloat16', [], [numberToBfloat16(number)]);
    default:
      return undefined;
  }
}
