/** plan: the decisions — formats, granularity, parameters and reasons per tensor — and the targets they obey. */
export * from './plan.js';
