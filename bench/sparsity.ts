/**
 * 2:4 weights on real models: what each way of choosing the kept weights costs, at 8 and 4 bits, on rows never fitted.
 * Usage: npm run bench -- sparsity FOLDER [model …] [--seeds 0,1,2] [--weights int8,int4] [--methods dense,…,joint]
 * [--permute]; prints the table of docs/results.md.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext } from '../src/core/index.js';
import { quantize } from '../src/pipeline/index.js';
import { type SparseSolver } from '../src/solve/index.js';
import { MODELS, modelsFolder } from './models.js';
import { quantizeRequest } from './request.js';
import { score } from './scores.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '0,1,2' },
    weights: { type: 'string', default: 'int8,int4' },
    methods: { type: 'string', default: 'dense,magnitude,wanda,sparsegpt,joint' },
    permute: { type: 'boolean', default: false },
  },
});
const folder = modelsFolder();
const wanted = positionals.slice(1);
const methods = values.methods.split(',') as (SparseSolver | 'dense')[];

const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
console.log('| model | weights | kept weights | metric by seed | float | held-out error | packed |');
console.log('| --- | --- | --- | --- | --- | --- | --- |');
for (const model of MODELS.filter((m) =>
  (wanted.length === 0 ? ['cifar-resnet20', 'cifar-resnet56', 'fashion-vit'] : wanted).includes(m.name),
)) {
  const [float] = await score(folder, model, join(folder, model.model));
  for (const weights of values.weights.split(',')) {
    for (const method of methods) {
      const scores: string[] = [];
      const errors: number[] = [];
      let packed = '';
      for (const seed of values.seeds.split(',')) {
        const out = join(temporary, 'model.onnx');
        const sparsity = method === 'dense' ? {} : { sparsity: { pattern: '2:4', method } };
        const { layers } = await quantize(
          quantizeRequest(folder, model, out, {
            permuteChannels: values.permute && method !== 'dense',
            solving: { effort: 'balanced', ...sparsity },
            plan: { weights, solver: 'descent' },
          }),
          createContext({ seed: Number(seed) }),
        );
        scores.push((await score(folder, model, out))[0]?.value.toFixed(2) ?? '');
        const logs = layers.map((l) => Math.log(l.error.heldOut ?? NaN));
        errors.push(Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length));
        if (method !== 'dense')
          packed = `${(statSync(join(temporary, 'model.sparse.safetensors')).size / 1024).toFixed(0)} kB`;
      }
      const error = errors.map((e) => e.toExponential(2)).join(', ');
      console.log(
        `| ${model.name} | ${weights} | ${method} | ${float?.metric} ${scores.join(', ')} | ${float?.value.toFixed(2)} | ${error} | ${packed} |`,
      );
    }
  }
}
rmSync(temporary, { recursive: true, force: true });
