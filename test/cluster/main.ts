/** `npm run cluster -- up|down|kubeconfig [--name NAME]`: a cluster that stays until it is taken down. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toolCache } from '../tools/tool.ts';
import { startCluster } from './cluster.ts';
import { clusterMissing, nodesMissing } from './machine.ts';
import { natsArchive, PUBLISHED_NATS } from './nats-image.ts';
import { killFolder } from './processes.ts';
import { productImage } from './product-image.ts';

const usage = `usage: npm run cluster -- COMMAND [--name NAME]
  up [--nodes N] [--image FILE]... [--product]   starts a cluster and prints how to reach it; by default a control
     [--controller-manager] [--scheduler] [--audit]   plane alone. FILE: an image archive for all nodes;
                                                 --product: the image of this checkout as onebyte:0.1.0, and that of NATS
  down                                           ends it and removes everything it wrote
  kubeconfig                                     prints the path of its kubeconfig`;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string', default: 'dev' },
      'controller-manager': { type: 'boolean', default: true },
      scheduler: { type: 'boolean' },
      nodes: { type: 'string', default: '0' },
      image: { type: 'string', multiple: true, default: [] },
      product: { type: 'boolean', default: false },
      audit: { type: 'boolean', default: false },
    },
    allowNegative: true,
  });
  const folder = join(toolCache(), '..', 'clusters', values.name);
  const kubeconfig = join(folder, 'pki', 'admin.kubeconfig');
  switch (positionals[0]) {
    case 'up': {
      const nodes = Number(values.nodes);
      if (!Number.isInteger(nodes) || nodes < 0) return say(`--nodes ${values.nodes}: a whole number`, 2);
      const reason = await (nodes > 0 ? nodesMissing() : clusterMissing());
      if (reason) return say(`cannot start a cluster: ${reason}`, 1);
      if (existsSync(folder)) return say(`${values.name} is up, or was left behind; take it down first`, 1);
      const images = [...values.image];
      if (values.product) {
        // By the names that they have in the world: the chart finds them where no registry is at hand.
        images.push((await productImage('0.1.0', 'docker.io/library/onebyte')).path);
        images.push(await natsArchive(PUBLISHED_NATS));
      }
      await mkdir(folder, { recursive: true });
      const cluster = await startCluster({
        folder,
        controllerManager: values['controller-manager'],
        ...(values.scheduler !== undefined && { scheduler: values.scheduler }),
        audit: values.audit,
        nodes,
        images,
      });
      console.error(`ready in ${Math.round(cluster.startMs)} ms at ${cluster.url}`);
      return say(`export KUBECONFIG=${kubeconfig}`, 0);
    }
    case 'down':
      await killFolder(folder);
      return 0;
    case 'kubeconfig':
      return existsSync(kubeconfig) ? say(kubeconfig, 0) : say(`${values.name} is not up`, 1);
    default:
      return say(usage, 2);
  }
}

function say(text: string, code: number): number {
  if (code === 0) console.log(text);
  else console.error(text);
  return code;
}

process.exitCode = await main();
