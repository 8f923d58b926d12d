/** A cluster as tests reach it: one of their own, or one that somebody else started. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { command } from '../cluster/command.ts';
import { tool } from '../tools/tool.ts';

export interface Reach {
  readonly kubeconfig: string;
  /** Has `bin/kubectl`; goes when the tests end. */
  readonly folder: string;
  kubectl(args: readonly string[], stdin?: string): Promise<string>;
  down(): Promise<void>;
}

/** What is said of a cluster of somebody else's, by variables that `npm run test:e2e` alone sets or heeds. */
export const FOREIGN = {
  kubeconfig: 'ONEBYTE_E2E_KUBECONFIG',
  /** Name of the image that its nodes have or can pull. */
  image: 'ONEBYTE_E2E_IMAGE',
  /** A folder that its nodes and this machine see by the same name: for model, output and log. */
  volumes: 'ONEBYTE_E2E_VOLUMES',
} as const;

/** The kubeconfig of a cluster of somebody else's; null: tests make their own. */
export function foreignKubeconfig(env: NodeJS.ProcessEnv = process.env): string | null {
  return env[FOREIGN.kubeconfig] || null;
}

/** Why the cluster cannot be used, or false. */
export async function foreignMissing(kubeconfig: string): Promise<false | string> {
  const volumes = process.env[FOREIGN.volumes];
  if (!volumes || !existsSync(volumes))
    return `${FOREIGN.volumes} names no folder that all nodes and this machine see`;
  const reach = await attach(kubeconfig);
  try {
    await reach.kubectl(['version']);
    const crds = await reach.kubectl(['get', 'crd', '-o', 'name']);
    return crds.includes('finetunejobs.onebyte.dev') ? `Onebyte is in use in ${kubeconfig} already` : false;
  } catch (error) {
    return `${kubeconfig} does not answer: ${String(error)}`;
  } finally {
    await reach.down();
  }
}

export async function attach(source: string): Promise<Reach> {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-reach-'));
  const kubeconfig = join(folder, 'kubeconfig');
  const kubectl = join(folder, 'bin', 'kubectl');
  await copyFile(source, kubeconfig);
  await mkdir(join(folder, 'bin'));
  await symlink(await tool('kubernetes'), kubectl);
  return {
    kubeconfig,
    folder,
    kubectl: (args, stdin = '') => command(kubectl, [`--kubeconfig=${kubeconfig}`, ...args], stdin),
    down: () => rm(folder, { recursive: true, force: true }),
  };
}

export interface Forward {
  /** Of this machine. */
  readonly port: number;
  close(): void;
}

/** A port of a service, brought to this machine through the API server. */
export async function forward(reach: Reach, namespace: string, target: string): Promise<Forward> {
  const args = [`--kubeconfig=${reach.kubeconfig}`, '-n', namespace, 'port-forward', ...target.split(' ')];
  const child = spawn(join(reach.folder, 'bin', 'kubectl'), args, { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) {
    const [, port] = /127\.0\.0\.1:(\d+) ->/.exec(line) ?? [];
    if (port !== undefined) return { port: Number(port), close: () => void child.kill() };
  }
  throw new Error(`kubectl port-forward ${target} ended`);
}
