import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { TokenScores } from '../../worker/engine/evaluators/token-scores.ts';
import { BlockRows } from '../../worker/model/block-rows.ts';
import { PACKED, type PackedTypeName } from '../../worker/model/packed.ts';
import { storedView } from '../../worker/model/stored.ts';
import { random } from '../model/tiny.ts';

const root = mkdtempSync(join(tmpdir(), 'onebyte-scores-'));
after(() => rmSync(root, { recursive: true }));

const [TOKENS, WIDTH] = [1500, 512] as const;

/** A matrix of tokens in a file, of which several parts are widened one after the other. */
function matrixOf(type: PackedTypeName) {
  const { bits, size, least, scales } = PACKED[type];
  const path = join(root, type);
  const numbers = random(TOKENS * WIDTH, 1);
  const codes = Uint8Array.from({ length: (TOKENS * WIDTH * bits) / 8 }, (_, i) => (numbers[i]! + 1) * 128);
  const halves = (seed: number) =>
    new (scales === 'F16' ? Float16Array : Float32Array)(random((TOKENS * WIDTH) / size, seed)).map(
      (x) => x / (bits === 8 ? 200 : 20),
    );
  const parts = [codes, halves(2), ...(least ? [halves(3)] : [])].map(
    (part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength),
  );
  writeFileSync(path, Buffer.concat(parts));
  let offset = 0;
  const [at, scalesAt, leastAt] = parts.map(({ length: bytes }) => {
    const place = { path, offset, bytes };
    offset += bytes;
    return place;
  });
  const where = { codes: at!, scales: scalesAt!, ...(leastAt && { least: leastAt }) };
  const stored = { type: 'blocks', form: PACKED[type], ...where } as const;
  return { rows: new BlockRows([TOKENS, WIDTH], stored), data: storedView([TOKENS, WIDTH], stored).data };
}

for (const type of ['Q4_0', 'Q4_1', 'Q8_0', 'Q6_K'] as const)
  test(`losses over a vocabulary of ${type} that is read in parts are those over the whole of it`, async () => {
    const { rows, data } = matrixOf(type);
    const scores = await TokenScores.open(rows, { threads: 1 });
    const [probes, examples] = [2, 3];
    const targets = Int32Array.of(0, 700, 1499, 700, 3);
    const owners = [0, 0, 1, 2, 2];
    const shares = new Float32Array(targets.length * examples);
    owners.forEach((example, t) => {
      shares[t * examples + example] = 1;
    });
    const scored = random(probes * targets.length * WIDTH, 7).map((x) => x / 4);
    // The first row is the token it predicts, so that it is right.
    scored.set(data.subarray(0, WIDTH).map((x) => x * 4));
    const found = await scores.losses(scored, {
      targets: { data: targets, dims: [targets.length] },
      shares: { data: shares, dims: [targets.length, examples] },
    });
    await scores.close();
    const loss = new Float64Array(probes * examples);
    const correct = new Float64Array(probes * examples);
    for (let row = 0; row < probes * targets.length; row++) {
      const each = Array.from({ length: TOKENS }, (_, token) => {
        let sum = 0;
        for (let k = 0; k < WIDTH; k++) sum += scored[row * WIDTH + k]! * data[token * WIDTH + k]!;
        return sum;
      });
      const most = Math.max(...each);
      const total = most + Math.log(each.reduce((sum, score) => sum + Math.exp(score - most), 0));
      const t = row % targets.length;
      const to = Math.floor(row / targets.length) * examples + owners[t]!;
      loss[to]! += total - each[targets[t]!]!;
      if (each.indexOf(most) === targets[t]) correct[to]! += 1;
    }
    loss.forEach((value, i) => {
      assert.ok(
        Math.abs(found.loss![i]! - value) < 2e-5 * (1 + Math.abs(value)),
        `${found.loss![i]} ${value}`,
      );
    });
    assert.deepEqual([...found.correct!], [...correct]);
    assert.ok(correct[0]! >= 1);
  });
