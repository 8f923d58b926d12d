import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Client } from '../../../operator/kube/client.ts';
import { realClock } from '../../../operator/kube/clock.ts';
import { loadConfig } from '../../../operator/kube/config.ts';
import * as errors from '../../../operator/kube/errors.ts';
import { type ConfigMap, configMaps, pods } from '../../../operator/kube/object.ts';
import { type Cluster, clusterMissing, startCluster } from '../../cluster/cluster.ts';
import { FaultProxy } from '../../cluster/fault-proxy.ts';
import { clientOf, clientThrough, until } from './setup.ts';

const skip = await clusterMissing();
const namespace = 'default';
const named = (name: string, data: Record<string, string> = {}): ConfigMap => ({
  metadata: { namespace, name },
  data,
});

describe('Client', { skip }, () => {
  let cluster: Cluster;
  let proxy: FaultProxy;
  let client: Client;
  const waits: number[] = [];
  // Waits are noted and cut short, so that what the server asked for can be checked.
  const clock = { ...realClock, sleep: async (ms: number) => void waits.push(ms) };
  const through = (changes = {}) => clientThrough(proxy, { clock, ...changes });

  before(async () => {
    cluster = await startCluster({ controllerManager: true });
    proxy = await FaultProxy.start(cluster);
    client = await clientOf(cluster);
  });
  after(async () => {
    client?.close();
    await proxy?.close();
    await cluster?.down();
  });

  test('every verb does what it says', async () => {
    const made = await client.create(configMaps, named('verbs', { a: '1' }));
    assert.ok(made.metadata.uid);
    const replaced = await client.update(configMaps, { ...made, data: { a: '2' } });
    assert.deepEqual(replaced.data, { a: '2' });
    await client.patch(configMaps, made.metadata, { data: { b: '3' } });
    assert.deepEqual((await client.get(configMaps, made.metadata)).data, { a: '2', b: '3' });
    for (let n = 0; n < 7; n++) await client.create(configMaps, named(`page-${n}`));
    const page = await client.list(configMaps, { namespace, limit: 3 });
    assert.equal(page.items.length, 3);
    assert.ok(page.continueToken);
    const all = await client.listAll(configMaps, { namespace, limit: 3 });
    assert.equal(new Set(all.map((object) => object.metadata.name)).size, all.length);
    assert.ok(all.length >= 8);
    await client.delete(configMaps, made.metadata);
    await assert.rejects(client.get(configMaps, made.metadata), errors.NotFound);
  });

  test('server-side apply owns its fields, removes what it no longer says, and takes over only by force', async () => {
    await client.apply(configMaps, named('applied', { a: '1', b: '2' }));
    await client.apply(configMaps, named('applied', { a: '1' }));
    const at = { namespace, name: 'applied' };
    assert.deepEqual((await client.get(configMaps, at)).data, { a: '1' });
    const rival = client.apply(configMaps, named('applied', { a: '9' }), {
      fieldManager: 'rival',
      force: false,
    });
    await assert.rejects(rival, (error: unknown) => {
      assert.ok(error instanceof errors.Conflict);
      assert.match(error.message, /conflict with "onebyte-test"/);
      return true;
    });
    const taken = await client.apply(configMaps, named('applied', { a: '9' }), { fieldManager: 'rival' });
    assert.deepEqual(taken.data, { a: '9' });
  });

  test('status is applied and patched apart from the rest', async () => {
    const container = { name: 'main', image: 'pause' };
    const pod = await client.create(pods, {
      metadata: { namespace, name: 'status' },
      spec: { containers: [container] },
    });
    const { name } = pod.metadata;
    await client.applyStatus(pods, { metadata: { namespace, name }, status: { message: 'applied' } });
    const patched = await client.patchStatus(pods, pod.metadata, { reason: 'Patched' });
    assert.deepEqual([patched.status?.message, patched.status?.reason], ['applied', 'Patched']);
    await client.evict({ namespace, name });
    await assert.rejects(client.evict({ namespace, name: 'nobody' }), errors.NotFound);
  });

  test('a delete with another uid is refused, so a successor of the same name is safe', async () => {
    const first = await client.create(configMaps, named('heir'));
    await client.delete(configMaps, first.metadata, { uid: first.metadata.uid! });
    const second = await client.create(configMaps, named('heir'));
    await assert.rejects(
      client.delete(configMaps, first.metadata, { uid: first.metadata.uid! }),
      errors.Conflict,
    );
    await client.delete(configMaps, second.metadata, { uid: second.metadata.uid! });
  });

  test('each refusal is an error of its own kind with the words of the server', async () => {
    await client.create(configMaps, named('kinds'));
    const old = await client.get(configMaps, { namespace, name: 'kinds' });
    await client.patch(configMaps, old.metadata, { data: { a: '1' } });
    const jane = await clientOf(cluster, {}, await cluster.userKubeconfig('jane'));
    const empty = { metadata: { namespace, name: 'x' }, spec: { containers: [] } };
    const cases: [() => Promise<unknown>, typeof errors.ApiError, RegExp][] = [
      [() => client.get(configMaps, { namespace, name: 'none' }), errors.NotFound, /"none" not found/],
      [() => client.create(configMaps, named('kinds')), errors.AlreadyExists, /already exists/],
      [() => client.update(configMaps, old), errors.Conflict, /the object has been modified/],
      [() => client.create(configMaps, named('Not_A_Name')), errors.Invalid, /RFC 1123/],
      [() => client.create(pods, empty), errors.Invalid, /Required value/],
      [() => client.list(configMaps, { continueToken: 'nonsense' }), errors.Invalid, /continue/],
      [() => jane.list(configMaps), errors.Forbidden, /User "jane" cannot list/],
    ];
    for (const [call, kind, words] of cases) {
      await assert.rejects(call, (error: unknown) => {
        assert.ok(error instanceof kind, `${error} is not ${kind.name}`);
        assert.match(error.message, words);
        return true;
      });
    }
    jane.close();
  });

  test('a busy server is asked again when it says, and not for ever', async () => {
    const busy = through();
    let left = 2;
    proxy.decide = () => (left-- > 0 ? { kind: 'status', status: 429, retryAfter: 7 } : undefined);
    waits.length = 0;
    await busy.create(configMaps, named('patient'));
    assert.equal(waits.length, 2);
    for (const ms of waits) assert.ok(ms >= 7_000 && ms <= 7_700);
    left = 99;
    await assert.rejects(busy.get(configMaps, { namespace, name: 'patient' }), errors.TooManyRequests);
    assert.equal(left, 95);
    busy.close();
  });

  test('what is safe to repeat is repeated after a lost or broken answer, a create is not', async () => {
    const faults = [
      { kind: 'status', status: 500 },
      { kind: 'reset' },
      { kind: 'lost-answer' },
      { kind: 'half-answer' },
    ] as const;
    for (const fault of faults) {
      const lucky = through();
      const name = `lost-${fault.kind}`;
      let left = 0;
      proxy.decide = () => (left-- > 0 ? fault : undefined);
      left = 2;
      await lucky.apply(configMaps, named(name, { a: '1' }));
      left = 2;
      assert.deepEqual((await lucky.get(configMaps, { namespace, name })).data, { a: '1' });
      left = 1;
      const deletion = lucky.delete(configMaps, { namespace, name }).catch((error: unknown) => error);
      const isDone = fault.kind === 'lost-answer' || fault.kind === 'half-answer';
      assert.equal((await deletion) instanceof errors.NotFound, isDone);
      left = 1;
      const kind = fault.kind === 'status' ? errors.ServerError : errors.NetworkError;
      await assert.rejects(lucky.create(configMaps, named(name)), kind);
      // The caller asks again, and learns whether the first attempt was carried out.
      const again = await lucky.create(configMaps, named(name)).catch((error: unknown) => error);
      assert.equal(again instanceof errors.AlreadyExists, isDone);
      lucky.close();
    }
  });

  test('an answer that does not come in time, or an abort, ends the call', async () => {
    const slow = through({ timeoutMs: 100, attempts: 1 });
    proxy.decide = () => ({ kind: 'slow', ms: 1_000 });
    await assert.rejects(slow.get(configMaps, { namespace, name: 'x' }), errors.Timeout);
    const stop = new AbortController();
    const call = through().get(configMaps, { namespace, name: 'x' }, { signal: stop.signal });
    setTimeout(() => stop.abort(), 20);
    await assert.rejects(call, errors.Aborted);
    await assert.rejects(
      through().get(configMaps, { namespace, name: 'x' }, { signal: stop.signal }),
      errors.Aborted,
    );
    proxy.decide = () => undefined;
    slow.close();
  });

  test('a server that is not there is asked again, even for a create', async () => {
    const config = { server: new URL('https://127.0.0.1:1'), namespace, tls: {}, headers: async () => ({}) };
    const lost = new Client({ config, clock, random: Math.random, fieldManager: 'x' });
    waits.length = 0;
    await assert.rejects(lost.create(configMaps, named('nowhere')), errors.NetworkError);
    assert.equal(waits.length, 3);
  });

  test('many calls at once share few connections, and idle ones are closed', async () => {
    const many = await clientOf(cluster, { inFlight: 4 });
    let most = 0;
    const calls = Array.from({ length: 200 }, async () => {
      await many.get(configMaps, { namespace: 'kube-system', name: 'extension-apiserver-authentication' });
      most = Math.max(most, many.connections);
    });
    await Promise.all(calls);
    assert.ok(most <= 4, `${most} connections`);
    await until('all closed', () => many.connections === 0);
    many.close();
  });

  test('a slow answer and a quiet watch outlive the time after which idle connections are closed', async () => {
    const patient = through();
    proxy.decide = ({ isWatch }) => (isWatch ? undefined : { kind: 'slow', ms: 6_500 });
    const stop = new AbortController();
    const { resourceVersion } = await client.list(configMaps, { namespace });
    const watching = (async () => {
      const options = { namespace, resourceVersion, timeoutSeconds: 60, signal: stop.signal };
      for await (const event of patient.watch(configMaps, options)) return event.type;
      return 'ended';
    })();
    await patient.get(configMaps, { namespace, name: 'kube-root-ca.crt' });
    await client.create(configMaps, named('heard'));
    assert.equal(await watching, 'ADDED');
    proxy.decide = () => undefined;
    patient.close();
  });

  test('a guarded client refuses changes before they are sent, and reads all the same', async () => {
    let reason: string | undefined = 'not the leader';
    const guarded = client.guarded(() => reason);
    await assert.rejects(guarded.create(configMaps, named('guarded')), /POST .*configmaps: not the leader/);
    await assert.rejects(guarded.apply(configMaps, named('guarded')), /not the leader/);
    await assert.rejects(guarded.delete(configMaps, named('guarded').metadata), /not the leader/);
    await assert.rejects(client.get(configMaps, named('guarded').metadata), errors.NotFound);
    assert.ok((await guarded.list(configMaps)).items.length > 0);
    reason = undefined;
    await guarded.create(configMaps, named('guarded'));
  });

  test('in a pod it is the pod that calls, and a token that was replaced is read again', async () => {
    const accountFolder = await cluster.serviceAccountFolder(namespace, 'default');
    const url = new URL(cluster.url);
    const env = { KUBERNETES_SERVICE_HOST: url.hostname, KUBERNETES_SERVICE_PORT: url.port };
    const config = await loadConfig({ clock: realClock, env, accountFolder });
    assert.equal(config.namespace, namespace);
    const pod = new Client({ config, clock: realClock, random: Math.random, fieldManager: 'x' });
    const refusal = /system:serviceaccount:default:default/;
    await assert.rejects(
      pod.list(pods),
      (error: unknown) => error instanceof errors.Forbidden && refusal.test(error.message),
    );
    const token = join(accountFolder, 'token');
    const good = await cluster.kubectl(['-n', namespace, 'create', 'token', 'default']);
    // The one in memory stops working: as if its time had come.
    const stale = await loadConfig({ clock: { ...realClock, monotonic: () => 0 }, env, accountFolder });
    await writeFile(token, 'not-a-token');
    await stale.headers(true);
    await writeFile(token, good);
    const again = new Client({ config: stale, clock: realClock, random: Math.random, fieldManager: 'x' });
    await assert.rejects(again.list(pods), errors.Forbidden);
    await writeFile(token, 'not-a-token');
    await stale.headers(true);
    await assert.rejects(again.list(pods), errors.Unauthorized);
    pod.close();
    again.close();
  });
});
