/** engine: onnxruntime as the compute engine — sessions, types and shapes of values, probes, slices, kernel audit. */
export {
  openSession,
  runtimeVersion,
  type Feeds,
  type Session,
  type SessionOptions,
  type SessionValue,
} from './session.js';
export { CAN_START_SESSIONS, openSessionThread } from './session-thread.js';
export { inferValueTypes, withOutputs } from './value-types.js';
export { auditKernels, optimizedGraph, type AuditedNode, type KernelAudit } from './kernel-audit.js';
export { NO_CARRY, createRunner, probe, readAll, type Batch, type Carry, type Runner } from './probe.js';
