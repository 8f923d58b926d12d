/** Models of any size with random weights, written piece by piece. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { numbers, type TinyShape, tinyGguf } from '../../test/model/gguf/tiny.ts';
import { openGguf } from '../../worker/model/gguf/source.ts';

/** 1.53 G weights. */
export const LARGE: TinyShape = {
  hidden: 2048,
  layers: 24,
  heads: 32,
  kvHeads: 8,
  intermediate: 8192,
  vocabulary: 32_768,
};

/** As GGUF, Q4_0. */
export function writeLargeGguf(path: string, shape = LARGE): string {
  const file = openSync(path, 'w');
  for (const piece of tinyGguf('Q4_0', shape)) writeSync(file, piece);
  closeSync(file);
  return path;
}

/** As a Hugging Face folder, in bfloat16 and two files; configuration and tokenizer of a GGUF file of the same shape. */
export async function writeLargeFolder(dir: string, gguf: string): Promise<string> {
  mkdirSync(dir, { recursive: true });
  const { config, tokenizer, tensors } = await openGguf(gguf);
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  writeFileSync(join(dir, 'tokenizer.json'), JSON.stringify(tokenizer.json));
  writeFileSync(join(dir, 'tokenizer_config.json'), JSON.stringify(tokenizer.config));
  const all = [...tensors.values()];
  const random = numbers(3);
  // Halves of numbers around 0.03 in size, of both signs.
  const pool = Uint16Array.from(
    { length: 1 << 20 },
    () => 0x3c80 + random() * 0x80 + (random() < 0.5 ? 0x8000 : 0),
  );
  const map: Record<string, string> = {};
  for (const part of [0, 1]) {
    const name = `model-0000${part + 1}-of-00002.safetensors`;
    const own = all.slice((part * all.length) >> 1, ((part + 1) * all.length) >> 1);
    const header: Record<string, unknown> = {};
    let offset = 0;
    for (const tensor of own) {
      const bytes = 2 * tensor.dims.reduce((a, b) => a * b, 1);
      header[tensor.name] = { dtype: 'BF16', shape: tensor.dims, data_offsets: [offset, (offset += bytes)] };
      map[tensor.name] = name;
    }
    const json = new TextEncoder().encode(JSON.stringify(header).padEnd(1 << 17));
    const file = openSync(join(dir, name), 'w');
    const length = new DataView(new ArrayBuffer(8));
    length.setBigUint64(0, BigInt(json.length), true);
    writeSync(file, new Uint8Array(length.buffer));
    writeSync(file, json);
    for (let left = offset; left > 0; ) {
      const bytes = Math.min(left, pool.byteLength);
      writeSync(file, new Uint8Array(pool.buffer, 0, bytes));
      left -= bytes;
    }
    closeSync(file);
  }
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  return dir;
}
