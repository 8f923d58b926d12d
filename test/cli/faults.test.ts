import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { random } from '../model/tiny.ts';
import { type Running, resultOf, Sandbox } from './sandbox.ts';

/** Rounds enough that faults meet a run that is under way. */
const ROUNDS = 500;
const plan = [{ scope: { type: 'head' }, rounds: ROUNDS }];

interface Summary {
  readonly totals: { readonly rounds: number; readonly disputes: number };
  readonly members: readonly { readonly name: string }[];
}

async function summaryOf(sandbox: Sandbox, run: string): Promise<Summary> {
  return JSON.parse((await sandbox.onebyte('journal', run, '--json')).stdout) as Summary;
}

/** Holds a run's end to its replay. */
async function holds(sandbox: Sandbox, running: Running): Promise<Summary> {
  const result = resultOf(await running.ended);
  assert.equal(result.rounds, ROUNDS);
  const replay = await sandbox.onebyte('replay', result.journal, '--json');
  assert.equal(replay.code, 0, replay.stderr);
  assert.equal(JSON.parse(replay.stdout).digest, result.digest);
  return summaryOf(sandbox, result.journal);
}

async function startRun(t: TestContext, method: object = { plan }) {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job({ replicas: 3, evaluation: { everyRounds: 50 } }, { ...method });
  const command = ['run', job, '--json', '--out', sandbox.path('run')];
  return { sandbox, command, start: () => sandbox.start(command) };
}

/** Waits until the run has come so far. */
async function reaches(running: Running, round: number): Promise<void> {
  await running.says(new RegExp(`round ${round}: validation`));
}

test('a worker killed at any moment is started again, and the run goes on to the digest of its replay', async (t) => {
  const { sandbox, start } = await startRun(t);
  const running = start();
  const moments = random(60, 17).map((x) => (x + 1) / 2);
  let killed = 0;
  // The run moves between two of them: what nobody can outlive is another matter.
  for (let round = 0; round < ROUNDS; round += 50) {
    await reaches(running, round);
    const [wait, whom] = moments.subarray(round / 25);
    await sleep(wait! * 300);
    const workers = running.workers();
    // Somebody is left, who need not have come far.
    if (workers.length < 2) continue;
    process.kill(workers[Math.floor(whom! * workers.length)]!, 'SIGKILL');
    killed++;
  }
  await holds(sandbox, running);
  assert.ok(killed > 0);
  assert.match(running.said, /worker worker-\d ended \(SIGKILL\) and is started again/);
});

test('all workers killed at once are started again and finish the run', async (t) => {
  const { sandbox, start } = await startRun(t);
  const running = start();
  for (const round of [50, 250]) {
    await reaches(running, round);
    for (const pid of running.workers()) process.kill(pid, 'SIGKILL');
  }
  // Each new process has the seat of the one before it: nobody has to wait for the dead.
  const { members, totals } = await holds(sandbox, running);
  assert.equal(members.length, 3);
  assert.equal(totals.disputes, 0);
});

test('a run whose process was killed goes on with the same command, and none of its workers stays behind', async (t) => {
  const { sandbox, start } = await startRun(t);
  for (const round of [50, 200]) {
    const running = start();
    await reaches(running, round);
    const workers = running.workers();
    assert.equal(workers.length, 3);
    running.kill('SIGKILL');
    const { signal, stderr } = await running.ended;
    assert.equal(signal, 'SIGKILL');
    assert.doesNotMatch(stderr, /terminate called|Error/);
    while (workers.some(runs)) await sleep(20);
    assert.ok((await summaryOf(sandbox, sandbox.path('run'))).totals.rounds >= round);
  }
  const { members, totals } = await holds(sandbox, start());
  assert.equal(members.length, 3);
  assert.equal(totals.disputes, 0);
});

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s*Z/m.test(
      execFileSync('cat', [`/proc/${pid}/status`], { encoding: 'utf8', stdio: 'pipe' }),
    );
  } catch {
    return false;
  }
}

test('an interrupted run says how to go on, loses nothing, and goes on', async (t) => {
  const { sandbox, start } = await startRun(t);
  for (const [round, interrupt] of [
    [50, (running: Running) => running.interrupt()],
    [200, (running: Running) => running.kill('SIGTERM')],
  ] as const) {
    const running = start();
    await reaches(running, round);
    interrupt(running);
    const { code, stderr, stdout } = await running.ended;
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^error INTERRUPTED: stopped before its end$/m);
    assert.match(stderr, /what to do: run the same command to go on/);
    assert.doesNotMatch(stderr, /^\s+at /m);
    assert.ok((await summaryOf(sandbox, sandbox.path('run'))).totals.rounds >= round);
  }
  await holds(sandbox, start());
});

test('a directory belongs to one run at a time, and to one run for good', async (t) => {
  const { sandbox, command, start } = await startRun(t);
  const running = start();
  await reaches(running, 50);
  const second = await sandbox.onebyte(...command);
  assert.equal(second.code, 2);
  assert.match(
    second.stderr,
    new RegExp(`^error LOG_LOCKED: another run uses this directory: process ${running.pid}$`, 'm'),
  );
  assert.match(second.stderr, /what to do: .*--out/);
  await holds(sandbox, running);
  const journal = await readFile(sandbox.path('run', 'journal.onebyte'));
  const third = await sandbox.onebyte(...command);
  assert.equal(third.code, 2);
  assert.match(third.stderr, /^error RUN_FINISHED: .* holds a finished run$/m);
  assert.deepEqual(await readFile(sandbox.path('run', 'journal.onebyte')), journal);
});

test('an unfinished run is not gone on with by another job; a job corrected before its first round is', async (t) => {
  const { sandbox, command, start } = await startRun(t);
  const running = start();
  await reaches(running, 50);
  running.interrupt();
  await running.ended;
  const other = await sandbox.onebyte(...command, '--set', 'spec.seed=4');
  assert.equal(other.code, 2);
  assert.match(other.stderr, /^error RUN_OTHER_JOB: .* holds an unfinished run of another job$/m);

  const fresh = ['run', await sandbox.job(), '--json', '--out', sandbox.path('fresh')];
  const wrong = await sandbox.onebyte(...fresh, '--set', 'task.labels=[neg, positive]');
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /^error LABEL_UNKNOWN: label "pos" in row \d+ of source 'train'/m);
  assert.equal(resultOf(await sandbox.onebyte(...fresh)).rounds, 12);
});

test('a result that finds no room is none: the same command makes it', async (t) => {
  if (process.platform !== 'linux') return t.skip('only Linux has /dev/full');
  const sandbox = await Sandbox.create(t);
  const command = ['run', await sandbox.job(), '--json', '--out', sandbox.path('run')];
  await mkdir(sandbox.path('run'));
  const running = sandbox.start(command);
  await symlink('/dev/full', sandbox.path('run', `.result.json.${running.pid}.part`));
  const { code, stderr } = await running.ended;
  assert.equal(code, 1, stderr);
  assert.match(stderr, /^error DISK_FULL: /m);
  assert.deepEqual(
    (await readdir(sandbox.path('run'))).filter((name) => name.includes('result.json')),
    [],
  );
  assert.equal(resultOf(await sandbox.onebyte(...command)).rounds, 12);
});

/** A file system of its own for the run, or why there is none. */
function smallDisk(path: string, kilobytes: number): string | null {
  if (process.platform !== 'linux') return 'a small tmpfs is mounted only on Linux';
  if (process.getuid?.() !== 0) return 'mounting a small tmpfs needs root';
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', path], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return `a small tmpfs cannot be mounted here: ${(error as Error).message.split('\n').join(' ')}`;
  }
}

test('a full disk ends the run with what to do, loses nothing, and with more room the run goes on', async (t) => {
  const { sandbox, start } = await startRun(t);
  const disk = sandbox.path('run');
  await mkdir(disk);
  const why = smallDisk(disk, 96);
  if (why !== null) return t.skip(why);
  sandbox.onClose(() => execFileSync('umount', ['-l', disk], { stdio: 'pipe' }));
  for (let attempt = 0; attempt < 2; attempt++) {
    const { code, stderr, stdout } = await start().ended;
    assert.equal(code, 1, stderr);
    assert.equal(stdout, '');
    assert.match(stderr, /^error DISK_FULL: /m);
    assert.match(stderr, /what to do: make room/);
    assert.doesNotMatch(stderr, /^\s+at /m);
  }
  execFileSync('mount', ['-o', 'remount,size=16m', disk], { stdio: 'pipe' });
  await holds(sandbox, start());
});
