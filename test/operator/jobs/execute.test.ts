import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { ChildIndex } from '../../../operator/jobs/child-index.ts';
import { Executor } from '../../../operator/jobs/execute.ts';
import type { Job } from '../../../operator/jobs/job.ts';
import { JobMemory } from '../../../operator/jobs/memory.ts';
import { FINALIZER, LABELS } from '../../../operator/jobs/names.ts';
import type { Action } from '../../../operator/jobs/plan.ts';
import { exportPod } from '../../../operator/jobs/pod.ts';
import { LogPoller } from '../../../operator/jobs/poller.ts';
import { Client, everywhere, realClock } from '../../../operator/kube/mod.ts';
import { jobOf, settings } from './builder.ts';
import { MemoryLogs } from './memory-logs.ts';

interface Asked {
  readonly call: string;
  readonly type: string | undefined;
  readonly body: Record<string, unknown>;
}

/** What a server answers a call such as `PATCH /api/v1/...`: code and object; by default 200 with what it was sent. */
type Answers = Readonly<Record<string, readonly [number, object]>>;

describe('what is asked of the API server', () => {
  let server: Server;
  let client: Client;
  let answers: Answers = {};
  const asked: Asked[] = [];

  before(async () => {
    server = createServer(async (request, response) => {
      const call = `${request.method} ${request.url!.split('?')[0]}`;
      const body = await bodyOf(request);
      asked.push({ call, type: request.headers['content-type'], body });
      const [code, object] = answers[call] ?? [200, body];
      response.writeHead(code).end(JSON.stringify(object));
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const config = {
      server: new URL(`http://127.0.0.1:${port}`),
      namespace: 'default',
      tls: {},
      headers: async () => ({}),
    };
    client = new Client({ config, clock: realClock, random: Math.random, fieldManager: 'onebyte-test' });
  });
  after(() => {
    client.close();
    server.close();
  });
  beforeEach(() => {
    asked.length = 0;
    answers = {};
  });

  async function execute(action: Action, job: Job, memory = new JobMemory(), port = new MemoryLogs()) {
    const clock = realClock;
    const poller = new LogPoller({ port, clock, changed: () => undefined });
    const children = new ChildIndex({ client, clock, scope: everywhere, refreshed: () => undefined });
    const executor = new Executor({ client, clock, port, poller, children, settings });
    return executor.execute([action], job, memory, new AbortController().signal);
  }

  const path = '/apis/onebyte.dev/v1alpha1/namespaces/default/finetunejobs/tune';

  test('the finalizer goes whoever put it there, others stay, and only from the job as it was seen', async () => {
    const finalizers = ['example.com/other', FINALIZER];
    const job = jobOf('tune', {}, { finalizers, resourceVersion: '7' });
    assert.equal((await execute({ type: 'remove-finalizer' }, job)).isGone, true);
    assert.deepEqual(asked, [
      {
        call: `PATCH ${path}`,
        // An apply takes away only what whoever applies has put there.
        type: 'application/merge-patch+json',
        body: { metadata: { resourceVersion: '7', finalizers: ['example.com/other'] } },
      },
    ]);
  });

  test('a job that has changed or gone meanwhile is left to the next look', async () => {
    const conflict = { kind: 'Status', code: 409, reason: 'Conflict' };
    for (const code of [404, 409]) {
      answers = { [`PATCH ${path}`]: [code, { ...conflict, code }] };
      assert.equal((await execute({ type: 'remove-finalizer' }, jobOf('tune'))).isGone, true);
    }
  });

  test('a log that gets no more room is refused that alone: its removal need not wait', async () => {
    const [job, memory, port] = [jobOf('tune'), new JobMemory(), new MemoryLogs()];
    port.problem = 'no room';
    await execute({ type: 'widen-stream' }, job, memory, port);
    assert.equal(memory.setbacks.stream, null);
    assert.equal(memory.setbacks.room?.message, 'no room');
    port.problem = null;
    await execute({ type: 'widen-stream' }, job, memory, port);
    assert.equal(memory.setbacks.room, null);
  });

  test('where the name of the pod that writes the model is taken, that is a refusal, as it has no other', async () => {
    const job = jobOf('tune', { output: { uri: 's3://b/p' } });
    const pods = '/api/v1/namespaces/default/pods';
    const own = exportPod(job, settings);
    const at = { name: 'tune-export', namespace: 'default', uid: 'other', resourceVersion: '1' };
    answers = {
      [`POST ${pods}`]: [409, { kind: 'Status', code: 409, reason: 'AlreadyExists' }],
      [`GET ${pods}/tune-export`]: [200, { metadata: at }],
    };
    const memory = new JobMemory();
    await execute({ type: 'create-export' }, job, memory);
    assert.equal(memory.setbacks.pods?.reason, 'PodRefused');
    assert.match(memory.setbacks.pods.message, /a pod tune-export that is not this job's: delete it/);
    // A pod of ours that an earlier pass made is none.
    answers = {
      ...answers,
      [`GET ${pods}/tune-export`]: [200, { ...own, metadata: { ...own.metadata, ...at } }],
    };
    const other = new JobMemory();
    await execute({ type: 'create-export' }, job, other);
    assert.equal(other.setbacks.pods, null);
    assert.equal(other.overlay([], realClock.now()).length, 1);
    // Nor is one that leaves, also where somebody took it from our sight: it is waited for.
    const { [LABELS.managedBy]: _, ...labels } = own.metadata.labels!;
    const leaving = { ...own.metadata, ...at, labels, deletionTimestamp: '2026-01-01T12:00:00Z' };
    answers = { ...answers, [`GET ${pods}/tune-export`]: [200, { ...own, metadata: leaving }] };
    const third = new JobMemory();
    await execute({ type: 'create-export' }, job, third);
    assert.equal(third.setbacks.pods, null);
    assert.equal(third.overlay([], realClock.now()).length, 1);
  });
});

async function bodyOf(request: IncomingMessage): Promise<Asked['body']> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString());
}
