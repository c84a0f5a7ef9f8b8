/** search: which layer gets which format — sensitivity, costs, allocation under budgets, Pareto fronts. */
export * from './allocation/index.js';
