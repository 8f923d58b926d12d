import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../../worker/journal/ledger.ts';
import type { RoundRecord } from '../../worker/journal/record.ts';
import type { LogEntry } from '../../worker/log/log.ts';
import { EXAMPLES } from './engine.ts';
import { freshReplica } from './job.ts';
import { isCalm } from './schedule.ts';
import { stateOf } from './witness.ts';
import type { World } from './world.ts';

/** What must hold at the end of every schedule; null: all of it does. */
export function verdict(world: World): string | null {
  const { witness, log } = world;
  if (witness.failure !== null) return witness.failure;
  const replica = freshReplica(world.schedule.job.rounds.length);
  let ledger = emptyLedger();
  const digests: string[] = [];
  for (const entry of log.entries) {
    const outcome = follow(ledger, entry);
    // An append that was on its way while the log lost as much as it had grown by may land; the chain tells.
    if ('ignored' in outcome && losesTail(world)) continue;
    if ('ignored' in outcome)
      return `entry ${entry.seq} of the log is one that replicas ignore: ${outcome.ignored}`;
    const { record, body } = outcome;
    if (record.kind === 'dispute') return `entry ${entry.seq}: ${JSON.stringify(record)}`;
    if (record.kind === 'checkpoint' && record.digest !== digests[record.round])
      return `entry ${entry.seq}: a checkpoint with another digest than round ${record.round} had`;
    if (record.kind === 'round') {
      const wrong = wrongRound(world, ledger, record, entry);
      if (wrong !== null) return `round ${record.round} (entry ${entry.seq}): ${wrong}`;
      if (record.digest !== null && record.digest !== replica.digest())
        return `round ${record.round}: wrong digest`;
    }
    replica.commit(record, body);
    if (outcome.ledger.round > ledger.round) digests[outcome.ledger.round] = replica.digest();
    ledger = outcome.ledger;
    const seen = witness.stateAt(ledger.chain);
    if (seen !== null && seen !== stateOf(replica))
      return `replay differs from the run after entry ${entry.seq}`;
  }
  if (ledger.end === null)
    return `the run did not end: round ${ledger.round}, ${ledger.members.length} members`;
  if (ledger.end.digest !== replica.digest()) return 'replay does not give the end digest';
  for (const { id, outcome, engine } of world.alive) {
    if (outcome === null) return `${id} came to no end`;
    if (outcome instanceof Error || outcome.type === 'left') continue;
    if (engine.replica.digest() !== outcome.record.digest) return `${id} finished with another digest`;
    if (outcome.own !== outcome.record.digest) return `${id} finished without the digest it should have`;
  }
  return null;
}

function wrongRound(world: World, ledger: Ledger, record: RoundRecord, { data }: LogEntry): string | null {
  const { witness } = world;
  const { members, roundChain } = ledger;
  if (record.bytes.every((bytes) => bytes.length === 0)) return null;
  for (const [i, bytes] of record.bytes.entries()) {
    const { id, slot } = members[i]!;
    if (bytes.length > 0 && !witness.hasMeasured(id, { roundChain, slot }, bytes))
      return `slot ${slot} has bytes that ${id} did not measure there`;
  }
  const proposer = members[(record.round + record.attempt) % members.length]!;
  if (witness.authorOf(data) !== proposer.id)
    return `${witness.authorOf(data)} wrote the record of attempt ${record.attempt}, which is ${proposer.id}'s`;
  const twice = evaluatedTwice(ledger, record);
  // What was said before the log lost who was in is said again.
  if (twice !== null && !losesTail(world)) return twice;
  if (!isCalm(world.schedule)) return null;
  if (record.attempt > 0) return `attempt ${record.attempt} though nothing went wrong`;
  const missed = record.bytes.filter((bytes) => bytes.length === 0).length;
  if (missed > 0) return `${missed} members missed it though nothing went wrong`;
  return members.length < world.schedule.workers ? 'not all workers are in though nothing went wrong' : null;
}

function losesTail({ schedule }: World): boolean {
  return schedule.troubles.some(({ kind }) => kind === 'loseTail');
}

/** The members of a group share its rows. */
function evaluatedTwice({ members }: Ledger, { evaluations }: RoundRecord): string | null {
  const counts = new Map<string, number>();
  for (const { split, slot, count } of evaluations) {
    const key = `${split} rows of group '${members.find((member) => member.slot === slot)!.group}'`;
    counts.set(key, (counts.get(key) ?? 0) + count);
  }
  const [wrong] = [...counts].filter(([, count]) => count > EXAMPLES);
  return wrong === undefined ? null : `${wrong[1]} ${wrong[0]} evaluated, which has ${EXAMPLES}`;
}
