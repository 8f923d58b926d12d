import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Gives back what nothing refers to any more. The collector comes by when much is allocated, and an engine that is open
 * allocates little: what reading the model and the data has left would stay for the whole run.
 */
export function giveBack(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (how: object) => void;
  // Any other way keeps the pages that become free, for new objects. It collects until nothing more is found, so what
  // finalizers let go, tensors' memory, is freed too.
  const how = { type: 'major', execution: 'sync', flavor: 'last-resort' };
  collect(how);
}
