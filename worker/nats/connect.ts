import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { checkServerIdentity } from 'node:tls';
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
  wsconnect,
} from '@nats-io/transport-node';
import { OnebyteError } from '../errors.ts';
import { dial } from './dial.ts';
import { connectionError } from './failure.ts';
import { Link } from './link.ts';
import { redial } from './redial.ts';

/** How to reach a NATS system. Files are read again at every connection, so that what rotates is picked up. */
export interface NatsConfig {
  /**
   * `nats://host:port` or `tls://host:port`, one or more of a cluster; or all `ws://`, `wss://`, where a proxy lets
   * nothing else through (authorities of its certificate: NODE_EXTRA_CA_CERTS; its bytes are not counted).
   */
  readonly servers: readonly string[];
  /** What the server calls this connection in its reports. */
  readonly name?: string;
  readonly user?: string;
  readonly password?: string;
  readonly passwordFile?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  /** A file with an NKey seed. */
  readonly nkeyFile?: string;
  /** A file with a user's JWT and NKey seed, as `nsc` writes it. */
  readonly credentialsFile?: string;
  /** Certificates as PEM files; present at all: plain connections are refused. */
  readonly tls?: {
    readonly caFile?: string;
    readonly certFile?: string;
    readonly keyFile?: string;
    /** For servers that expect TLS before their first word. */
    readonly handshakeFirst?: boolean;
  };
  /** Where answers come; what the credentials allow. */
  readonly inboxPrefix?: string;
}

export interface OpenOptions {
  /** Keep trying until a server answers, instead of one time round. Wrong credentials fail at once all the same. */
  readonly wait?: AbortSignal;
  /** Told of each try that failed. */
  readonly onFailure?: (error: OnebyteError) => void;
}

/** Milliseconds. A broken connection is found within two pings. */
const FIRST_WAIT = 250;
const PING_INTERVAL = 5000;
const DIAL_TIMEOUT = 10_000;
const LONGEST_WAIT = 4000;

/**
 * Connects, and stays connected: an established connection that breaks is tried again for ever.
 * @throws OnebyteError NATS_UNREACHABLE, NATS_DENIED, NATS_TLS, FILE_UNREADABLE.
 */
export async function openNats(config: NatsConfig, options: OpenOptions = {}): Promise<NatsConnection> {
  const { wait, onFailure } = options;
  const prepared = connectionOptions(config);
  const webSocket = config.servers.some((server) => /^wss?:/.test(server));
  for (let pause = FIRST_WAIT; ; pause = Math.min(2 * pause, LONGEST_WAIT)) {
    try {
      const connection = await dial(() => (webSocket ? wsconnect : connect)(prepared));
      Link.of(connection).options = {
        servers: config.servers,
        inboxPrefix: config.inboxPrefix ?? '_INBOX',
      };
      return connection;
    } catch (cause) {
      const error = connectionError(cause, config.servers, config.tls !== undefined);
      onFailure?.(error);
      if (error.code !== 'NATS_UNREACHABLE' || wait === undefined || wait.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
      if (wait.aborted) throw error;
    }
  }
}

/** Rejects with the reason once the connection is closed, which is for good, as when its credentials are taken away. */
export async function closedForGood(connection: NatsConnection): Promise<never> {
  const reason = await connection.closed();
  throw connectionError(
    reason ?? new Error('the connection was closed'),
    Link.of(connection).options.servers,
  );
}

/** @throws OnebyteError FILE_UNREADABLE for a file that cannot be read now. */
export function connectionOptions(config: NatsConfig): ConnectionOptions {
  const { tls } = config;
  for (const path of [tls?.caFile, tls?.certFile, tls?.keyFile]) if (path !== undefined) readSecret(path);
  const authenticator = authenticatorOf(config);
  authenticator?.('check');
  return {
    servers: [...config.servers],
    maxReconnectAttempts: -1,
    ...redial(),
    pingInterval: PING_INTERVAL,
    timeout: DIAL_TIMEOUT,
    noAsyncTraces: true,
    ...(config.name === undefined ? {} : { name: config.name }),
    ...(config.inboxPrefix === undefined ? {} : { inboxPrefix: config.inboxPrefix }),
    ...(tls === undefined ? {} : { tls: { ...tls, ...identityOf(config.servers) } }),
    ...(authenticator === null ? {} : { authenticator }),
  };
}

/**
 * The client asks for the name `localhost` of a server that is given by its address; what has to be in the certificate
 * is one of the addresses.
 */
function identityOf(servers: readonly string[]): { checkServerIdentity?: typeof checkServerIdentity } {
  const hosts = servers.map((server) => new URL(server).hostname.replace(/^\[|\]$/g, ''));
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  if (addresses.length === 0 || hosts.includes('localhost')) return {};
  return {
    checkServerIdentity: (host, certificate) => {
      const wrong = checkServerIdentity(host, certificate);
      if (host !== 'localhost' || wrong === undefined) return wrong;
      const all = addresses.map((address) => checkServerIdentity(address, certificate));
      return all.includes(undefined) ? undefined : all[0];
    },
  };
}

function authenticatorOf(config: NatsConfig): Authenticator | null {
  const { user, password, passwordFile, token, tokenFile, nkeyFile, credentialsFile } = config;
  if (credentialsFile !== undefined) return credsAuthenticator(() => readSecret(credentialsFile));
  if (nkeyFile !== undefined) return nkeyAuthenticator(() => seedIn(readSecret(nkeyFile)));
  if (tokenFile !== undefined) return tokenAuthenticator(() => lineIn(readSecret(tokenFile)));
  if (token !== undefined) return tokenAuthenticator(token);
  if (user === undefined) return null;
  if (passwordFile === undefined) return usernamePasswordAuthenticator(user, password ?? '');
  return usernamePasswordAuthenticator(user, () => lineIn(readSecret(passwordFile)));
}

function readSecret(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new OnebyteError('FILE_UNREADABLE', `${path} cannot be read`, { field: path, cause });
  }
}

/** A secret file's text without the end of its line. */
function lineIn(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).trim();
}

/** A seed file may carry comments around the seed, as `nsc` and `nk` write them. */
function seedIn(bytes: Uint8Array): Uint8Array {
  const [seed] = /\bSU[A-Z2-7]{56}\b/.exec(new TextDecoder().decode(bytes)) ?? [];
  if (seed === undefined)
    throw new OnebyteError('NATS_CONFIG_INVALID', 'the NKey file holds no seed of a user', {
      remedy: 'Its seed begins with SU and has 58 letters and digits.',
    });
  return new TextEncoder().encode(seed);
}
