import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { missing } from '../tools/tool.ts';
import { ground } from './ground.ts';

const skip = await missing('nats-server');
/** More than any test runs for. */
const ENDLESS = 1_000_000;

describe('onebyte worker', { skip }, () => {
  const on = ground();
  const { start, make } = on;
  const value = (metrics: string, name: string): number =>
    Number(
      metrics
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.slice(name.length + 1),
    );

  it('runs a job from an empty log to its end with others like it, and exits 0', async () => {
    await on.lab.job();
    const job = await make();
    const workers = [0, 1, 2].map((party) => start(job.names.uid, party, { ONEBYTE_MIN_WORKERS: '3' }));
    for (const worker of workers) assert.equal((await worker.ended).code, 0, worker.stderr);
    const digests = workers.map(({ lines }) => lines.find(({ msg }) => /has ended/.test(msg))!.digest);
    assert.equal(new Set(digests).size, 1);
  });

  it('says over HTTP that it lives, that it takes part, and what it counted', async () => {
    await on.lab.job({ rounds: ENDLESS });
    const job = await make();
    const worker = start(job.names.uid, 0);
    assert.equal(await worker.answers('/readyz', 200), 'stepping\n');
    assert.match(await worker.answers('/healthz', 200), /engine/);
    assert.equal(await worker.answers('/startupz', 200), 'started\n');
    assert.equal((await worker.get('/nothing')).status, 404);
    await worker.said(/^round$/);
    const { text } = await worker.get('/metrics');
    assert.ok(value(text, 'onebyte_round') >= 100);
    assert.equal(value(text, 'onebyte_joined'), 1);
    assert.equal(value(text, 'onebyte_members'), 1);
    assert.ok(value(text, 'onebyte_probes_total{outcome="committed"}') >= 100);
    assert.ok(value(text, 'onebyte_payload_bytes_total{direction="received"}') >= 100);
    assert.ok(value(text, 'onebyte_socket_bytes_total{direction="sent"}') >= 10_000);
    assert.ok(value(text, 'onebyte_round_phase_seconds_count{phase="forward"}') >= 100);
    assert.ok(value(text, 'onebyte_round_phase_seconds_count{phase="direction"}') >= 100);
    assert.ok(value(text, 'onebyte_round_phase_seconds_count{phase="log"}') >= 100);
    assert.ok(value(text, 'onebyte_loss') > 0);
    assert.match(text, /^onebyte_worker_info\{run="lab",uid="[^"]+",worker="lab-p0-0",group="p0"\} 1$/m);
  });

  it('leaves when it is asked to with SIGTERM, which the log says, and exits 0', async () => {
    await on.lab.job({ rounds: ENDLESS });
    const job = await make();
    const [first, second] = [start(job.names.uid, 0), start(job.names.uid, 1)];
    await Promise.all([first.answers('/readyz', 200), second.answers('/readyz', 200)]);
    second.signal('SIGTERM');
    assert.deepEqual(await second.ended, { code: 0, signal: null });
    assert.equal((await second.said(/^left$/)).released, true);
    while (value((await first.get('/metrics')).text, 'onebyte_members') !== 1);
    first.signal('SIGTERM');
    assert.deepEqual(await first.ended, { code: 0, signal: null });
  });

  it('exits 0 on SIGTERM also while it waits for its stream or its server', async () => {
    await on.lab.job();
    const waiting = start(on.lab.freshUid(), 0);
    await waiting.said(/waiting for the stream/);
    const { status, text } = await waiting.get('/readyz');
    assert.deepEqual([status, text.slice(0, 22)], [503, 'waiting for the stream']);
    const alone = start(on.lab.freshUid(), 1, { ONEBYTE_NATS_URL: 'nats://127.0.0.1:1' });
    assert.equal((await alone.said(/no NATS server answers/)).code, 'NATS_UNREACHABLE');
    assert.equal((await alone.get('/healthz')).status, 200);
    for (const worker of [waiting, alone]) {
      worker.signal('SIGTERM');
      assert.deepEqual(await worker.ended, { code: 0, signal: null });
    }
  });

  it('is replaced after kill -9 while the others go on, and is the same worker again', async () => {
    await on.lab.job({ rounds: ENDLESS });
    const job = await make();
    const stays = start(job.names.uid, 0);
    const killed = start(job.names.uid, 1);
    await Promise.all([stays.answers('/readyz', 200), killed.answers('/readyz', 200)]);
    await killed.kill();
    const before = value((await stays.get('/metrics')).text, 'onebyte_round');
    const again = start(job.names.uid, 1);
    await again.answers('/readyz', 200);
    assert.equal(value((await again.get('/metrics')).text, 'onebyte_divergences_total'), 0);
    assert.ok(value((await stays.get('/metrics')).text, 'onebyte_round') > before);
  });

  it('whose state goes wrong falls silent, names the tensor, also on the log, and takes part again', async () => {
    await on.lab.job({ rounds: ENDLESS });
    const job = await make();
    const preload = join(import.meta.dirname, 'corrupting.ts');
    const env = {
      ONEBYTE_MIN_WORKERS: '2',
      ONEBYTE_TEST_CORRUPT: '1@25',
      NODE_OPTIONS: `--import=${preload}`,
    };
    const wrong = start(job.names.uid, 0, env);
    const right = start(job.names.uid, 1, { ONEBYTE_MIN_WORKERS: '2' });
    const told = await right.said(/had a wrong state/);
    const found = await wrong.said(/^the state was wrong, first in /);
    const { tensor, round } = await wrong.said(/^flipped/);
    assert.deepEqual([found.tensor, found.tensors, found.round], [tensor, 1, 30]);
    assert.deepEqual([told.reason, told.expected, told.round], ['tensor', tensor, 30]);
    assert.equal(round, 25);
    const [before, other] = await Promise.all(
      [wrong, right].map(async (one) => (await one.get('/metrics')).text),
    );
    assert.equal(value(before!, 'onebyte_divergences_total'), 1);
    // They agree again: the records of these rounds hold several digests.
    const until = value(other!, 'onebyte_round') + 50;
    while (value((await right.get('/metrics')).text, 'onebyte_round') < until);
    await wrong.answers('/readyz', 200);
    for (const [worker, text] of [
      [wrong, before],
      [right, other],
    ] as const)
      assert.equal(
        value((await worker.get('/metrics')).text, 'onebyte_divergences_total'),
        value(text!, 'onebyte_divergences_total'),
      );
  });

  it('goes on after its server was killed and started again', async () => {
    await on.lab.job({ rounds: ENDLESS });
    const job = await make();
    const worker = start(job.names.uid, 0);
    await worker.answers('/readyz', 200);
    await on.system.kill();
    await worker.said(/lost the connection/);
    await worker.answers('/readyz', 503);
    assert.equal((await worker.get('/healthz')).status, 200);
    await on.system.start();
    await worker.answers('/readyz', 200);
    assert.equal(value((await worker.get('/metrics')).text, 'onebyte_reconnects_total'), 1);
  });
});
