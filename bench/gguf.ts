/**
 * Memory of models that stay in their files: `node bench/gguf.ts [FILE.gguf or FOLDER ...]`. By default the real
 * SmolLM2 (Q4_1), and generated models of 1.5 G weights: a GGUF file of Q4_0, and a folder of two safetensors files in
 * bfloat16 (8 GB of disk in the temporary folder, removed at the end). Each is opened in a process of its own, and in another
 * one by the engine, as a worker does it, which evaluates one two-sided `lora` probe over 4 prompts with completions, 32 tokens at most, and ends.
 *
 * The processes run what `npm run build` makes, as users do: it is compiled into the temporary folder first. How much
 * memory packing takes is measured in a process of its own, too, over a link to the file in the temporary folder.
 *
 * Resident: all pages of the process. Of them those of files (the weights, Node, the runtime) can be dropped by the
 * system at any time; anonymous ones cannot.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { toJobSpec } from '../crds/job-spec.ts';
import { parseJobFile } from '../crds/validate.ts';
import { cacheFolder, resolveModel } from '../worker/data/cache.ts';
import { openModelFolder } from '../worker/model/folder.ts';
import { loadPacked } from '../worker/model/gguf/packed-file.ts';
import { openGguf } from '../worker/model/gguf/source.ts';
import { thinProcess } from '../worker/process-settings.ts';
import { writeLargeFolder, writeLargeGguf } from './lib/large-model.ts';
import { type Kinds, kindsOfMemory, type Memory, memory } from './lib/memory.ts';
import { SMOLLM2, smallJob } from './lib/small-job.ts';
import { runSolo } from './lib/solo.ts';

const MIB = 2 ** 20;

/** What the weights take where they are used from. */
function keptBytes(path: string): number {
  const [folder, names] = path.endsWith('.gguf')
    ? [dirname(path), [`${path.slice(dirname(path).length + 1)}.packed`]]
    : [path, readdirSync(path).filter((name) => name.endsWith('.safetensors'))];
  return names.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}

/** Opens a model as a worker does before its engine, and no more. */
async function open(path: string): Promise<void> {
  const runtime = memory();
  const { digests } = await openModelFolder(path);
  console.log(JSON.stringify({ runtime, load: memory(), sha256: digests.weights }));
}

/** Evaluates one probe in an engine. */
async function probe(path: string, sha256: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'onebyte-gguf-text-'));
  const job = parseJobFile(JSON.stringify(smallJob(path, sha256, 1, folder)));
  if (job.job === undefined) throw new Error(JSON.stringify(job.mistakes));
  const rounds: { loss: number; probe: Memory; kinds: Kinds }[] = [];
  const train = [{ name: 'text', uri: 'text.jsonl' }];
  await runSolo(
    toJobSpec(job.job),
    { train },
    folder,
    ({ loss }) => rounds.push({ loss, probe: memory(), kinds: kindsOfMemory() }),
    [],
  );
  rmSync(folder, { recursive: true });
  console.log(JSON.stringify(rounds[0]));
}

/** Packs a GGUF file anew, and no more. */
async function pack(path: string): Promise<void> {
  const before = memory();
  await loadPacked(await openGguf(path));
  console.log(JSON.stringify({ before, packed: memory() }));
}

let compiled: string | undefined;

/** What a process of its own says, started as workers are. */
async function ask<T>(...args: string[]): Promise<T> {
  // Here, as the processes that are measured are to be without it.
  const { compiledCopy } = await import('./lib/compiled.ts');
  compiled ??= await compiledCopy({ gguf: 'bench/gguf.ts' });
  const { env, execArgv } = thinProcess(process.env, cacheFolder(), [], false);
  const all = [...execArgv, '--no-warnings', join(compiled, 'dist', 'gguf.js'), ...args];
  const output = execFileSync(process.execPath, all, { env, encoding: 'utf8', maxBuffer: MIB });
  return JSON.parse(output) as T;
}

async function measure(what: string, path: string, fileBytes: number): Promise<void> {
  const { runtime, load, sha256 } = await ask<{ runtime: Memory; load: Memory; sha256: string }>(
    '--open',
    path,
  );
  const { probe, loss, kinds } = await ask<{ probe: Memory; loss: number; kinds: Kinds }>(
    '--probe',
    path,
    sha256,
  );
  const kept = keptBytes(path);
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(0)} MiB`;
  const ratio = (bytes: number, of: number) => (bytes / of).toFixed(2);
  console.log(`\n${what}: ${mib(fileBytes)} in its files, ${mib(kept)} where it is used from`);
  console.log(
    `  before the model     resident ${mib(runtime.resident)}, anonymous ${mib(runtime.anonymous)}`,
  );
  console.log(`  model opened         peak ${mib(load.peak)}, anonymous ${mib(load.anonymous)}`);
  console.log(
    `  after a lora probe   peak ${mib(probe.peak)}, resident ${mib(probe.resident)}, anonymous ${mib(probe.anonymous)}, loss ${loss.toFixed(3)}`,
  );
  console.log(`  peak at load / weights kept                        ${ratio(load.peak, kept)}`);
  console.log(`  peak with a probe / weights kept                   ${ratio(probe.peak, kept)}`);
  console.log(`  peak with a probe / size of the files              ${ratio(probe.peak, fileBytes)}`);
  console.log(`  resident after a probe / size of the files         ${ratio(probe.resident, fileBytes)}`);
  console.log(`  what cannot be dropped / size of the files         ${ratio(probe.anonymous, fileBytes)}`);
  console.log('  resident after a probe, by what it is');
  for (const [kind, bytes] of Object.entries(kinds)) console.log(`    ${kind.padEnd(42)} ${mib(bytes)}`);
  if (!path.endsWith('.gguf')) return;
  const link = join(mkdtempSync(join(tmpdir(), 'onebyte-pack-')), 'model.gguf');
  symlinkSync(path, link);
  const { before, packed } = await ask<{ before: Memory; packed: Memory }>('--pack', link);
  rmSync(dirname(link), { recursive: true });
  console.log(`  packing it the first time: peak ${mib(packed.peak)}, before ${mib(before.resident)}`);
}

/** Written apart, so that what is measured is how it is used, not how it is packed once. */
async function packed(path: string): Promise<string> {
  await loadPacked(await openGguf(path));
  return path;
}

if (process.argv[2] === '--open') await open(process.argv[3]!);
else if (process.argv[2] === '--pack') await pack(process.argv[3]!);
else if (process.argv[2] === '--probe') await probe(process.argv[3]!, process.argv[4]!);
else if (process.argv.length > 2) {
  for (const path of process.argv.slice(2)) {
    if (path.endsWith('.gguf')) await packed(path);
    await measure(path, path, path.endsWith('.gguf') ? statSync(path).size : keptBytes(path));
  }
} else {
  const smollm2 = await packed(await resolveModel(SMOLLM2, { folder: process.cwd() }));
  await measure('SmolLM2-135M, GGUF Q4_1', smollm2, statSync(smollm2).size);
  const root = mkdtempSync(join(tmpdir(), 'onebyte-large-'));
  try {
    const gguf = await packed(writeLargeGguf(join(root, 'large.gguf')));
    await measure('1.53 G weights, GGUF Q4_0', gguf, statSync(gguf).size);
    const folder = await writeLargeFolder(join(root, 'folder'), gguf);
    await measure('1.53 G weights, two safetensors files, bfloat16', folder, keptBytes(folder));
  } finally {
    rmSync(root, { recursive: true });
  }
}
if (compiled !== undefined) rmSync(compiled, { recursive: true });
