/** Ends with 7 while its engine computes. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ThreadedEngine } from '../../worker/engine/threaded.ts';
import { entriesOf } from './opening.ts';

const config = JSON.parse(readFileSync(process.argv[2]!, 'utf8'));
const engine = await ThreadedEngine.open(config);
const { entries, ledger } = entriesOf(config.genesis, []);
await engine.commitAll(entries);
const request = { round: 0, slot: 0, count: 4000, roundChain: ledger.roundChain };
engine.probe(request, new AbortController().signal).catch(() => {});
await sleep(100);
process.exit(7);
