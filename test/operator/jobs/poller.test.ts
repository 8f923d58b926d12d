import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { type LogJob, logJobOf } from '../../../operator/jobs/log-port.ts';
import { LogPoller } from '../../../operator/jobs/poller.ts';
import { unasked } from '../../../operator/jobs/world.ts';
import { VirtualClock } from '../kube/virtual-clock.ts';
import { jobOf } from './builder.ts';
import { MemoryLogs } from './memory-logs.ts';

/** A server of logs that notes whom it was asked for. */
class NotingLogs extends MemoryLogs {
  readonly asked: string[] = [];

  override async last(job: LogJob) {
    this.asked.push(job.url ?? 'ours');
    return super.last(job);
  }
}

describe('the poller of logs', () => {
  const job = jobOf('tune');
  const moved = jobOf('tune', { nats: { url: 'nats://elsewhere:4222' } });
  let logs: NotingLogs;
  let clock: VirtualClock;
  let poller: LogPoller;
  let ender: AbortController;
  let life: Promise<void>;

  beforeEach(() => {
    [logs, clock, ender] = [new NotingLogs(), new VirtualClock(), new AbortController()];
    poller = new LogPoller({ port: logs, clock, changed: () => undefined });
    life = poller.run(ender.signal);
  });
  afterEach(async () => {
    ender.abort();
    await life;
  });

  test('a log that is elsewhere by now is asked for there, and what was known of the old one is forgotten', async () => {
    logs.say(job, { rounds: 7 });
    poller.follow(logJobOf(job));
    await clock.advance(100);
    assert.equal(poller.view(logJobOf(job)).answer?.type, 'known');
    assert.deepEqual(poller.view(logJobOf(moved)), unasked);
    poller.follow(logJobOf(moved));
    await clock.advance(100);
    assert.equal(poller.view(logJobOf(moved)).answer?.type, 'known');
    assert.deepEqual(logs.asked, ['ours', 'nats://elsewhere:4222']);
    poller.follow(logJobOf(moved));
    await clock.advance(5_000);
    assert.equal(logs.asked.length, 3, 'it is asked for every few seconds, and once');
    assert.equal(poller.size, 1);
    assert.deepEqual(logs.left, ['uid-tune-0000'], 'nothing is kept open for the old one');
    poller.forget('uid-tune-0000');
    assert.equal(logs.left.length, 2);
  });

  test('a question whose log is asked for no more may fail as it likes, and others are asked all the same', async () => {
    const all = ['a', 'b', 'c', 'd'].map((name) => logJobOf(jobOf(name)));
    const answers: PromiseWithResolvers<never>[] = [];
    logs.last = (one) => {
      logs.asked.push(one.name);
      answers.push(Promise.withResolvers());
      return answers.at(-1)!.promise;
    };
    for (const one of all.slice(0, 3)) poller.follow(one);
    await clock.advance(100);
    for (const one of all.slice(0, 3)) poller.forget(one.uid);
    for (const { reject } of answers) reject(new Error('closed'));
    await clock.advance(100);
    poller.follow(all[3]!);
    await clock.advance(100);
    assert.deepEqual(logs.asked, ['a', 'b', 'c', 'd']);
  });
});
