/** NATS in the cluster: the pinned nats-server in an image of ours, for no registry is at hand. */
import { cached, imageOf } from '../cluster/image.ts';
import { tool } from '../tools/tool.ts';

export const NATS_IMAGE = 'onebyte.test/nats:2.15.1';
const USER = 1000;

/** @param name that the image is to have, such as the published one's */
export async function natsArchive(name = NATS_IMAGE): Promise<string> {
  const program = await tool('nats-server');
  const config = { Entrypoint: ['nats-server'], User: `${USER}:${USER}`, Env: ['PATH=/usr/local/bin'] };
  return cached(`${name.replaceAll(/[/:]/g, '-')}-2.15.1.tar`, (path) =>
    imageOf(path, name, { 'usr/local/bin/nats-server': program }, config),
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
