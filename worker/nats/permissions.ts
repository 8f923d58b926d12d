import { apiPrefix, DEFAULT_PREFIX, inboxPrefix, type JobNames, workerTag } from './names.ts';

/** What a user may publish and subscribe to, as the server's configuration and user JWTs spell it. */
export interface Permissions {
  readonly publish: { readonly allow: readonly string[] };
  readonly subscribe: { readonly allow: readonly string[] };
}

export interface Scope {
  readonly names: JobNames;
  readonly prefix?: string;
  readonly domain?: string;
}

/**
 * One worker of one job: append to the job's log, read it, speak on its bus as itself, and keep snapshots and artifacts.
 * No consumers: the server delivers a push consumer's messages with its own rights, so whoever may create one may have
 * it write anywhere in the account (docs/decisions/nats-permissions.md).
 */
export function workerPermissions({ names, prefix, domain }: Scope, worker: string): Permissions {
  const tag = workerTag(worker);
  return {
    publish: {
      allow: [names.log, `${names.bus}.*.*.${tag}.*`, `${names.store}.>`, ...readSubjects(names, domain)],
    },
    subscribe: {
      allow: [
        `${names.bus}.${tag}.*.*.*`,
        `${names.bus}.all.all.*.*`,
        names.tail,
        `${inboxPrefix(names.uid, worker, prefix)}.>`,
      ],
    },
  };
}

/** Somebody who follows one job: views, status, replay. */
export function watcherPermissions({ names, prefix, domain }: Scope, watcher: string): Permissions {
  return {
    publish: { allow: readSubjects(names, domain) },
    subscribe: { allow: [names.tail, `${inboxPrefix(names.uid, watcher, prefix)}.>`] },
  };
}

/** Whoever makes and removes the streams of an account's jobs and reads them all. It does not append. */
export function managerPermissions(options: {
  prefix?: string;
  domain?: string;
  inbox: string;
}): Permissions {
  const { prefix = DEFAULT_PREFIX, domain, inbox } = options;
  const calls = ['CREATE', 'UPDATE', 'DELETE', 'INFO', 'MSG.GET'].map((call) => `STREAM.${call}.*`);
  return {
    publish: { allow: [...calls, 'DIRECT.GET.*'].map((call) => `${apiPrefix(domain)}.${call}`) },
    subscribe: { allow: [`${prefix}.*.tail`, `${inbox}.>`] },
  };
}

function readSubjects({ stream, storeStream }: JobNames, domain?: string): string[] {
  return [
    ...['STREAM.INFO', 'STREAM.MSG.GET', 'DIRECT.GET'].map((call) => `${call}.${stream}`),
    ...['STREAM.INFO', 'DIRECT.GET'].map((call) => `${call}.${storeStream}`),
  ].map((call) => `${apiPrefix(domain)}.${call}`);
}

/** A user as the server's configuration has it. */
export type User = { readonly permissions?: Permissions } & (
  | { readonly user: string; readonly password: string }
  /** A public NKey, or the subject of a client certificate where the server maps those to users. */
  | { readonly nkey: string }
  | { readonly user: string }
);

export interface AccountLimits {
  /** Bytes on disk of all logs and stores together. */
  readonly maxBytes: number;
  /** Logs and stores: two for each job. */
  readonly maxStreams: number;
}

/**
 * One account of the server's configuration: users of other accounts see nothing of it. One per namespace is the usual
 * choice; one per job where the jobs of a namespace must not see each other.
 */
export function accountConfig(users: readonly User[], { maxBytes, maxStreams }: AccountLimits): object {
  return {
    jetstream: { max_file: maxBytes, max_memory: 0, max_streams: maxStreams, max_bytes_required: true },
    users,
  };
}
