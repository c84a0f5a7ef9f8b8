import { createContext } from '../src/core/index.js';
import { quantize } from '../src/pipeline/index.js';
import { MODELS, modelsFolder } from './models.js';
import { quantizeRequest } from './request.js';
import { score } from './scores.js';
const folder = modelsFolder();
const [name, weights, sparse, settings, seed='0'] = process.argv.slice(3);
const model = MODELS.find((m) => m.name === name)!;
const out = `/tmp/distill/try-${process.pid}.onnx`;
const t0 = Date.now();
const r = await quantize(quantizeRequest(folder, model, out, {
  solving: { effort: 'balanced', cache: '/tmp/distill/cache', ...(sparse === 'dense' ? {} : { sparsity: { pattern: '2:4', method: sparse as 'joint' } }), ...(settings === 'none' ? {} : { distill: JSON.parse(settings!) }) },
  plan: { weights: weights!, solver: 'auto' },
}), createContext({ seed: Number(seed), threads: Number(process.env.T ?? 1), start: (t) => { console.log(t, Date.now()-t0); return { update: (d, s) => {if (t==='Distilling') console.log(d, s, Date.now() - t0)}, finish: (x) => console.log(x ?? '') }; } }));
console.log(r.distilled && JSON.stringify(r.distilled));
console.log(name, weights, sparse, settings, await score(folder, model, out));
