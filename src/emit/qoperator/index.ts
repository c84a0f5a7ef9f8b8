/** emit/qoperator: QDQ graphs rewritten into operators that take and give codes. */
export { emitQOperator } from './qoperator.js';
