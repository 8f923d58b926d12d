/** What a lab's cluster has before the chart is installed: volumes with the model, namespaces, credentials. */
import { chmod, cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { resolveModel } from '../../worker/data/cache.ts';
import type { JwtOperator } from '../nats/jwt.ts';
import { SYSTEM, TEAM } from './namespaces.ts';
import { MODEL } from './sentiment.ts';
import { claimObject, volumeObject } from './storage.ts';

/** A lab as far as this goes. */
interface Room {
  readonly nats: JwtOperator;
  apply(objects: readonly object[]): Promise<string>;
  volume(name: string): string;
  restrictedNamespace(name: string): Promise<void>;
}

/** Folders of this machine, and the volumes that they are. @param natsClaim that NATS will make */
export async function makeVolumes(room: Room, natsClaim: string): Promise<void> {
  const model = await resolveModel(MODEL, { folder: '/' });
  const cached = join(room.volume('models'), 'models', MODEL.sha256);
  await mkdir(cached, { recursive: true });
  await cp(model, cached, { recursive: true });
  for (const name of ['models', 'output', 'nats']) {
    await mkdir(room.volume(name), { recursive: true });
    // What a real storage class does for the group of the pods that mount it.
    await chmod(room.volume(name), 0o777);
  }
  await chmod(join(room.volume('models'), 'models'), 0o777);
  await room.apply([
    volumeObject(TEAM, 'models', room.volume('models')),
    volumeObject(TEAM, 'output', room.volume('output')),
    volumeObject(SYSTEM, natsClaim, room.volume('nats')),
  ]);
}

/** Both namespaces, with claims for the one and the secrets of NATS for the other. */
export async function makeNamespaces(room: Room): Promise<void> {
  for (const name of [SYSTEM, TEAM]) await room.restrictedNamespace(name);
  const secret = (name: string, stringData: Record<string, string>) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: SYSTEM },
    stringData,
  });
  await room.apply([
    claimObject(TEAM, 'models'),
    claimObject(TEAM, 'output'),
    secret('nats-operator', { credentials: room.nats.credentials('operator') }),
    secret('nats-account', { seed: room.nats.accountSeed }),
  ]);
}
