/** The operator's logs on NATS: streams made, asked and removed over one connection for each server that has jobs. */
import type { NatsConnection } from '@nats-io/transport-node';
import type { LogEvaluation, LogJob, LogPort, LogState, LogSummary } from '../../operator/jobs/log-port.ts';
import { WORKER_CONTAINER } from '../../operator/jobs/names.ts';
import type { EndRecord, Progress } from '../../worker/journal/index.ts';
import { needsBasis } from '../../worker/journal/job.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import { API_CODES, ApiError, type ApiOptions } from '../../worker/nats/api.ts';
import { logBudget } from '../../worker/nats/budget.ts';
import type { NatsSettings } from '../../worker/nats/config.ts';
import { openNats } from '../../worker/nats/connect.ts';
import { jobNames } from '../../worker/nats/names.ts';
import { workerPermissions } from '../../worker/nats/permissions.ts';
import { createStream, deleteStream } from '../../worker/nats/stream.ts';
import { SERVICE_VARIABLES } from '../../worker/service/settings.ts';
import { lastRecord } from '../status.ts';
import { credentialsFile, type Signer } from './user-jwt.ts';

export interface NatsLogsOptions {
  readonly settings: NatsSettings;
  /** Most bytes that a job's log may take on each server that holds it, whatever its plan asks for. */
  readonly maxBytes: number;
  /** Bytes for a job's snapshots and artifacts; 0: it has none. */
  readonly storeBytes: number;
  /** Signs credentials for workers; without one they share those that their jobs name. */
  readonly signer?: Signer;
}

/** Shorter than the pass that waits for it. */
const TIMEOUT = 4_000;

export class NatsLogs implements LogPort {
  readonly #options: NatsLogsOptions;
  readonly #connections = new Map<string, Promise<NatsConnection>>();
  /** UIDs of the jobs that are asked about over each; not of our own server, whose connection stays. */
  readonly #users = new Map<string, Set<string>>();

  constructor(options: NatsLogsOptions) {
    this.#options = options;
  }

  async create(job: LogJob): Promise<string> {
    const names = this.#names(job);
    const { spec, replicas } = job;
    const { storeBytes } = this.#options;
    const maxBytes = Math.min(this.#options.maxBytes, logBudget(spec, spec.max));
    await createStream(await this.#connect(job), names, {
      ...this.#api(job),
      maxBytes,
      storeBytes,
      needsStore: needsBasis(spec) && !namesFolder(spec),
      replicas,
    });
    return names.stream;
  }

  async last(job: LogJob): Promise<LogState> {
    const log = new NatsLog(await this.#connect(job), this.#names(job), this.#api(job));
    try {
      const { progress, end } = await lastRecord(log);
      return progress === null ? { type: 'empty' } : { type: 'known', summary: summaryOf(progress, end) };
    } catch (error) {
      const { cause } = error as Error;
      if (cause instanceof ApiError && cause.code === API_CODES.streamMissing) return { type: 'missing' };
      throw error;
    }
  }

  async remove(job: LogJob): Promise<void> {
    try {
      await deleteStream(await this.#connect(job), this.#names(job), this.#api(job));
    } finally {
      this.leave(job.uid);
    }
  }

  async credentials(job: LogJob, worker: string): Promise<Record<string, string> | null> {
    const { signer, settings } = this.#options;
    // Another server's accounts are not ours to sign for.
    if (signer === undefined || job.url !== undefined) return null;
    const { prefix, domain } = settings;
    const scope = { names: this.#names(job), prefix, ...(domain !== undefined && { domain }) };
    const permissions = workerPermissions(scope, worker);
    const credentials = credentialsFile(signer, `${job.uid}/${worker}`, permissions, job.createdAt);
    return { credentials };
  }

  leave(uid: string): void {
    for (const [url, users] of this.#users) {
      if (!users.delete(uid) || users.size > 0) continue;
      this.#users.delete(url);
      const connection = this.#connections.get(url);
      this.#connections.delete(url);
      connection?.then((open) => open.close()).catch(() => undefined);
    }
  }

  /** Servers that there is a connection to, or is to be one. */
  get servers(): readonly string[] {
    return [...this.#connections.keys()];
  }

  async close(): Promise<void> {
    const all = await Promise.allSettled(this.#connections.values());
    await Promise.all(all.map((one) => (one.status === 'fulfilled' ? one.value.close() : undefined)));
  }

  #api({ url }: LogJob): ApiOptions {
    // The domain, too, is that of our own server; workers are told the same.
    const domain = url === undefined ? this.#options.settings.domain : undefined;
    return { timeoutMs: TIMEOUT, ...(domain !== undefined && { domain }) };
  }

  #names({ uid }: LogJob) {
    return jobNames(uid, this.#options.settings.prefix);
  }

  /** The connection to a job's servers; one that cannot be made is tried again with the next call. */
  async #connect({ uid, url }: LogJob): Promise<NatsConnection> {
    const key = url ?? '';
    if (url !== undefined) {
      const users = this.#users.get(url) ?? new Set();
      this.#users.set(url, users.add(uid));
    }
    const known = this.#connections.get(key);
    if (known !== undefined) {
      const connection = await known;
      if (!connection.isClosed()) return connection;
    }
    const { settings } = this.#options;
    // Credentials are for our own server only.
    const config = url === undefined ? settings.config : { servers: url.split(',') };
    const opening = openNats({ ...config, name: 'onebyte operator' });
    this.#connections.set(key, opening);
    opening.catch(() => {
      if (this.#connections.get(key) === opening) this.#connections.delete(key);
    });
    return opening;
  }
}

/** Whether a pod template has workers keep what they share in a folder. */
function namesFolder({ template, groups = [] }: LogJob['spec']): boolean {
  const containers = [template, ...groups.map((group) => group.template)].flatMap(
    (one) => one?.spec?.containers ?? [],
  );
  return containers.some(
    ({ name, env }) =>
      name === WORKER_CONTAINER &&
      Array.isArray(env) &&
      env.some((variable) => variable?.name === SERVICE_VARIABLES.store && variable.value !== ''),
  );
}

/** What the operator reads of a log's last record. */
export function summaryOf(progress: Progress, end: EndRecord | null): LogSummary {
  const { members, totals, loss } = progress;
  return {
    rounds: totals.rounds,
    members: progress.finished ? 0 : members,
    forwards: totals.forwards,
    examples: totals.exampleForwards,
    payloadBytes: totals.payloadBytes,
    loss: Number.isNaN(loss) ? null : loss,
    evaluation: evaluationOf(progress),
    elapsed: totals.elapsed,
    end: end === null ? null : { reason: end.reason, digest: end.digest },
  };
}

/** Validation where there is one; the test split counts once the run has ended. */
function evaluationOf({ evaluations, end }: Progress): LogEvaluation | null {
  const order =
    end === null ? (['validation', 'test', 'train'] as const) : (['test', 'validation', 'train'] as const);
  for (const split of order) {
    const last = evaluations[split]?.last;
    if (last === undefined) continue;
    const { round, count, loss, accuracy } = last;
    return { split, round, examples: count, loss, accuracy };
  }
  return null;
}
