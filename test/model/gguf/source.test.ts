import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openGguf } from '../../../worker/model/gguf/source.ts';
import { loadWeights } from '../../../worker/model/source.ts';
import { missingPython, python } from '../python.ts';
import { missingSmollm2, smollm2 } from '../smollm2.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-gguf-'));
after(() => rmSync(root, { recursive: true }));

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A model that llama.cpp's own package writes, as its converter does it; and the same weights as plain float32. */
const MAKE = `
import sys, json, base64, numpy as np, gguf
from gguf.quants import quantize, dequantize
path, kind, arch, rope = sys.argv[1:5]
T = gguf.GGMLQuantizationType
H, L, heads, kv, V, F = 64, 2, 4, 2, 40, 96
rng = np.random.default_rng(3)
w = gguf.GGUFWriter(path, arch)
w.add_block_count(L); w.add_context_length(128); w.add_embedding_length(H); w.add_feed_forward_length(F)
w.add_head_count(heads); w.add_head_count_kv(kv); w.add_rope_freq_base(5e4); w.add_layer_norm_rms_eps(1e-5)
if rope == 'linear':
  w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR); w.add_rope_scaling_factor(2.0)
w.add_tokenizer_model('gpt2'); w.add_tokenizer_pre('gpt-2')
w.add_token_list([chr(97 + i % 26) * (1 + i // 26) for i in range(V)]); w.add_token_types([1] * V)
w.add_token_merges(['a a', 'b b']); w.add_eos_token_id(0)
out = {}
def permute(x, n):  # convert_hf_to_gguf.py
  return x.reshape(n, 2, x.shape[0] // n // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)
def put(name, hf, shape, n=None):
  x = rng.standard_normal(shape).astype(np.float32)
  stored = permute(x, n) if n and arch == 'llama' else x
  t = T[kind] if len(shape) > 1 else T.F32
  q = quantize(np.ascontiguousarray(stored), t)
  w.add_tensor(name, q, raw_dtype=t)
  same = permute(np.arange(x.shape[0]), n) if n and arch == 'llama' else np.arange(x.shape[0])
  back = np.empty_like(x); back[same] = dequantize(q, t).reshape(x.shape)
  out[hf] = base64.b64encode(np.ascontiguousarray(back).tobytes()).decode()
put('token_embd.weight', 'model.embed_tokens.weight', (V, H))
put('output_norm.weight', 'model.norm.weight', (H,))
if arch == 'qwen2': put('output.weight', 'lm_head.weight', (V, H))
if rope == 'llama3':
  f = 5e4 ** (-np.arange(0, 8, 1) / 8); turns = 8192 * f / (2 * np.pi); s = np.clip((turns - 1) / 3, 0, 1)
  w.add_tensor('rope_freqs.weight', (1 / ((1 - s) / 32 + s)).astype(np.float32))
for i in range(L):
  b, m = f'blk.{i}', f'model.layers.{i}'
  put(b + '.attn_norm.weight', m + '.input_layernorm.weight', (H,))
  for q, name, n in [('q', 'q_proj', heads), ('k', 'k_proj', kv), ('v', 'v_proj', None)]:
    rows = H if q == 'q' else H // 2
    put(f'{b}.attn_{q}.weight', f'{m}.self_attn.{name}.weight', (rows, H), n)
    if arch == 'qwen2': put(f'{b}.attn_{q}.bias', f'{m}.self_attn.{name}.bias', (rows,), n)
  put(b + '.attn_output.weight', m + '.self_attn.o_proj.weight', (H, H))
  put(b + '.ffn_norm.weight', m + '.post_attention_layernorm.weight', (H,))
  for g in ['gate', 'up']: put(f'{b}.ffn_{g}.weight', f'{m}.mlp.{g}_proj.weight', (F, H))
  put(b + '.ffn_down.weight', m + '.mlp.down_proj.weight', (H, F))
w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
print(json.dumps(out))
`;

async function made(kind: string, arch = 'llama', rope = 'none') {
  const path = join(root, `${kind}-${arch}-${rope}.gguf`);
  const expected = (await python(MAKE, path, kind, arch, rope)) as Record<string, string>;
  return { path, expected };
}

const skip = await missingPython();

for (const kind of ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q8_0'])
  test(`a file of ${kind} that llama.cpp's package wrote has its weights under Hugging Face's names, bit for bit`, {
    skip,
  }, async () => {
    const { path, expected } = await made(kind);
    const { source, config } = await openGguf(path);
    const { weights, digest } = await loadWeights(source);
    assert.equal(digest, sha256(readFileSync(path)));
    assert.deepEqual([...weights.keys()].sort(), Object.keys(expected).sort());
    for (const [name, text] of Object.entries(expected)) {
      const bits = new Uint32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer);
      const { data } = weights.get(name)!;
      assert.deepEqual(new Uint32Array(data.buffer, data.byteOffset, data.length), bits, name);
    }
    assert.deepEqual(weights.get('model.layers.0.mlp.down_proj.weight')!.dims, [64, 96]);
    assert.equal(config.tie_word_embeddings, true);
    assert.equal(config.rms_norm_eps, 1e-5);
    assert.equal(config.num_key_value_heads, 2);
  });

test('Qwen2 has biases, a head of its own, and its rows where they were', { skip }, async () => {
  const { path, expected } = await made('F32', 'qwen2');
  const { source, config } = await openGguf(path);
  const { weights } = await loadWeights(source);
  assert.deepEqual([...weights.keys()].sort(), Object.keys(expected).sort());
  for (const [name, text] of Object.entries(expected))
    assert.deepEqual(Buffer.from(weights.get(name)!.data.buffer).toString('base64'), text, name);
  assert.equal(config.model_type, 'qwen2');
  assert.equal(config.tie_word_embeddings, false);
});

test('scaled positions are read: linear by name, those of Llama 3.1 by their factors', { skip }, async () => {
  const linear = await openGguf((await made('F32', 'llama', 'linear')).path);
  assert.deepEqual(linear.config.rope_scaling, { rope_type: 'linear', factor: 2 });
  const llama3 = await openGguf((await made('F32', 'llama', 'llama3')).path);
  assert.deepEqual(llama3.config.rope_scaling, {
    rope_type: 'llama3',
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  });
});

test('another architecture and a file cut short are refused by name', { skip }, async () => {
  const other = await made('F32', 'gemma2');
  await assert.rejects(openGguf(other.path), {
    code: 'MODEL_FAMILY_UNKNOWN',
    message: /architecture is "gemma2"; known: llama, qwen2, qwen3/,
  });
  const { path } = await made('F32');
  const cut = join(root, 'cut.gguf');
  writeFileSync(cut, readFileSync(path).subarray(0, -100));
  await assert.rejects(openGguf(cut), { code: 'MODEL_FILE_INVALID', message: /beyond the end/ });
  await assert.rejects(openGguf(join(root, 'none.gguf')), { code: 'MODEL_FILE_MISSING' });
});

test('the real SmolLM2 has all tensors of its family', { skip: await missingSmollm2() }, async () => {
  const { tensors, config, source } = await openGguf(await smollm2());
  assert.equal(tensors.size, 272);
  assert.equal(config.vocab_size, 49_152);
  const norm = new Float32Array(576);
  const digest = await source.load(({ name }) => (name === 'model.norm.weight' ? norm : undefined));
  assert.equal(digest, 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53');
  assert.ok(norm.every((value) => Number.isFinite(value) && value !== 0));
});
