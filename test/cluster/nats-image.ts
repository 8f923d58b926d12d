/** NATS in a cluster: the pinned nats-server in an image of ours, for no registry is at hand. */
import { tool } from '../tools/tool.ts';
import { cached, imageOf } from './image.ts';

export const NATS_IMAGE = 'onebyte.test/nats:2.15.1';
/** As the chart names it. */
export const PUBLISHED_NATS = 'docker.io/library/nats:2.14.2-alpine';
const USER = 1000;

/** @param name that the image is to have, such as the published one's */
export async function natsArchive(name = NATS_IMAGE): Promise<string> {
  const program = await tool('nats-server');
  const config = { Entrypoint: ['nats-server'], User: `${USER}:${USER}`, Env: ['PATH=/usr/local/bin'] };
  return cached(`${name.replaceAll(/[/:]/g, '-')}-2.15.1.tar`, (path) =>
    imageOf(path, name, { 'usr/local/bin/nats-server': program }, config),
  );
}
