/** A process of its own that leads for as long as it lives: `node leader.ts KUBECONFIG IDENTITY`, for the fail-over tests. */

import { Client } from '../../../operator/kube/client.ts';
import { realClock } from '../../../operator/kube/clock.ts';
import { loadConfig } from '../../../operator/kube/config.ts';
import { Elector } from '../../../operator/kube/lease.ts';
import { stopSignal } from '../../../operator/kube/runtime.ts';

const [kubeconfig, identity] = process.argv.slice(2) as [string, string];
const config = await loadConfig({ clock: realClock, kubeconfig });
const client = new Client({ config, clock: realClock, random: Math.random, fieldManager: identity });
const common = { clock: realClock, random: Math.random, namespace: 'default', name: 'fail-over' };
const elector = new Elector({ ...common, client, identity });
await elector.run(stopSignal(), async (signal) => {
  console.log('leading');
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
});
client.close();
