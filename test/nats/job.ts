import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { LogUnavailable } from '../../worker/log/log.ts';
import { NatsLog } from '../../worker/log/nats.ts';
import type { ApiOptions } from '../../worker/nats/api.ts';
import { type NatsConfig, openNats } from '../../worker/nats/connect.ts';
import { type JobNames, jobNames } from '../../worker/nats/names.ts';
import { createStream } from '../../worker/nats/stream.ts';
import type { NatsSystem } from './server.ts';

let made = 0;

/** A uid of the length that the API server gives. */
export function freshUid(): string {
  const tail = `${process.pid.toString(16)}${(++made).toString(16).padStart(4, '0')}`.padStart(12, '0');
  return `00000000-0000-4000-8000-${tail.slice(-12)}`;
}

/** One job's stream on a test's servers, and the connections that a test opened to it. */
export class TestJob {
  readonly names: JobNames;
  readonly system: NatsSystem;
  readonly #connections: NatsConnection[] = [];

  private constructor(system: NatsSystem, names: JobNames) {
    this.system = system;
    this.names = names;
  }

  /** @param admin what to connect with to make the stream */
  static async make(system: NatsSystem, maxBytes: number, admin: Partial<NatsConfig> = {}): Promise<TestJob> {
    const job = new TestJob(system, jobNames(freshUid()));
    const connection = await job.connect(admin);
    // A new cluster first has to choose who leads it.
    for (let tries = 0; ; tries++) {
      try {
        await createStream(connection, job.names, { maxBytes, replicas: system.count });
        return job;
      } catch (error) {
        if (tries === 10 || !(error instanceof LogUnavailable)) throw error;
      }
    }
  }

  /** Waits until the stream is there and has a leader, which a cluster that started anew has to choose first. */
  async led(): Promise<void> {
    const log = await this.log();
    for (let tries = 0; ; tries++) {
      try {
        await log.last();
        return;
      } catch (error) {
        if (tries === 10 || !(error instanceof LogUnavailable)) throw error;
      }
    }
  }

  /** Which of the servers leads the stream. */
  async leader(): Promise<number> {
    const jsm = await jetstreamManager(await this.connect(), { checkAPI: false });
    // The log can go on while the cluster still chooses who answers such questions.
    for (let tries = 0; ; tries++) {
      try {
        const { cluster } = await jsm.streams.info(this.names.stream);
        if (cluster?.leader !== undefined) return Number(cluster.leader.slice(1));
      } catch (error) {
        if (tries === 10) throw error;
      }
      if (tries === 10) throw new Error(`${this.names.stream} has no leader`);
      await sleep(500);
    }
  }

  async connect(config: Partial<NatsConfig> = {}): Promise<NatsConnection> {
    const connection = await openNats({ servers: this.system.urls, ...config });
    this.#connections.push(connection);
    return connection;
  }

  async log(config: Partial<NatsConfig> = {}, options: ApiOptions = {}): Promise<NatsLog> {
    return new NatsLog(await this.connect(config), this.names, options);
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }
}
