/** Who goes first on a machine that has nodes, control plane and tests on the same few cores. */
import { writeFile } from 'node:fs/promises';
import { setPriority } from 'node:os';

/** As `nice` counts: the lower, the larger the share. */
const NICE = -10;

/**
 * Lets this process and its commands go before the pods, where that is allowed: a run that trains takes all that is left,
 * and whoever looks at a real cluster does that from a machine of their own. Nodes have a share that this does not change.
 */
export async function takePrecedence(): Promise<void> {
  // Linux shares a processor among sessions first, where it groups by them, and only then among their processes.
  await writeFile('/proc/self/autogroup', String(NICE)).catch(() => undefined);
  try {
    setPriority(NICE);
  } catch {
    // Not root: then tests are slower, not other.
  }
}
