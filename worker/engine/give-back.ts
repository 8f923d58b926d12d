import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Gives back what nothing refers to any more. The collector comes by when much is allocated, and an engine that is open
 * allocates little: what reading the model and the data has left would stay for the whole run.
 */
export function giveBack(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // The second time frees what finalizers of the first let go: tensors' memory.
  collect();
  collect();
}
