/** The vendor's fixed-point types of values, and a function that takes and gives them. */
import { parseFormat, type FixedFormat, apFixedType } from '../../formats/index.js';
import { type Border, type IntegerProgram } from '../integer/index.js';
import { type CppScope } from './scope.js';

/** Whether every value that enters or leaves is fixed point. */
export function hasFixedBorders({ inputs, outputs }: IntegerProgram, scope: CppScope): boolean {
  return [...inputs, ...outputs].every(({ codes }) => apFixed(codes, scope) !== undefined);
}

/** The `ap_fixed` type of a value, modes written out; undefined when its format is no fixed point. */
function apFixed(name: string, scope: CppScope): string | undefined {
  const { format, scale } = scope.value(name);
  const parsed = parseFormat(format);
  return parsed.family === 'fixed' ? apFixedType(parsed as FixedFormat, -Math.log2(scale)) : undefined;
}

function typeName(name: string, scope: CppScope): string {
  return scope.identifier(`${name} t`);
}

/** Names for the types of all fixed-point values. */
export function fixedTypes({ values }: IntegerProgram, scope: CppScope): string {
  const lines = [...values.keys()].flatMap((name) => {
    const type = apFixed(name, scope);
    return type === undefined ? [] : [`using ${typeName(name, scope)} = ${type};\n`];
  });
  return lines.length === 0 ? '' : `\n// What the codes of each value stand for.\n${lines.join('')}`;
}

export function fixedParameters({ inputs, outputs }: IntegerProgram, scope: CppScope): string {
  const pointer = ({ codes }: Border): string =>
    `${typeName(codes, scope)}* ${scope.identifier(codes)}_fixed`;
  return [...inputs.map((border) => `const ${pointer(border)}`), ...outputs.map(pointer)].join(', ');
}

/** `run_fixed`: the bits of `ap_fixed` values are the codes. */
export function fixedFunction(
  program: IntegerProgram,
  scope: CppScope,
  sizeOf: (border: Border) => number,
): string {
  const { inputs, outputs } = program;
  const codes = ({ codes: name }: Border): string => scope.identifier(name);
  const loop = (border: Border, statement: string): string =>
    `  for (std::size_t i = 0; i < ${sizeOf(border)}; ++i) ${statement}\n`;
  return `
void run_fixed(${fixedParameters(program, scope)}) {
${[...inputs, ...outputs]
  .map((border) => `  static ${scope.type(border.codes)} ${codes(border)}[${sizeOf(border)}];\n`)
  .join(
    '',
  )}${inputs.map((b) => loop(b, `${codes(b)}[i] = ${codes(b)}_fixed[i].range();`)).join('')}  run_codes(${[
    ...inputs,
    ...outputs,
  ]
    .map(codes)
    .join(', ')});
${outputs.map((b) => loop(b, `${codes(b)}_fixed[i].range() = ${codes(b)}[i];`)).join('')}}
`;
}
