/**
 * Writes `llama.json`: what the transformers package (on PyTorch, in 32-bit floats) makes of the tiny models of
 * `../tiny-llama.ts` and of the real SmolLM2. Needs a Python with torch, transformers, gguf and safetensors:
 *
 *     node test/model/oracle/make.ts PYTHON
 */
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { smollm2 } from '../smollm2.ts';
import { MEMBERS, ROWS, writeMember } from '../tiny-llama.ts';

const python = process.argv[2] ?? 'python3';
const script = join(import.meta.dirname, 'oracle.py');
const dir = await mkdtemp(join(tmpdir(), 'onebyte-oracle-'));
try {
  for (const name of Object.keys(MEMBERS)) await writeMember(join(dir, name), name);
  const arguments_ = [script, dir, JSON.stringify(ROWS), await smollm2()];
  const out = execFileSync(python, arguments_, { encoding: 'utf8', maxBuffer: 2 ** 28 });
  await writeFile(join(import.meta.dirname, 'llama.json'), `${JSON.stringify(JSON.parse(out))}\n`);
} finally {
  await rm(dir, { recursive: true });
}
