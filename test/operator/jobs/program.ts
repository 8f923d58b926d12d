/**
 * An operator as a process of its own, with logs in its memory: `node program.ts KUBECONFIG IDENTITY`. Says `leading`, and
 * its memory and connections after each line on stdin.
 */
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { loadConfig, realClock } from '../../../operator/kube/mod.ts';
import { operate } from '../../../operator/main.ts';
import { operatorSettings } from '../../../operator/settings.ts';
import { MemoryLogs } from './memory-logs.ts';

const [kubeconfig, identity] = process.argv.slice(2) as [string, string];
const settings = operatorSettings({
  ONEBYTE_IMAGE: 'onebyte:1',
  ONEBYTE_NATS_URL: 'nats://nats:4222',
  ONEBYTE_NAMESPACE: 'default',
  ONEBYTE_POD_NAME: identity,
  ONEBYTE_PORT: '0',
  ONEBYTE_HOST: '127.0.0.1',
  ...process.env,
});
const config = await loadConfig({ clock: realClock, ...(kubeconfig === 'in-cluster' ? {} : { kubeconfig }) });
createInterface(process.stdin).on('line', () => {
  const mib = (bytes: number) => Math.round(bytes / 2 ** 20);
  const { rss, heapUsed } = process.memoryUsage();
  console.log(JSON.stringify({ rss: mib(rss), heap: mib(heapUsed) }));
});
await operate({
  settings,
  config,
  port: new MemoryLogs(),
  logger: pino({ level: process.env.OPERATOR_LOG ?? 'silent' }),
  version: 'test',
  onLeading: () => console.log('leading'),
  onServing: (port) => console.log(`port ${port}`),
});
process.exit(0);
