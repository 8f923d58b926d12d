/** How the chart's own NATS is brought: with accounts, in the image that a cluster of ours has. */
import { NATS_IMAGE } from '../cluster/nats-image.ts';

/**
 * Values of the chart that bring its NATS with accounts.
 * @param config of the server, beside the chart's
 * @param own with this image rather than the published one
 */
export function natsValues(config: object, own: boolean): object {
  const [repository, tag] = NATS_IMAGE.split(':');
  return {
    fullnameOverride: 'nats',
    ...(own && { container: { image: { repository, tag, pullPolicy: 'Never' } } }),
    // It has an image of its own, and nothing here changes the configuration of a server that runs.
    reloader: { enabled: false },
    config: { jetstream: { fileStore: { pvc: { size: '1Gi' } } }, merge: config },
  };
}

/** The claim that the chart's StatefulSet makes. */
export const NATS_CLAIM = 'nats-js-nats-0';
