/**
 * Size and speed of journals: `node bench/journal.ts`. The run is the bar's: 4 workers x 16 probes x 1,000 rounds, with
 * a genesis for a head and 12 matrices, a validation every 50 rounds, one test at the start and one at the end.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DIGEST, genesisOf, jobSpec, joinOf, roundOf } from '../test/journal/fixture.ts';
import {
  advance,
  decodeBody,
  dueEvaluations,
  type Evaluation,
  emptyLedger,
  encodeBody,
  type JournalRecord,
  JournalWriter,
  journalOutcome,
  type Ledger,
  sealRecord,
} from '../worker/journal/index.ts';
import { EmbeddedLog } from '../worker/log/embedded.ts';

const [workers, probes, rounds] = [4, 16, 1000];
const directory = mkdtempSync(join(tmpdir(), 'onebyte-bench-'));

/** Numbers without a pattern, so that nothing here compresses by accident. */
let state = 1;
function noise(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

function genesis(): JournalRecord {
  const names = [
    'attention.self.query',
    'attention.self.key',
    'attention.self.value',
    'attention.output.dense',
  ];
  const matrices = [...names, 'intermediate.dense', 'output.dense'];
  const tensors = ['4', '5'].flatMap((layer) =>
    matrices.map((name) => ({
      name: `encoder.layer.${layer}.${name}.C`,
      shape: [name === 'intermediate.dense' ? 1536 : 384, 16],
      exponent: -19,
    })),
  );
  const base = genesisOf(jobSpec({ probes, rounds: [300, 700], every: 50 }));
  return { ...base, tensors: [...base.tensors, ...tensors] };
}

function evaluationsFor(ledger: Ledger): Evaluation[] {
  return dueEvaluations(ledger).flatMap((split) =>
    ledger.members.map(({ slot }) => {
      const count = 150 + Math.floor(noise() * 20);
      return {
        split,
        slot,
        count,
        lossSum: count * noise(),
        correct: Math.floor(count * (0.6 + 0.2 * noise())),
      };
    }),
  );
}

/** @param elapsed milliseconds of a round */
function run(elapsed: number): { bytes: number; payload: number; path: string; seconds: number } {
  const path = join(directory, `journal-${elapsed}`);
  const writer = JournalWriter.create(path);
  let ledger = emptyLedger();
  const add = (record: JournalRecord) => {
    const body = encodeBody(record, ledger);
    ledger = advance(ledger, decodeBody(body, ledger), body);
    writer.append({ body, ledger });
  };
  const begun = performance.now();
  add(genesis());
  add(
    roundOf(ledger, { joins: Array.from({ length: workers }, (_, i) => joinOf(i, `group-${i}`)), bytes: [] }),
  );
  while (!ledger.finished) {
    const bytes = ledger.members.map(() =>
      Uint8Array.from({ length: ledger.complete === null ? probes : 0 }, () => 256 * noise()),
    );
    const evaluations = evaluationsFor(ledger);
    add(roundOf(ledger, { bytes, evaluations, elapsed: Math.floor(elapsed * (0.8 + 0.4 * noise())) }));
  }
  add({ kind: 'end', round: rounds, digest: DIGEST, reason: 'rounds' });
  const seconds = (performance.now() - begun) / 1000;
  writer.close();
  return { bytes: writer.bytes, payload: ledger.totals.payloadBytes, path, seconds };
}

for (const elapsed of [50, 250]) {
  const { bytes, payload, path, seconds } = run(elapsed);
  const begun = performance.now();
  const { records } = journalOutcome(path).ledger;
  const reading = (performance.now() - begun) / 1000;
  console.log(
    `${workers} workers x ${probes} probes x ${rounds} rounds of about ${elapsed} ms: ${bytes} bytes, ` +
      `journal/payload ${(bytes / payload).toFixed(3)} (bar 1.15); ` +
      `written at ${Math.round(records / seconds)} records/s, read at ${Math.round(records / reading)} records/s`,
  );
}

const fsyncs: number[] = [];
const log = await EmbeddedLog.open(join(directory, 'log'));
let ledger = emptyLedger();
for (const record of [genesis()]) {
  await log.append(sealRecord(ledger, record), { expectedLast: 0, id: 'genesis' });
  const body = encodeBody(record, ledger);
  ledger = advance(ledger, record, body);
}
const entry = sealRecord(ledger, roundOf(ledger, { joins: [joinOf(0)], bytes: [] }));
for (let last = 1; last <= 300; last++) {
  const begun = performance.now();
  await log.append(entry, { expectedLast: last, id: `${last}` });
  fsyncs.push(performance.now() - begun);
}
await log.close();
fsyncs.sort((a, b) => a - b);
console.log(
  `embedded log, fsync per entry of ${entry.length} bytes: ` +
    `median ${fsyncs[150]!.toFixed(2)} ms, 99th percentile ${fsyncs[297]!.toFixed(2)} ms`,
);
if (existsSync(directory)) rmSync(directory, { recursive: true });
