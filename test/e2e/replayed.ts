/** Commands of this checkout, as programs of their own. */
import { join } from 'node:path';
import { command } from '../cluster/command.ts';
import type { Lab } from './lab.ts';
import { MODEL } from './sentiment.ts';

const main = join(import.meta.dirname, '..', '..', 'cli', 'main.ts');

export interface Replayed {
  readonly digest: string;
  readonly rounds: number;
  readonly seconds: number;
  /** Digests in the journal, all of them met. */
  readonly compared: number;
}

/** @throws Error where a digest in the journal is not met */
export async function replayed(journal: string, lab: Lab): Promise<Replayed> {
  const model = join(lab.volume('models'), 'models', MODEL.sha256);
  // The basis is among the artifacts of the volume that the workers share.
  const cache = `ONEBYTE_CACHE=${lab.volume('models')}`;
  // Each fault has its replay: what is compiled once need not be again.
  const compiled = `NODE_COMPILE_CACHE=${join(lab.storage, 'compiled')}`;
  const args = [cache, compiled, process.execPath, main, 'replay', journal, '--model', model, '--json'];
  const text = await command('env', args);
  return JSON.parse(text.trim().split('\n').at(-1)!) as Replayed;
}

/** `onebyte status` of this checkout, from outside of the cluster. */
export async function runStatus(lab: Lab, uid: string): Promise<{ entries: number; bytes: number }> {
  const credentials = `ONEBYTE_NATS_CREDENTIALS_FILE=${lab.watcherCredentials}`;
  const args = [credentials, process.execPath, main, 'status', uid, '--nats', await lab.natsUrl(), '--json'];
  return JSON.parse(await command('env', args)) as { entries: number; bytes: number };
}
