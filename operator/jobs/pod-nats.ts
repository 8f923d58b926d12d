import type { Job } from './job.ts';
import type { PodSettings } from './pod.ts';

/** How the pods of a job get to NATS. */

interface SecretSource {
  readonly secret: { name: string; items?: { key: string; path: string }[]; optional?: boolean };
}

/** The variables that say where NATS is and how it is spoken to. What is said of our own server goes for no other. */
export function natsVariables({ spec }: Job, settings: PodSettings): Record<string, string> {
  const { nats } = spec;
  const ours = nats?.url === undefined ? settings : null;
  return {
    ONEBYTE_NATS_URL: nats?.url ?? settings.natsUrl,
    // The operator names streams, wherever they are.
    ...(settings.natsPrefix && { ONEBYTE_NATS_PREFIX: settings.natsPrefix }),
    ...(ours?.natsDomain && { ONEBYTE_NATS_DOMAIN: ours.natsDomain }),
    ...((nats?.tls?.handshakeFirst || ours?.natsTlsFirst) && { ONEBYTE_NATS_TLS_FIRST: 'true' }),
  };
}

/** One folder out of the Secrets that say how to reach NATS, where there are any. */
export function natsSources({ spec }: Job, settings: PodSettings, own: string | undefined): SecretSource[] {
  const { nats } = spec;
  const common = nats?.url === undefined ? settings.natsSecret : undefined;
  const shared = nats?.credentialsSecret ?? common;
  const sources: SecretSource[] = [own ?? shared, nats?.tls?.caSecret, nats?.tls?.clientSecret]
    .filter((name) => name !== undefined)
    .map((name) => ({ secret: { name } }));
  if (own === undefined || common === undefined) return sources;
  // Beside credentials of its own a worker still needs the certificates that the common Secret may hold. Of files of one
  // name the last is mounted: those that the job names.
  const items = ['ca.crt', 'tls.crt', 'tls.key'].map((key) => ({ key, path: key }));
  return [{ secret: { name: common, items, optional: true } }, ...sources];
}
