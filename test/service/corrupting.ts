/**
 * Preloaded into a worker: in its engine, adds a quantum to one element of a tensor after a round, once, as a broken
 * memory might. ONEBYTE_TEST_CORRUPT is INDEX@ROUND.
 */
import { Replica } from '../../worker/replica/replica.ts';

const [index, at] = process.env.ONEBYTE_TEST_CORRUPT!.split('@').map(Number) as [number, number];
const { commit } = Replica.prototype;
let done = false;

Replica.prototype.commit = function (record, body) {
  const ledger = commit.call(this, record, body);
  if (!done && ledger.round === at) {
    done = true;
    const { store } = this;
    store.view(index)[1]! += 2 ** store.exponent(index);
    const line = { level: 30, msg: 'flipped', tensor: store.tensors[index]!.name, round: at };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
  return ledger;
};
