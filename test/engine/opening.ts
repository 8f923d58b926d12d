/** What an engine of its own is opened with, and records for it: over the tiny model and data of a sandbox. */
import type { EngineConfig } from '../../worker/engine/engine.ts';
import { openReplica } from '../../worker/engine/open.ts';
import { canonicalJson } from '../../worker/journal/canonical.ts';
import { encodeBody } from '../../worker/journal/codec.ts';
import { advance, emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { GenesisRecord, JournalRecord } from '../../worker/journal/record.ts';
import { openModelFolder } from '../../worker/model/folder.ts';
import type { Sandbox } from '../cli/sandbox.ts';
import { roundOf } from '../journal/fixture.ts';
import { jobOf, scope, stage } from './fixture.ts';

export async function configOf(sandbox: Sandbox): Promise<EngineConfig> {
  const job = jobOf([stage(scope('full', { layers: '2' }), { batch: 48 })], ['neg', 'pos']);
  const folder = await openModelFolder(sandbox.model);
  const { plan, replica } = openReplica(folder.model, job, null);
  const genesis: GenesisRecord = {
    kind: 'genesis',
    uid: 'threaded',
    at: 0,
    job: canonicalJson({ name: 'threaded', spec: job }),
    base: folder.digests.weights,
    tokenizer: folder.digests.tokenizer,
    tensors: plan.tensors,
    state: replica.digest(),
    artifacts: [],
  };
  const source = (name: string) => [{ name, uri: `${name}.jsonl` }];
  return {
    genesis,
    member: 'a',
    modelDir: sandbox.model,
    artifacts: [],
    data: { train: source('train'), validation: source('validation'), test: [] },
    folder: sandbox.dir,
    threads: 1,
    memoryBudgetBytes: 1 << 24,
  };
}

/** Entries of a run with one member: genesis, its join, and rounds with these bytes. */
export function entriesOf(genesis: GenesisRecord, rounds: readonly Uint8Array[]) {
  let ledger: Ledger = emptyLedger();
  const put = (record: JournalRecord) => {
    const body = encodeBody(record, ledger);
    ledger = advance(ledger, record, body);
    return { record, body };
  };
  const join = { id: '0'.repeat(16), name: 'a', group: '', examples: 48 };
  const entries = [put(genesis), put(roundOf(ledger, { joins: [join] }))];
  for (const bytes of rounds) entries.push(put(roundOf(ledger, { bytes: [bytes] })));
  return { entries, ledger };
}
