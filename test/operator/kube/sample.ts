/**
 * A whole small operator, as a pod would run it: every ConfigMap labelled `copy=yes` gets a copy that it owns. Prints the
 * port of its health server, then `leading`.
 */
import { Registry } from 'prom-client';
import {
  Client,
  type ConfigMap,
  Controller,
  realClock as clock,
  configMaps,
  controllerUid,
  Elector,
  everywhere,
  HealthServer,
  Informer,
  KubeMetrics,
  loadConfig,
  nameOf,
  pods,
  Recorder,
  runOperator,
  stopSignal,
  WorkQueue,
} from '../../../operator/kube/mod.ts';

const [identity, accountFolder] = process.argv.slice(2) as [string, string];
const registry = new Registry();
const metrics = new KubeMetrics(registry);
const random = Math.random;
const config = await loadConfig({ clock, accountFolder });
const client = new Client({ config, clock, random, fieldManager: 'copier', onAttempt: metrics.onAttempt });
const elector = new Elector({ client, clock, random, namespace: 'default', name: 'copier', identity });
const leader = client.guarded(() => (elector.isLeading ? undefined : 'not the leader'));
const names = { controller: 'onebyte.dev/copier', instance: identity };
const recorder = new Recorder({
  client: leader,
  clock,
  random,
  ...names,
  spacingMs: 1_000,
  on: metrics.events,
});

const common = { client, clock, random, scope: everywhere };
const sources = new Informer<ConfigMap>({
  ...common,
  resource: configMaps,
  indexes: { owner: controllerUid },
  on: metrics.reflectorEvents('configmaps'),
});
const others = new Informer({ ...common, resource: pods, on: metrics.reflectorEvents('pods') });
const queue = new WorkQueue({ clock, observer: metrics.queueObserver('copier') });
const enqueue = (object: ConfigMap) => {
  const { namespace, name, labels, ownerReferences } = object.metadata;
  if (labels?.copy === 'yes') queue.add(`${namespace}/${name}`);
  for (const owner of ownerReferences ?? []) queue.add(`${namespace}/${owner.name}`);
};
sources.store.subscribe({ add: enqueue, update: (_, after) => enqueue(after), delete: enqueue });

const controller = new Controller({
  queue,
  clock,
  concurrency: 4,
  observer: metrics.controllerObserver('copier'),
  async reconcile(key, { signal }) {
    const source = sources.store.get(key);
    if (source?.metadata.labels?.copy !== 'yes') return undefined;
    const copy = sources.store.byIndex('owner', source.metadata.uid!)[0];
    if (JSON.stringify(copy?.data) === JSON.stringify(source.data)) return undefined;
    const { namespace, name } = nameOf(key);
    const owner = { apiVersion: 'v1', kind: 'ConfigMap', name, uid: source.metadata.uid!, controller: true };
    const metadata = { ...(namespace && { namespace }), name: `${name}-copy`, ownerReferences: [owner] };
    await leader.apply(configMaps, { metadata, data: source.data ?? {} }, { signal });
    recorder.record(configMaps, source, {
      type: 'Normal',
      reason: 'Copied',
      action: 'Copy',
      note: `made ${name}-copy`,
    });
    return undefined;
  },
});
metrics.sampleController('copier', controller, queue);
metrics.sampleStore('configmaps', () => sources.store.size);
metrics.sampleLeader('copier', () => elector.isLeading);

const health = new HealthServer({
  live: {},
  ready: { stores: () => (sources.isSynced && others.isSynced ? undefined : 'not listed yet') },
  registry,
});
console.log(`port ${await health.listen(0, '127.0.0.1')}`);
const report = setInterval(() => {
  if (elector.isLeading) console.log(`leading connections ${client.connections}`);
}, 100);
try {
  await runOperator(
    { client, clock, informers: [sources, others], controllers: [controller], elector, recorder },
    stopSignal(),
  );
} finally {
  clearInterval(report);
  await health.close();
}
