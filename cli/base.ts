import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** In the directory of a run: where this machine has the base model. A job may name it by a path that begins elsewhere. */
export const BASE_NAME = 'base.json';

export interface Base {
  /** An absolute path. */
  readonly model: string;
  readonly sha256: string;
}

/** The folder of a run's base model, where its directory says so and it is still there; a hint, no proof. */
export function baseOf(run: string, sha256: string): string | null {
  try {
    const base = JSON.parse(readFileSync(join(run, BASE_NAME), 'utf8')) as Partial<Base>;
    if (typeof base.model !== 'string' || base.sha256 !== sha256) return null;
    return existsSync(base.model) ? base.model : null;
  } catch {
    // Without it, the job itself says where the model is.
    return null;
  }
}
