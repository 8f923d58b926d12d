/** What goes wrong inside one process: a bit of its memory turns over, one of its threads gets no processor. */
import { mkdir, open, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TENSORS } from '../../worker/grid/memory.ts';

const PAGE = 65_536;
/** Addresses that V8 keeps free after the memory of WebAssembly, at least. */
const GUARD = 2 ** 31;

/** Where a worker has its state: memory of WebAssembly, which nothing may follow. */
async function stateOf(pid: number): Promise<number> {
  const maps = (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n').map((line) => {
    const [, from, to, rights] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
    return { from: Number(`0x${from}`), to: Number(`0x${to}`), rights };
  });
  const found = maps.filter(({ from, to, rights }, i) => {
    const next = maps[i + 1];
    const guarded = next?.from === to && next.rights === '---p' && next.to - next.from >= GUARD;
    return guarded && rights?.startsWith('rw') && (to - from) % PAGE === 0 && to - from > TENSORS;
  });
  if (found.length !== 1) throw new Error(`${found.length} places in ${pid} look like the state of a worker`);
  return found[0]!.from;
}

/**
 * Turns over one bit of the first weight of a worker's state, as bad memory does.
 * @returns that weight before and after
 */
export async function flipBit(pid: number): Promise<[number, number]> {
  const memory = await open(`/proc/${pid}/mem`, 'r+');
  try {
    const at = (await stateOf(pid)) + TENSORS;
    const weight = Buffer.alloc(4);
    await memory.read(weight, 0, 4, at);
    const before = weight.readFloatLE();
    // Of its mantissa: the weight stays a number of about its size.
    weight.writeUInt8(weight.readUInt8(1) ^ 0x10, 1);
    await memory.write(weight, 0, 4, at);
    return [before, weight.readFloatLE()];
  } finally {
    await memory.close();
  }
}

/** Stops the threads of a process that have such a name, and lets the others run; needs control groups of version 1. */
export async function stopThreads(pid: number, name: RegExp): Promise<() => Promise<void>> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8');
  const own = join('/sys/fs/cgroup/freezer', /^\d+:freezer:(.*)$/m.exec(groups)![1]!);
  const frozen = join(own, 'frozen');
  const threads = await readdir(`/proc/${pid}/task`);
  const names = await Promise.all(
    threads.map(async (thread) => (await readFile(`/proc/${pid}/task/${thread}/comm`, 'utf8')).trim()),
  );
  const chosen = threads.filter((_, i) => name.test(names[i]!));
  if (chosen.length === 0) throw new Error(`no thread of ${pid} is called so: ${names.join(', ')}`);
  await mkdir(frozen);
  for (const thread of chosen) await writeFile(join(frozen, 'tasks'), thread);
  await writeFile(join(frozen, 'freezer.state'), 'FROZEN');
  return async () => {
    await writeFile(join(frozen, 'freezer.state'), 'THAWED');
    for (const thread of chosen) await writeFile(join(own, 'tasks'), thread);
    await rmdir(frozen);
  };
}
