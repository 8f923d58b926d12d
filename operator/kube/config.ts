import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from './clock.ts';

/** How to reach the API server and as whom. */
export interface ClusterConfig {
  /** E.g. `https://10.96.0.1:443`. */
  readonly server: URL;
  /** Namespace that this program runs in, or `default`. */
  readonly namespace: string;
  readonly tls: TlsConfig;
  /** Headers that authenticate a call. `isFresh` asks for new ones after a 401. */
  headers(isFresh: boolean): Promise<Record<string, string>>;
}

export interface TlsConfig {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly passphrase?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface LoadOptions {
  readonly clock: Clock;
  readonly env?: NodeJS.ProcessEnv;
  /** A kubeconfig file; default `$KUBECONFIG`. */
  readonly kubeconfig?: string;
  /** Where a pod finds its token. */
  readonly accountFolder?: string;
}

const defaultAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';
// The kubelet replaces the token well before it ends; client-go also reads it again after a minute.
const tokenAgeMs = 60_000;

/** In a pod, the pod's own service account; elsewhere the kubeconfig. */
export async function loadConfig(options: LoadOptions): Promise<ClusterConfig> {
  const env = options.env ?? process.env;
  const file = options.kubeconfig ?? env.KUBECONFIG;
  const host = env.KUBERNETES_SERVICE_HOST;
  if (file || !host) return fromKubeconfig(file);
  return fromAccount(host, env.KUBERNETES_SERVICE_PORT || '443', options);
}

/**
 * The service account of this pod. Read here and not through client-node, whose import alone takes 84 MiB of resident
 * memory, most of what the operator needs in all.
 */
async function fromAccount(host: string, port: string, options: LoadOptions): Promise<ClusterConfig> {
  const { clock, accountFolder = defaultAccountFolder } = options;
  const read = (name: string) => readFile(join(accountFolder, name), 'utf8');
  let token = '';
  let readAt = Number.NEGATIVE_INFINITY;
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    namespace: (await read('namespace').catch(() => 'default')).trim(),
    tls: { ca: await read('ca.crt') },
    async headers(isFresh) {
      if (isFresh || clock.monotonic() - readAt > tokenAgeMs) {
        token = (await read('token')).trim();
        readAt = clock.monotonic();
      }
      return { authorization: `Bearer ${token}` };
    },
  };
}

/** A kubeconfig, with every kind of credentials that client-node knows (certificates, tokens, exec plugins, OIDC). */
async function fromKubeconfig(file: string | undefined): Promise<ClusterConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  if (file) config.loadFromFile(file);
  else config.loadFromDefault();
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw new Error(`${file ?? 'kubeconfig'}: no current context, or its cluster is not there`);
  const credentials = async () => {
    const options: Parameters<typeof config.applyToHTTPSOptions>[0] = {};
    await config.applyToHTTPSOptions(options);
    return options as TlsConfig & { headers?: Record<string, string>; auth?: string };
  };
  const { ca, cert, key, passphrase, rejectUnauthorized } = await credentials();
  const context = config.getContextObject(config.getCurrentContext());
  return {
    server: new URL(cluster.server),
    namespace: context?.namespace ?? 'default',
    tls: dropUndefined({ ca, cert, key, passphrase, rejectUnauthorized, servername: cluster.tlsServerName }),
    async headers() {
      const { headers = {}, auth } = await credentials();
      const basic = auth ? { authorization: `Basic ${Buffer.from(auth).toString('base64')}` } : {};
      return {
        ...Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v])),
        ...basic,
      };
    },
  };
}

function dropUndefined<T extends object>(object: T): { [K in keyof T]: NonNullable<T[K]> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(entries) as { [K in keyof T]: NonNullable<T[K]> };
}
