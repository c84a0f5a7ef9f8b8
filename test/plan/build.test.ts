/** Plans: which nodes run on integers and why, ties, operand formats, rules. */
import { describe, expect, it } from 'vitest';
import { inferValueTypes } from '../../src/engine/index.js';
import { type Model } from '../../src/onnx/index.js';
import {
  DEFAULT_SETTINGS,
  checkTensorRules,
  planQuantization,
  valuesToCalibrate,
  type Plan,
  type PlanSettings,
} from '../../src/plan/index.js';
import { model } from '../helpers/model.js';

async function plan(m: Model, settings: Partial<PlanSettings> = {}): Promise<Plan> {
  return planQuantization(m, await inferValueTypes(m), { ...DEFAULT_SETTINGS, ...settings });
}

const decisions = (p: Plan): Record<string, string> =>
  Object.fromEntries(Object.values(p.nodes).map((n) => [n.node, n.decision]));

const residual = model`
  opset 17
  (float32[N,4,8,8] x) => (float32[N,4] y) {
    w1: float32[4,4,3,3] = random(seed=1, scale=0.2)
    b1: float32[4] = random(seed=2, scale=0.2)
    w2: float32[4,4] = random(seed=3, scale=0.2)
    c = Conv<pads=[1,1,1,1]>(x, w1, b1)
    s = Add(c, x)
    r = Relu(s)
    g = GlobalAveragePool(r)
    f = Flatten(g)
    y = Gemm(f, w2)
  }`;

describe('planQuantization', () => {
  it('quantizes a residual block from end to end and fuses the activation', async () => {
    const p = await plan(residual);
    expect(decisions(p)).toEqual({
      Conv_c: 'static',
      Add_s: 'static',
      Relu_r: 'static',
      GlobalAveragePool_g: 'static',
      Flatten_f: 'static',
      Gemm_y: 'static',
    });
    expect(Object.keys(p.activations).sort()).toEqual(['c', 'f', 'g', 'r', 'x']);
    expect(p.nodes.Relu_r?.why).toBe("fused into Add 'Add_s'");
    expect(p.nodes.Conv_c?.bias).toBe(2);
    expect(p.weights.w1?.granularity).toEqual({ kind: 'channel', axis: 0 });
    expect(p.weights.w2?.granularity).toEqual({ kind: 'channel', axis: 1 });
  });

  it('ties movement to its source and asks for no statistics of copies', async () => {
    const p = await plan(residual);
    expect(p.activations.f?.tie).toBe(p.activations.g?.tie);
    expect(p.activations.r?.tie).not.toBe(p.activations.g?.tie);
    expect(valuesToCalibrate(p)).toEqual(['c', 'g', 'r', 'x']);
  });

  it('leaves element-wise operators float where a neighbour is float', async () => {
    const m = model`
      opset 17
      (float32[N,3,4] x) => (float32[N,3,4] y) {
        w: float32[4,4] = random(seed=1, scale=0.2)
        a = MatMul(x, w)
        t = Tanh(a)
        s = Add(t, x)
        y = MatMul(s, w)
      }`;
    const p = await plan(m);
    expect(decisions(p)).toMatchObject({
      MatMul_a: 'static',
      Tanh_t: 'float',
      Add_s: 'float',
      MatMul_y: 'static',
    });
    expect(p.nodes.Tanh_t?.why).toContain('no integer kernel for Tanh');
    expect(p.nodes.Add_s?.why).toContain('neighbours are float');
    expect(p.nodes.MatMul_a?.outputs).toEqual([null]);
  });

  it('excludes by name, expression, operator type and stretch, and says so', async () => {
    const cases: [PlanSettings['nodes'][number]['match'], string[]][] = [
      [{ node: 'Conv_c' }, ['Conv_c']],
      [{ node: '/^Gemm/' }, ['Gemm_y']],
      [{ opType: 'Conv' }, ['Conv_c']],
      [{ between: { from: 's', to: 'g' } }, ['Add_s', 'GlobalAveragePool_g', 'Relu_r']],
    ];
    for (const [match, expected] of cases) {
      const p = await plan(residual, { nodes: [{ match, quantize: false }] });
      const excluded = Object.values(p.nodes).filter((n) => n.why.startsWith('excluded'));
      expect(excluded.map((n) => n.node).sort()).toEqual(expected);
      expect(excluded.every((n) => n.decision === 'float')).toBe(true);
    }
  });

  it('lets a later rule win', async () => {
    const p = await plan(residual, {
      nodes: [
        { match: { node: '/./' }, quantize: false },
        { match: { opType: 'Conv' }, quantize: true },
      ],
    });
    expect(p.nodes.Conv_c?.decision).toBe('static');
    expect(p.nodes.Gemm_y?.decision).toBe('float');
  });

  it('refuses a rule that matches nothing and suggests a name', async () => {
    await expect(
      plan(residual, { nodes: [{ match: { node: 'Conv_d' }, quantize: false }] }),
    ).rejects.toMatchObject({
      code: 'E_CONFIG',
      message: "no node of the model matches node 'Conv_d'",
      fix: expect.arrayContaining(["Did you mean 'Conv_c'?"]),
    });
  });

  it('refuses rules for values the graph does not have, and says where constants belong', () => {
    const rule = (tensor: string) => () => checkTensorRules(residual.graph, [{ tensor, range: [0, 1] }]);
    const [known = ''] = residual.graph.nodes.flatMap((node) => node.outputs);
    expect(rule(known)).not.toThrow();
    expect(rule(`${known}x`)).toThrow('the model has no value');
    expect(rule([...residual.graph.initializers.keys()][0] ?? '')).toThrow('is a constant');
  });

  it('names a stretch as it was written', async () => {
    const between = { from: 'no', to: 'where' };
    await expect(plan(residual, { nodes: [{ match: { between } }] })).rejects.toThrow("between 'no..where'");
  });

  it('reads one value in two formats when layers ask for it', async () => {
    const m = model`
      opset 21
      (float32[N,4] x) => (float32[N,4] y, float32[N,4] z) {
        w: float32[4,4] = random(seed=1, scale=0.2)
        v: float32[4,4] = random(seed=2, scale=0.2)
        y = MatMul(x, w)
        z = MatMul(x, v)
      }`;
    const p = await plan(m, { nodes: [{ match: { node: 'MatMul_z' }, activations: 'uint16' }] });
    expect(p.nodes.MatMul_y?.inputs[0]).toBe('x');
    expect(p.nodes.MatMul_z?.inputs[0]).toBe('x@uint16');
    expect(p.activations['x@uint16']?.value).toBe('x');
  });

  it('keeps the results of a layer in another format than its inputs when a rule says so', async () => {
    const rule = { match: { node: 'Conv_c' }, activations: 'uint4' };
    const [both, inputs] = [
      await plan(residual, { nodes: [rule] }),
      await plan(residual, { nodes: [{ ...rule, results: 'uint8' }] }),
    ];
    // With its result in 4 bits the Add has no operands of one format; with 8 bits everything stays integer.
    expect(both.activations['c@uint4']?.format).toBe('uint4');
    expect(inputs.nodes.Conv_c?.inputs[0]).toBe('x@uint4');
    expect(inputs.nodes.Conv_c?.outputs).toEqual(['c']);
    expect(inputs.activations['c@uint4']).toBeUndefined();
  });

  it('lets no operator have codes or weights of a type that its kernels do not know', async () => {
    const padded = model`
      opset 21
      (float32[N,4,8,8] x) => (float32[N,4,8,8] y) {
        pads: int64[8] = {0, 0, 1, 1, 0, 0, 1, 1}
        w: float32[4,4,3,3] = random(seed=1, scale=0.2)
        c = Conv<pads=[1,1,1,1]>(x, w)
        r = Relu(c)
        p = Pad(r, pads)
        y = Conv(p, w)
      }`;
    const onCodes = async (activations: string): Promise<boolean | undefined> =>
      (await plan(padded, { activations })).nodes.Pad_p?.onCodes;
    expect([await onCodes('uint8'), await onCodes('uint4')]).toEqual([true, true]);
    expect([await onCodes('uint16'), await onCodes('e4m3')]).toEqual([undefined, undefined]);
    for (const weights of ['int4', 'power8', 'codebook8']) {
      const other = await plan(residual, { activations: 'dynamic', weights });
      expect(other.nodes.Gemm_y).toMatchObject({
        decision: 'weights',
        why: expect.stringMatching(`weights in bytes, not ${weights}`),
      });
    }
  });

  it('keeps biases float where a weight has scales of blocks or no integers', async () => {
    const bias = async (settings: Partial<PlanSettings>): Promise<number | undefined> =>
      (await plan(residual, settings)).nodes.Conv_c?.bias;
    expect(await bias({ weights: 'int4' })).toBe(2);
    expect(await bias({ weights: 'int8', granularity: { block: 4 } })).toBeUndefined();
    expect(await bias({ weights: 'mxint8' })).toBeUndefined();
    expect(await bias({ weights: 'nf4' })).toBeUndefined();
  });

  it('makes Concat operands agree', async () => {
    const m = model`
      opset 17
      (float32[N,4,8,8] x) => (float32[N,2,8,8] y) {
        w: float32[4,4,1,1] = random(seed=1, scale=0.2)
        v: float32[2,8,1,1] = random(seed=2, scale=0.2)
        a = Conv(x, w)
        m = Concat<axis=1>(a, x)
        y = Conv(m, v)
      }`;
    const p = await plan(m);
    expect(new Set([p.activations.a?.tie, p.activations.x?.tie, p.activations.m?.tie]).size).toBe(1);
    expect(valuesToCalibrate(p)).toEqual(['a', 'x', 'y']);
  });

  it('keeps activations float for weight-only and quantizes them at run time for dynamic', async () => {
    expect(decisions(await plan(residual, { activations: 'float' }))).toMatchObject({
      Conv_c: 'weights',
      Gemm_y: 'weights',
      Add_s: 'float',
    });
    const dynamic = await plan(residual, { activations: 'dynamic' });
    expect(decisions(dynamic)).toMatchObject({ Conv_c: 'dynamic', Gemm_y: 'dynamic', Add_s: 'float' });
    expect(dynamic.activations).toEqual({});
  });

  it('keeps lookup tables at 8 bits under narrower weights, unless a rule names them', async () => {
    const m = model`
      opset 17
      (int64[N] i) => (float32[N,8] y) {
        table: float32[200,8] = random(seed=1, scale=0.2)
        w: float32[8,8] = random(seed=2, scale=0.2)
        e = Gather(table, i)
        y = MatMul(e, w)
      }`;
    const usual = await plan(m, { weights: 'int4' });
    expect([usual.weights.table?.format, usual.weights.w?.format]).toEqual(['int8', 'int4']);
    expect(usual.nodes.Gather_e?.why).toContain('lookup tables keep int8');
    // What solves power grids cannot round to int8.
    const powers = await plan(m, { weights: 'power4', solver: 'nupes' });
    expect([powers.weights.w?.solver, powers.weights.table?.solver]).toEqual(['nupes', 'auto']);
    const asked = await plan(m, {
      weights: 'int4',
      nodes: [{ match: { opType: 'Gather' }, weights: 'int4' }],
    });
    expect(asked.weights.table?.format).toBe('int4');
    const wide = await plan(m, { weights: 'int16' });
    expect(wide.weights.table?.format).toBe('int16');
  });

  it('keeps one copy of a table that is also the last weight, in the wider format', async () => {
    const m = model`
      opset 17
      (int64[N] i) => (float32[N,200] y) {
        table: float32[200,8] = random(seed=1, scale=0.2)
        e = Gather(table, i)
        y = Gemm<transB=1>(e, table)
      }`;
    expect((await plan(m, { weights: 'int4' })).weights.table?.format).toBe('int8');
  });

  it('quantizes every common operator for the generic target', async () => {
    const m = model`
      opset 20
      (float32[N,4] x) => (float32[N,4] y) {
        w: float32[4,4] = random(seed=1, scale=0.2)
        a = MatMul(x, w)
        t = Tanh(a)
        g = Gelu(t)
        y = Sub(g, x)
      }`;
    expect(new Set(Object.values(decisions(await plan(m, { target: 'generic' }))))).toEqual(
      new Set(['static']),
    );
  });
});
