/** Processes of pods as this machine sees them: what a kernel, an administrator or an accident does to them. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import type { Cluster } from '../cluster/cluster.ts';

/** What every container of a cluster is told and none of another: its API server's address. */
export function ofCluster({ network }: Cluster): Readonly<Record<string, string>> {
  if (network === null) throw new Error('a cluster without nodes has no pods');
  return { KUBERNETES_SERVICE_HOST: network.apiService };
}

/** Pids of the processes whose environment has all these values. */
export async function processesWith(env: Readonly<Record<string, string>>): Promise<number[]> {
  const wanted = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
      const variables = new Set(text.split('\0'));
      return wanted.every((one) => variables.has(one)) ? Number(pid) : null;
    }),
  );
  return found.filter((pid) => pid !== null);
}

/** kill -9. @returns how many there were */
export async function killWith(env: Readonly<Record<string, string>>): Promise<number> {
  const pids = await processesWith(env);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  return pids.length;
}

/** Makes a process the one that the kernel ends where its container has used up its memory. */
export async function offerToOomKiller(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/oom_score_adj`, '1000');
}
