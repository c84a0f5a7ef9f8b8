/** `fxq quantize`: a float model in, a quantized model and its manifest out. */
import { Flags } from '@oclif/core';
import { BaseCommand } from '../cli/base-command.js';
import { dataFlags, dataKeys, modelArgument, type FlagKeys } from '../cli/flags.js';
import { painter } from '../cli/style.js';
import type { QuantizeResult } from '../pipeline/index.js';
import type { ParetoFile } from '../search/index.js';

const KEYS: FlagKeys = {
  ...dataKeys('data'),
  model: ['model'],
  target: ['target'],
  calibration: ['calibration', 'file'],
  method: ['calibration', 'method'],
  percentile: ['calibration', 'percentile'],
  preset: ['quantize', 'preset'],
  weights: ['quantize', 'weights'],
  activations: ['quantize', 'activations'],
  granularity: ['quantize', 'granularity'],
  emit: ['quantize', 'emit'],
  'cpp-types': ['quantize', 'cppTypes'],
  accumulator: ['quantize', 'accumulator'],
  'accumulator-overflow': ['quantize', 'accumulatorOverflow'],
  'weight-range': ['quantize', 'weightRange'],
  'binary-point': ['quantize', 'binaryPoint'],
  'word-length': ['quantize', 'wordLength'],
  resolution: ['quantize', 'resolution'],
  epsilon: ['quantize', 'epsilon'],
  solver: ['quantize', 'solver'],
  effort: ['quantize', 'effort'],
  importance: ['quantize', 'importance'],
  equalize: ['quantize', 'equalize'],
  'smooth-alpha': ['quantize', 'smoothAlpha'],
  'smooth-insert': ['quantize', 'smoothInsert'],
  'activation-sparsity': ['quantize', 'activationSparsity'],
  'bias-correction': ['quantize', 'biasCorrection'],
  cache: ['quantize', 'cache'],
  sparsity: ['quantize', 'sparsity'],
  'sparsity-method': ['quantize', 'sparsityMethod'],
  'permute-channels': ['quantize', 'permuteChannels'],
  distill: ['quantize', 'distill'],
  'avoid-saturation': ['quantize', 'avoidSaturation'],
  include: ['quantize', 'include'],
  exclude: ['quantize', 'exclude'],
  out: ['quantize', 'out'],
  'external-data': ['quantize', 'externalData'],
  locked: ['quantize', 'locked'],
  'from-pareto': ['quantize', 'fromPareto'],
  budget: ['quantize', 'budgets'],
};

const repeatable = { multiple: true, multipleNonGreedy: true } as const;
const SELECTOR =
  "a name, '/expression/', op:TYPE, or FROM..TO for all nodes between two nodes or values. Repeatable.";

export default class Quantize extends BaseCommand {
  static override summary = 'Quantize a model.';

  static override description =
    'Writes the quantized model and, beside it, a manifest with every decision. Activations that are quantized ahead ' +
    'of time need calibration data or a file written by fxq calibrate.';

  static override usage = 'quantize MODEL [FLAGS]';

  static override examples = [
    {
      description: '8 bits throughout, calibrated on 256 samples:',
      command: '<%= config.bin %> quantize model.onnx --data train.npz --samples 256',
    },
    {
      description: 'Another range method from the same statistics, without running the model again:',
      command:
        '<%= config.bin %> quantize model.onnx --calibration model.fxq --method entropy --out model.entropy.onnx',
    },
    {
      description: 'Keep the head and every Softmax float:',
      command:
        "<%= config.bin %> quantize model.onnx --calibration model.fxq --exclude '/head/' --exclude op:Softmax",
    },
    {
      description: 'True fixed point, as a model and as C++ with a test bench:',
      command:
        '<%= config.bin %> quantize model.onnx --data train.npz --weights fix8 --activations fix8 --emit cpp',
    },
    {
      description: 'The best mix of widths in a quarter of the float size:',
      command: '<%= config.bin %> quantize model.onnx --data train.npz --budget size=25%',
    },
    {
      description: '6-bit fixed point whose binary points are learned:',
      command:
        '<%= config.bin %> quantize model.onnx --data train.npz --weights fix6 --activations fix6 --binary-point learned',
    },
    {
      description: 'No data at hand: activations are quantized at run time:',
      command: '<%= config.bin %> quantize model.onnx --preset dynamic',
    },
  ];

  static override args = { model: modelArgument };

  static override flags = {
    ...dataFlags,
    calibration: Flags.string({
      helpGroup: 'DATA',
      helpValue: 'FILE',
      description:
        'Statistics written by fxq calibrate, instead of a run over the data; with --data, --method auto still measures.',
    }),
    preset: Flags.string({
      char: 'p',
      helpValue: 'NAME',
      description: 'int8, int8-sym, int16, dynamic or weight-only. [default: int8]',
    }),
    weights: Flags.string({
      helpValue: 'FORMAT',
      description: 'Number format of weights: int8, int4, float …',
    }),
    activations: Flags.string({
      helpValue: 'FORMAT',
      description: 'Number format of activations: uint8, int8, uint16, float, dynamic …',
    }),
    granularity: Flags.string({
      helpValue: 'KIND',
      description: 'Weights that share a scale: channel, tensor, or block:N. [default: channel]',
    }),
    method: Flags.string({
      helpValue: 'NAME',
      description:
        'Range of activations: auto (the best of these on the calibration data), minmax, moving-average, percentile, entropy, mse, layer-error or power-of-two. [default: auto]',
    }),
    percentile: Flags.string({
      helpValue: 'P',
      description: 'Percentage of the values that lie inside the range, for --method percentile.',
    }),
    'weight-range': Flags.string({
      helpValue: 'NAME',
      description:
        'Scale of weights: range to cover the largest, mse for the least squared error, or auto for the better of the two. [default: auto]',
    }),
    'binary-point': Flags.string({
      helpValue: 'NAME',
      description:
        'Binary points of formats that leave them open (fix8): ranges, exhaustive (least squared error), or learned by ' +
        'gradient through blocks of the model. Replaces --method and --weight-range.',
    }),
    'word-length': Flags.string({
      helpValue: 'NAME',
      description:
        'Bits of fixed-point formats: given, or information: for every tensor the shortest word whose histogram cannot be told from the float one. [default: given]',
    }),
    resolution: Flags.string({
      helpValue: 'BINS',
      description: 'With --word-length information: bins of the histograms. [default: 100]',
    }),
    epsilon: Flags.string({
      helpValue: 'KL',
      description: 'With --word-length information: largest KL divergence, nats. [default: 0.001]',
    }),
    solver: Flags.string({
      helpValue: 'NAME',
      description:
        'How weights are rounded: nearest, stochastic, gptq, descent (over the whole grid), adaround, lowrank, adaquant, nupes ' +
        '(powerN), block (several layers at once), or auto (where there are data, descent below 8 bits and for sums of powers of two, nupes for powerN). [default: auto]',
    }),
    effort: Flags.string({
      helpValue: 'LEVEL',
      description:
        'Work of solvers: fast (one pass over a part of the data), balanced (front to back), best (more starts). [default: balanced]',
    }),
    importance: Flags.boolean({
      allowNo: true,
      description:
        "Solvers weigh the rows that layers see by the squared gradient of the network's output, from a backward pass without labels.",
    }),
    equalize: Flags.string({
      ...repeatable,
      helpValue: 'STEP',
      description:
        'Even channels out before quantizing, without changing what the model computes: cross-layer (neighbouring weights), ' +
        'absorb (large biases before a Relu), smooth (activations of matrix products against their weights). Repeatable.',
    }),
    'smooth-alpha': Flags.string({
      helpValue: 'A',
      description:
        'Share of the difficulty that --equalize smooth moves into weights, 0 to 1, or auto for the best on calibration ' +
        'samples, activation by activation. [default: auto]',
    }),
    'smooth-insert': Flags.boolean({
      allowNo: true,
      description:
        'Smooth also where nothing takes the factors, by a multiplication in front of the products.',
    }),
    'bias-correction': Flags.string({
      helpValue: 'NAME',
      description:
        'How biases make up for the shift of the mean that rounding to nearest leaves: none, analytic (from the means of ' +
        "what float layers see) or empirical (from the quantized layers' outputs, front to back). [default: none]",
    }),
    cache: Flags.string({
      helpValue: 'FOLDER',
      description:
        'Where finished layers are kept, so that an interrupted run continues. [default: .fxq/cache]',
    }),
    sparsity: Flags.string({
      helpValue: 'N:M',
      description:
        'Keep N of every M weights along the input channels (2:4 for sparse tensor cores). A packed copy is written beside the model.',
    }),
    'sparsity-method': Flags.string({
      helpValue: 'NAME',
      description:
        'How kept weights are chosen: joint (mask and codes together), sparsegpt, wanda or magnitude. [default: joint]',
    }),
    'permute-channels': Flags.boolean({
      allowNo: true,
      description:
        'With --sparsity: reorder channels so that the pattern keeps more. The model computes the same.',
    }),
    'activation-sparsity': Flags.string({
      helpValue: 'TARGET',
      description:
        'Leave out small activations in front of layers: cett=0.2 (relative error of every layer) or ppl=1% (rise of the perplexity).',
    }),
    distill: Flags.boolean({
      allowNo: true,
      description:
        'After rounding, learn codes, scales and biases from the float model on the data, without labels; sparse weights stay sparse.',
    }),
    'avoid-saturation': Flags.boolean({
      allowNo: true,
      description:
        'Take one bit from weights of channels whose 16-bit sums could saturate on CPUs without VNNI.',
    }),
    include: Flags.string({
      ...repeatable,
      helpValue: 'NODES',
      description: `Quantize only these nodes: ${SELECTOR}`,
    }),
    exclude: Flags.string({
      ...repeatable,
      helpValue: 'NODES',
      description: `Keep these nodes float: ${SELECTOR}`,
    }),
    target: Flags.string({
      helpValue: 'NAME',
      description:
        'What the model is to run on: onnxruntime-cpu, generic or integer. [default: onnxruntime-cpu; integer for --emit integer and cpp]',
    }),
    emit: Flags.string({
      helpValue: 'FORM',
      description:
        'How the model is written: qdq, qoperator, integer (no float arithmetic, standard operators), or cpp (integer, and C++17 beside it). [default: qdq]',
    }),
    out: Flags.string({
      char: 'o',
      helpValue: 'FILE',
      description: 'Model to write. [default: the model with the preset or its formats in its name]',
    }),
    'cpp-types': Flags.string({
      helpValue: 'NAME',
      description:
        'With --emit cpp, what integers are declared as: fixed-width (std::int8_t and its kind), or ap_fixed (ap_int and ap_fixed of the real widths, for high-level synthesis). [default: fixed-width]',
    }),
    accumulator: Flags.string({
      helpValue: 'BITS',
      description:
        'With --emit integer or cpp: bits that no sum of products may exceed; weights get coarser where needed.',
    }),
    'accumulator-overflow': Flags.string({
      helpValue: 'POLICY',
      description:
        'With --emit integer or cpp, what becomes of sums beyond --accumulator (32 bits where it is not given): split (partial sums in 64 bits), detect (refused when samples show one), or drop-bits (coarser weights). [default: split; drop-bits with --accumulator]',
    }),
    'external-data': Flags.boolean({
      allowNo: true,
      description: 'Put weights into a file beside the model even when they would fit into it.',
    }),
    'from-pareto': Flags.string({
      helpValue: 'FILE:POINT',
      description: 'Formats of every layer from a point of a file that fxq search wrote.',
    }),
    budget: Flags.string({
      ...repeatable,
      helpValue: 'COST=AMOUNT',
      description:
        'Search mixed precision first (fxq search) and write the best assignment within: size=25%, bops=10%. Repeatable.',
    }),
    locked: Flags.boolean({
      allowNo: true,
      description: 'Fail when the decisions differ from those in the manifest beside the output.',
    }),
    'dry-run': Flags.boolean({
      default: false,
      description: 'Show what would be quantized and why, and write nothing.',
    }),
  };

  async run(): Promise<unknown> {
    const { args, flags } = await this.parse(Quantize);
    return this.execute({ ...args, ...flags }, KEYS, async (loaded, ctx) => {
      const { budgetSettings, quantizeSettings } = await import('../config/index.js');
      const settings = quantizeSettings(loaded);
      const searching = budgetSettings(loaded, settings.out);
      const { quantize, quantizeWithin } = await import('../pipeline/index.js');
      const clock = (): number => performance.now();
      const request = { ...settings, dryRun: flags['dry-run'], clock };
      const result =
        searching === undefined
          ? await quantize(request, ctx)
          : await this.#explained(await quantizeWithin(request, searching, ctx));
      await this.#show(result, flags['dry-run']);
      const { out, manifestFile, plan, audit, saturation, synthetic, bytes } = result;
      const { equalization, permutation, biases, activations, distilled } = result;
      return {
        out,
        manifest: manifestFile,
        bytes,
        ...(activations === undefined ? {} : { activations }),
        plan,
        kernels: audit,
        saturation,
        synthetic,
        ...(equalization === undefined ? {} : { equalization }),
        ...(permutation === undefined ? {} : { permutation }),
        biases,
        ...(distilled === undefined ? {} : { distillation: distilled }),
        notes: ctx.notes,
      };
    });
  }

  /** Shows what each layer got under the budgets, and why. */
  async #explained<T extends { readonly pareto: ParetoFile }>(result: T): Promise<T> {
    const { contestSentence, explanationTable, paretoTable } = await import('../search/index.js');
    const point = result.pareto.points.find((p) => p.name === 'budget');
    this.log(`${paretoTable(result.pareto)}\n`);
    if (point !== undefined) this.log(`${explanationTable(point)}\n\n${contestSentence(point)}\n`);
    return result;
  }

  async #show(
    {
      out,
      manifest,
      manifestFile,
      plan,
      audit,
      layers,
      bytes,
      equalization,
      permutation,
      biases,
      activations,
    }: QuantizeResult,
    dryRun: boolean,
  ): Promise<void> {
    const {
      activationSection,
      evidenceSections,
      formatBytes,
      formatSection,
      kernelSection,
      planSection,
      transformSections,
      weightSection,
    } = await import('../report/index.js');
    const paint = painter(process.stdout);
    const sections = [
      ...(dryRun ? [planSection(plan)] : []),
      ...transformSections({
        ...(equalization === undefined ? {} : { equalization }),
        ...(permutation === undefined ? {} : { permutation }),
        biases,
      }),
      ...evidenceSections(manifest.formats ?? {}),
      ...(layers.length === 0 ? [] : [weightSection(layers)]),
      kernelSection(audit),
      ...(activations === undefined ? [] : [activationSection(activations)]),
    ];
    this.log(sections.map((section) => formatSection(section, paint)).join('\n\n'));
    const size = `weights ${formatBytes(bytes.float)} → ${formatBytes(bytes.quantized)}`;
    this.log(dryRun ? '\nNothing was written.' : `\nWrote ${out} (${size}) and ${manifestFile}.`);
  }
}
