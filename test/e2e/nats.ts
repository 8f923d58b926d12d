/** NATS in the cluster: the pinned nats-server in an image of ours, for no registry is at hand. */
import { cached, imageOf } from '../cluster/image.ts';
import { tool } from '../tools/tool.ts';

export const NATS_IMAGE = 'onebyte.test/nats:2.15.1';
const USER = 1000;

export async function natsArchive(): Promise<string> {
  const program = await tool('nats-server');
  return cached('onebyte.test-nats-2.15.1-b.tar', (path) =>
    imageOf(
      path,
      NATS_IMAGE,
      { 'nats-server': program },
      { Entrypoint: ['/nats-server'], User: `${USER}:${USER}` },
    ),
  );
}

/** Values of the chart that bring its NATS with this image and with accounts. @param config of the server, beside the chart's */
export function natsValues(config: object): object {
  const [repository, tag] = NATS_IMAGE.split(':');
  return {
    fullnameOverride: 'nats',
    container: { image: { repository, tag, pullPolicy: 'Never' } },
    // It has an image of its own, and nothing here changes the configuration of a server that runs.
    reloader: { enabled: false },
    config: { jetstream: { fileStore: { pvc: { size: '1Gi' } } }, merge: config },
  };
}

/** The claim that the chart's StatefulSet makes. */
export const NATS_CLAIM = 'nats-js-nats-0';
