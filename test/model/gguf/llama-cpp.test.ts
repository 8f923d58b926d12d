import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Session } from '../../../worker/engine/evaluators/session.ts';
import type { Trained } from '../../../worker/model/export.ts';
import { type ModelFolder, openModelFolder } from '../../../worker/model/folder.ts';
import { exportGguf } from '../../../worker/model/gguf/export.ts';
import { openGguf } from '../../../worker/model/gguf/source.ts';
import { loadWeights } from '../../../worker/model/source.ts';
import { missingPython, pythonWith } from '../python.ts';
import { batchOf } from '../session.ts';
import { missingSmollm2, smollm2 } from '../smollm2.ts';
import { numbers } from './tiny.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-llama-cpp-'));
after(() => rmSync(root, { recursive: true }));

/** A real llama.cpp, as a Python package that brings it. */
const LLAMA_CPP = ['xllamacpp==2026.10.11549'];

/** LoRA factors on query and down of every layer, far from zero. */
function trained({ model }: ModelFolder): Trained {
  const random = numbers(11);
  const matrices = model.matrices.filter(({ kind }) => kind === 'query' || kind === 'down');
  const some = (rows: number, width: number) => ({
    dims: [rows, width],
    data: Float32Array.from({ length: rows * width }, () => 0.05 * (random() - 0.5)),
  });
  const factors = new Map(matrices.map((m) => [m.name, { a: some(2, m.in), b: some(m.out, 2) }]));
  return { weights: new Map(), head: null, pooling: 'mean', adapters: { rank: 2, alpha: 4, factors } };
}

/** Logarithms of the probabilities of the token that follows, by llama.cpp. */
const FOLLOWS = `
import sys, json, xllamacpp as x
p = x.CommonParams(); p.model.path = sys.argv[1]; p.n_ctx = 256; p.verbosity = 0; p.cpuparams.n_threads = 2
s = x.Server(p)
r = s.handle_completions({'prompt': json.loads(sys.argv[2]), 'n_predict': 1, 'n_probs': 64, 'temperature': 0, 'seed': 1})
top = r['choices'][0]['logprobs']['content'][0]['top_logprobs']
print()
print(json.dumps([[t['id'], t['logprob']] for t in top]))
sys.stdout.flush()
import os; os._exit(0)
`;

const skip = (await missingPython(LLAMA_CPP)) || (await missingSmollm2());

// llama.cpp keeps keys and values, and multiplies half-precision weights, in half precision.
for (const [type, tolerance] of [
  ['F16', 0.05],
  ['F32', 0.02],
] as const)
  test(`a real llama.cpp loads SmolLM2 with trained adapters, exported in ${type}, and predicts what we predict`, {
    skip,
  }, async (t) => {
    const folder = await openModelFolder(await smollm2());
    const path = join(root, `${type}.gguf`);
    writeFileSync(path, (await exportGguf(folder, trained(folder), type)).get('model.gguf')!);
    const ids = folder.tokenizer.pieces('<|im_start|>user\nWhat is the capital of France?<|im_end|>\n');
    const said = await pythonWith(LLAMA_CPP, FOLLOWS, path, JSON.stringify([...ids]));
    const theirs = said as [number, number][];
    const { weights } = await loadWeights((await openGguf(path)).source);
    rmSync(path);
    const end = { from: 'ids', to: 'logits', end: 'tokens', pooling: 'mean' } as const;
    const session = await Session.open(folder.model.graph({ ...end, weights }), { threads: 2 });
    const positions = { data: Int32Array.of(ids.length - 1), dims: [1] };
    const logits = (await session.run({ ...batchOf([ids]), positions })).logits!;
    await session.close();
    const most = Math.max(...logits);
    const total = most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0));
    assert.equal(theirs.length, 64);
    let far = 0;
    for (const [id, logarithm] of theirs) far = Math.max(far, Math.abs(logits[id]! - total - logarithm));
    t.diagnostic(`largest difference of 64 logarithms of probabilities: ${far.toFixed(5)}`);
    assert.ok(far < tolerance, `${far}`);
    assert.equal(theirs[0]![0], logits.indexOf(most));
  });
