import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsSystem } from '../nats/server.ts';
import { cutStore } from '../nats/store.ts';
import { missing } from '../tools/tool.ts';
import { RESULT_KEYS, type Running, resultOf, Sandbox } from './sandbox.ts';

const skip = await missing('nats-server');

describe('onebyte run --nats', { skip }, () => {
  let system: NatsSystem;
  before(async () => {
    system = await NatsSystem.start();
  });
  after(() => system.end());

  async function replayed(sandbox: Sandbox, running: Running): Promise<void> {
    const result = resultOf(await running.ended);
    const replay = await sandbox.onebyte('replay', result.journal, '--json');
    assert.equal(replay.code, 0, replay.stderr);
    assert.equal(JSON.parse(replay.stdout).digest, result.digest);
  }

  it('gives what a run without it gives: result, journal, model, report', async (t) => {
    const sandbox = await Sandbox.create(t);
    const job = await sandbox.job();
    const result = await sandbox.run(job, '--nats', system.url(), '--out', 'run', '--set', 'spec.seed=5');
    assert.deepEqual(Object.keys(result), RESULT_KEYS);
    assert.equal(result.rounds, 12);
    assert.equal(result.workers, 2);
    assert.ok(result.wireBytes > result.payloadBytes);
    for (const file of ['report.html', 'metrics.jsonl', 'model/model.safetensors'])
      assert.ok((await readFile(sandbox.path('run', file))).length > 0, file);
    const replay = await sandbox.onebyte('replay', sandbox.path('run'), '--json');
    assert.equal(JSON.parse(replay.stdout).digest, result.digest);
    const status = await sandbox.onebyte('status', sandbox.path('run'), '--nats', system.url());
    assert.match(status.stdout, new RegExp(`^digest +${result.digest}$`, 'm'));
    const again = await sandbox.onebyte('run', job, '--nats', system.url(), '--out', 'run');
    assert.equal(again.code, 2);
    assert.match(again.stderr, /^error RUN_FINISHED/m);
  });

  it('goes on with the same command after it was interrupted, and after it was killed', async (t) => {
    const sandbox = await Sandbox.create(t);
    const plan = [{ scope: { type: 'head' }, rounds: 1500 }];
    const job = await sandbox.job({ evaluation: { everyRounds: 100 } }, { plan });
    const command = ['run', job, '--nats', system.url(), '--out', 'run', '--json'];
    const first = sandbox.start(command);
    await first.says(/round 200: validation/);
    first.interrupt();
    const { code, stderr } = await first.ended;
    assert.equal(code, 1);
    assert.match(stderr, /^error INTERRUPTED/m);
    const second = sandbox.start(command);
    await second.says(/round 600: validation/);
    second.kill('SIGKILL');
    await second.ended;
    // Its workers saw that it was gone, and left.
    await sleep(500);
    await replayed(sandbox, sandbox.start(command));
  });

  it('takes back what the log lost, in the journal too', async (t) => {
    const sandbox = await Sandbox.create(t);
    const plan = [{ scope: { type: 'head' }, rounds: 1000 }];
    const job = await sandbox.job({ evaluation: { everyRounds: 100 } }, { plan });
    const running = sandbox.start(['run', job, '--nats', system.url(), '--out', 'run', '--json']);
    await running.says(/round 200: validation/);
    const { uid } = JSON.parse(await readFile(sandbox.path('run', 'nats.json'), 'utf8')) as { uid: string };
    await system.kill();
    await cutStore(system, `onebyte-${uid}`, 30);
    await system.start();
    await running.says(/the log lost its last records/);
    await replayed(sandbox, running);
  });

  it('says that nobody answers', async (t) => {
    const sandbox = await Sandbox.create(t);
    const { code, stderr } = await sandbox.onebyte(
      'run',
      await sandbox.job(),
      '--nats',
      'nats://127.0.0.1:1',
    );
    assert.equal(code, 1);
    assert.match(stderr, /^error NATS_UNREACHABLE/m);
  });
});
