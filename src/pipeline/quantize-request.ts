/** What the quantize program is asked for, what it answers, and requests that contradict themselves. */
import { type RangeChoice } from '../calibrate/index.js';
import { FxqError, checkOutputs, type Context } from '../core/index.js';
import { checkFormOptions, isIntegerForm, type Form, type FormOptions } from '../emit/index.js';
import { type KernelAudit } from '../engine/index.js';
import { type FitMethod, type WordLengthOptions } from '../formats/index.js';
import { type Graph, type Model } from '../onnx/index.js';
import { checkTensorRules, type Plan, type PlanSettings } from '../plan/index.js';
import { type BinaryPointMethod } from '../report/index.js';
import { type EqualizeReport, type EqualizeRequest } from '../rewrite/index.js';
import {
  type BiasReport,
  type ChannelPermutation,
  type DistillReport,
  type LayerReport,
  type SaturationRisk,
  type SparsityTarget,
} from '../solve/index.js';
import { type ActivationSparsity } from './activation-sparsity.js';
import { type StatisticsSource } from './calibrate.js';
import { type ResolvedRanges } from './choose-ranges.js';
import { type BiasChoice } from './correct-biases.js';
import { manifestPath, type Manifest } from './manifest.js';
import { type SolverRequest } from './solve-layers.js';
import { type Speed } from './speed.js';

export interface QuantizeRequest {
  readonly model: string;
  /** Path of the quantized model; the manifest goes beside it. */
  readonly out: string;
  readonly plan: PlanSettings;
  readonly emit: Form;
  readonly form?: FormOptions;
  readonly ranges: RangeChoice;
  /** How weight scales are chosen before rounding. */
  readonly weightRange: FitMethod | 'auto';
  /** How binary points are chosen, in place of the two above. */
  readonly binaryPoint?: BinaryPointMethod;
  /** Words of fixed-point formats by information content. */
  readonly wordLength?: WordLengthOptions;
  /** Calibration data, or a file written by `fxq calibrate`; neither when no activation is quantized ahead of time. */
  readonly statistics?: StatisticsSource;
  /** How much work solvers may do, and where they keep finished layers. */
  readonly solving: SolverRequest;
  /** Transforms of the float model before anything is planned; none when absent. */
  readonly equalize?: EqualizeRequest;
  /** Permutes channels so that sparse patterns lose less. */
  readonly permuteChannels?: boolean;
  /** Leaves out small activations in front of layers, as far as this much loss allows. */
  readonly activationSparsity?: SparsityTarget;
  /** How biases of layers rounded to nearest make up for the shift of the mean; not at all when absent. */
  readonly biasCorrection?: BiasChoice;
  /** Keeps the codes of channels that could saturate on processors without VNNI within ±64. */
  readonly avoidSaturation: boolean;
  /** Bits that no sum of an integer form may exceed; weights of layers that would get coarser. */
  readonly accumulator?: number;
  readonly externalData: boolean;
  /** Plans and solves, writes nothing. */
  readonly dryRun: boolean;
  /** Fails when the manifest beside the output records other decisions. */
  readonly locked: boolean;
  /** Milliseconds since any moment; with it, and with data, the models' speed is compared. */
  readonly clock?: () => number;
}

export interface QuantizeResult {
  readonly out: string;
  readonly manifest: Manifest;
  readonly manifestFile: string;
  readonly source: Model;
  readonly model: Model;
  /** What weights and other constants take in both models. */
  readonly bytes: { readonly float: number; readonly quantized: number };
  readonly plan: Plan;
  /** How scales were chosen, where that was left to measurement. */
  readonly scales: ResolvedRanges;
  readonly audit: KernelAudit;
  readonly saturation: readonly SaturationRisk[];
  /** What thresholds on activations do, where asked for. */
  readonly activations?: ActivationSparsity;
  /** What solvers did. */
  readonly layers: readonly LayerReport[];
  /** What was evened out before. */
  readonly equalization?: EqualizeReport;
  /** What permuting channels was worth. */
  readonly permutation?: ChannelPermutation;
  /** Biases that were corrected. */
  readonly biases: readonly BiasReport[];
  /** What distillation learned. */
  readonly distilled?: DistillReport;
  /** True when calibrated on random or synthesized data. */
  readonly synthetic: boolean;
  readonly speed?: Speed;
}

/**
 * Refuses what cannot be done before anything is read.
 *
 * @throws FxqError E_OUTPUT, E_USAGE
 */
export function checkRequest(request: QuantizeRequest): void {
  refuseOverwrite(request);
  refuseUnguarded(request);
  checkFormOptions(request.emit, request.form ?? {});
  refuseIntegerThresholds(request);
}

/**
 * Refuses a plan that its form cannot express, and says when there is nothing in it.
 *
 * @throws FxqError E_USAGE for integer arithmetic without quantized activations, E_CONFIG for rules of unknown values
 */
export function checkPlan(
  graph: Graph,
  plan: Plan,
  { emit, activationSparsity, plan: { tensors } }: QuantizeRequest,
  ctx: Context,
): void {
  if (isIntegerForm(emit) && Object.keys(plan.activations).length === 0) {
    throw new FxqError(
      'E_USAGE',
      `the form ${emit} computes with activations quantized ahead of time, and the plan has none`,
      [
        'Choose --activations uint8 and --weights int8, or --emit qdq.',
        'fxq quantize --emit qdq --dry-run says why nodes stay float.',
      ],
    );
  }
  checkTensorRules(graph, tensors);
  const quantized = new Set(Object.values(plan.activations).map(({ value }) => value));
  for (const { tensor } of tensors.filter((rule) => !quantized.has(rule.tensor))) {
    const message = `the rule for '${tensor}' changes nothing: no node reads or writes it quantized`;
    ctx.note({ level: 'warn', code: 'idle-rule', message });
  }
  if (activationSparsity !== undefined) return;
  if (Object.values(plan.nodes).every(({ decision }) => decision === 'float')) {
    const message = 'nothing is quantized: every node stays float; --dry-run says why';
    ctx.note({ level: 'warn', code: 'nothing-quantized', message });
  }
}

/** Outputs must not replace what they are made from. */
function refuseOverwrite({ model, out, statistics }: QuantizeRequest): void {
  checkOutputs(
    [out, manifestPath(out)],
    [
      ['the float model', model],
      ['the calibration data', statistics?.spec?.path],
      ['the statistics', statistics?.kind === 'file' ? statistics.path : undefined],
    ],
  );
}

/** Learned codes go anywhere on the grid, where these settings promise that some are never used. */
function refuseUnguarded({ solving, avoidSaturation, accumulator }: QuantizeRequest): void {
  if (solving.distill === undefined || (!avoidSaturation && accumulator === undefined)) return;
  throw new FxqError(
    'E_USAGE',
    `distillation moves codes over the whole grid, which ${avoidSaturation ? '--avoid-saturation' : '--accumulator'} forbids`,
    'Give one of the two.',
  );
}

/** Thresholds on activations compare floats. */
function refuseIntegerThresholds({ emit, activationSparsity }: QuantizeRequest): void {
  if (activationSparsity === undefined || !isIntegerForm(emit)) return;
  throw new FxqError(
    'E_USAGE',
    `activation thresholds compare floats in front of layers, and the form ${emit} has no float between layers`,
    'Choose --emit qdq or qoperator, or leave out --activation-sparsity.',
  );
}
