import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { follow } from '../../worker/journal/follow.ts';
import { emptyLedger } from '../../worker/journal/ledger.ts';
import type { DisputeRecord, JournalRecord } from '../../worker/journal/record.ts';
import { PLAIN_CHOICES } from './job.ts';
import { MUTANTS, type Mutant } from './mutants.ts';
import { describe, isCalm, type Schedule, scheduleOf, type Trouble } from './schedule.ts';
import { search, simulate } from './simulate.ts';
import { World } from './world.ts';

const SCHEDULES = 10_000;

test(`${SCHEDULES} runs under faults end with the same state on every replica and in every replay`, async () => {
  const failure = await search(1, SCHEDULES);
  assert.equal(failure, null, failure === null ? '' : `${failure.why}\n${describe(failure.shrunk)}`);
});

for (const [mutant, what] of Object.entries(MUTANTS))
  test(`the simulator finds out when ${what}`, async () => {
    const failure = await search(1, 300, mutant as Mutant);
    assert.notEqual(failure, null);
    // What is left after shrinking fails still, and by itself.
    assert.notEqual((await simulate(failure!.shrunk, mutant as Mutant)).failure, null);
    assert.ok(failure!.shrunk.troubles.length <= scheduleOf(failure!.seed).troubles.length);
  });

test('a schedule always runs the same way', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const lines: string[][] = [[], []];
    for (const trace of lines) await simulate(scheduleOf(seed), null, (line) => trace.push(line));
    assert.deepEqual(lines[0], lines[1]);
  }
});

test('schedules have every sort of trouble, and some have none', () => {
  const schedules = Array.from({ length: 300 }, (_, seed) => scheduleOf(seed));
  const kinds = new Set(schedules.flatMap(({ troubles }) => troubles.map(({ kind }) => kind)));
  assert.equal(kinds.size, 11);
  assert.ok(schedules.some(isCalm));
});

const CALM: Schedule = {
  seed: 5,
  job: { ...PLAIN_CHOICES, rounds: [12], probes: 2, digestEvery: 1 },
  workers: 4,
  paces: [20, 20, 20, 20],
  troubles: [],
};

function recordsOf(world: World): JournalRecord[] {
  let ledger = emptyLedger();
  return world.log.entries.map((entry) => {
    const outcome = follow(ledger, entry);
    assert.ok(!('ignored' in outcome));
    ledger = outcome.ledger;
    return outcome.record;
  });
}

/** One bit of a worker's state flips in the middle of a run that checks every round. */
async function flipped(place: number): Promise<{ world: World; disputes: DisputeRecord[] }> {
  const world = new World(CALM, null);
  world.time.at(300, () => {
    const { store } = world.processes[place]!.engine.replica;
    store.view(0)[1]! += 2 ** store.exponent(0);
  });
  while (!world.over && (await world.step()));
  const disputes = recordsOf(world).filter((record) => record.kind === 'dispute');
  return { world, disputes };
}

test('a replica whose state went wrong says so, builds itself again and ends with the others', async () => {
  for (let place = 0; place < 4; place++) {
    const { world, disputes } = await flipped(place);
    const { id } = world.processes[place]!;
    // Whether it saw another's digest first or the others saw its own, the dispute is between it and them.
    assert.ok(disputes.length > 0);
    assert.ok(
      disputes.every(
        ({ reason, member, proposer }) => (reason === 'digest' && member === id) || proposer === id,
      ),
    );
    const own = disputes.filter(({ reason }) => reason === 'tensor');
    const { name } = world.processes[place]!.engine.replica.store.tensors[0]!;
    assert.deepEqual(
      own.map(({ member, expected }) => [member, expected]),
      [[id, name]],
    );
    const digests = world.processes.map(({ engine }) => engine.replica.digest());
    assert.equal(new Set(digests).size, 1);
    for (const { outcome } of world.processes)
      assert.ok(outcome !== null && 'type' in outcome && outcome.type === 'finished');
    const end = recordsOf(world).at(-1);
    assert.ok(end?.kind === 'end' && end.digest === digests[0]);
  }
});

test('members whose bytes a proposer changes dispute it by name', async () => {
  const world = new World(CALM, 'changed bytes');
  while (!world.over && (await world.step()));
  const disputes = recordsOf(world).filter((record) => record.kind === 'dispute');
  assert.ok(disputes.length > 0 && disputes.every(({ reason }) => reason === 'bytes'));
});

test('checkpoints that are wrong, time and again, neither end a member nor make it build its state anew', async () => {
  const world = new World(CALM, null);
  let rebuilt = 0;
  world.trace = (_, { type }) => {
    if (type === 'rebuilding') rebuilt++;
  };
  for (let wrong = 0; !world.over && (await world.step()); ) {
    const { ledger, seq } = world.processes[0]!.driver.state;
    if (ledger.complete !== null || ledger.round <= wrong || seq < world.log.entries.length) continue;
    const { round } = ledger;
    const record = {
      kind: 'checkpoint',
      round,
      digest: 'ab'.repeat(32),
      location: `wrong/${wrong}`,
    } as const;
    world.log.accept(sealRecord(ledger, record), { expectedLast: seq, id: record.location });
    wrong++;
  }
  const wrong = recordsOf(world).filter(
    (record) => record.kind === 'checkpoint' && /wrong/.test(record.location),
  );
  assert.ok(wrong.length > 4);
  assert.equal(rebuilt, 0);
  for (const { outcome } of world.processes)
    assert.ok(outcome !== null && 'type' in outcome && outcome.type === 'finished');
});

for (const [who, restartAfter] of [
  ['under their own names', 500],
  ['by others', null],
] as const)
  test(`all workers may be replaced at once, ${who}, and the run goes on with the new ones`, async () => {
    const workers = 12;
    const troubles: Trouble[] = [];
    for (let worker = 0; worker < workers; worker++) {
      troubles.push({ kind: 'kill', at: 400, worker, restartAfter });
      if (restartAfter === null) troubles.push({ kind: 'join', at: 900 });
    }
    const schedule = { ...CALM, workers, paces: new Array<number>(workers).fill(20), troubles };
    const { failure, overtime } = await simulate(schedule);
    assert.equal(failure, null);
    // Nobody waits for earlier lives; for strangers it is known only after some rounds that they are gone.
    assert.ok(overtime <= (restartAfter === null ? 60_000 : 0), `${overtime} ms`);
  });

/**
 * Counts of each member in each update, and the virtual time of a round, of a calm run with these paces.
 * @param paused how many virtual milliseconds longer a full round of a member takes now, if any
 */
async function mixed(
  paces: readonly number[],
  rounds = 60,
  paused: (member: number, now: number) => number = () => 0,
): Promise<{ counts: number[][]; ms: number }> {
  const job = { ...CALM.job, rounds: [rounds], probes: 16, digestEvery: 0 };
  const world = new World({ ...CALM, job, workers: paces.length, paces }, null);
  while (!world.over && (await world.step()))
    for (const [i, { engine }] of world.processes.entries())
      engine.pace = paces[i]! + paused(i, world.time.now) / 16;
  const updates = recordsOf(world).filter(
    (record) => record.kind === 'round' && record.bytes.some((own) => own.length > 0),
  );
  const counts = updates.map((record) =>
    record.kind === 'round' ? record.bytes.map((own) => own.length) : [],
  );
  const settled = updates.slice(rounds / 3);
  const elapsed = settled.reduce((sum, record) => sum + (record.kind === 'round' ? record.elapsed : 0), 0);
  return { counts, ms: elapsed / settled.length };
}

test('a slow worker evaluates fewer probes and holds nobody up', async () => {
  // A round of the fast ones takes 160 ms and a few more on the way.
  const { counts, ms } = await mixed([10, 10, 40, 130]);
  const settled = counts.slice(20);
  const mean = (slot: number) => settled.reduce((sum, own) => sum + own[slot]!, 0) / settled.length;
  assert.ok(mean(0) === 16 && mean(1) === 16, `the fast ones: ${mean(0)}, ${mean(1)}`);
  assert.ok(mean(2) > 3 && mean(2) < 7, `four times slower: ${mean(2)}`);
  assert.ok(mean(3) > 0.9 && mean(3) < 2, `thirteen times slower: ${mean(3)}`);
  assert.ok(ms < 250, `${ms} ms a round`);
});

test('workers of one speed all evaluate the most, in every round', async () => {
  const { counts } = await mixed([10, 10, 10, 10, 10]);
  assert.ok(counts.flat().every((count) => count === 16));
});

test('a pause of 45 ms now and then, in rounds that take 16, costs nobody its probes', async () => {
  const paused = (member: number, now: number) =>
    now % 400 < 20 && Math.floor(now / 400) % 4 === member ? 45 : 0;
  const { counts } = await mixed([1, 1, 1, 1], 400, paused);
  const probes = counts.flat();
  const share = probes.reduce((sum, count) => sum + count, 0) / (16 * 4 * counts.length);
  assert.ok(share > 0.98, `${share} of the most probes`);
});

test('a worker whose least takes several times what the others need is neither waited for nor in the way', async () => {
  const { counts, ms } = await mixed([10, 10, 500]);
  assert.ok(counts.every((own) => own[0] === 16 && own[1] === 16));
  assert.ok(ms < 900, `${ms} ms a round`);
});
