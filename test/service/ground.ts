import { after, afterEach, before } from 'node:test';
import { TestJob } from '../nats/job.ts';
import { NatsSystem } from '../nats/server.ts';
import { Lab, type WorkerProcess } from './lab.ts';

const MAX_BYTES = 1 << 24;

/** What the tests of a suite run on: one server and one lab; workers and jobs are gone after each test. */
export interface Ground {
  readonly system: NatsSystem;
  readonly lab: Lab;
  /** Starts a worker of a job. */
  start(uid: string, party: number, env?: Record<string, string>, from?: Lab, on?: NatsSystem): WorkerProcess;
  /** A job with a stream on the server. */
  make(maxBytes?: number): Promise<TestJob>;
}

/** To be called in a suite, whose hooks it adds. */
export function ground(): Ground {
  let system: NatsSystem;
  let lab: Lab;
  let running: WorkerProcess[] = [];
  const jobs = new Set<TestJob>();
  before(async () => {
    [system, lab] = await Promise.all([NatsSystem.start(), Lab.make()]);
  });
  afterEach(async () => {
    await Promise.all(running.map((worker) => worker.kill()));
    running = [];
    await Promise.all([...jobs].map((job) => job.close()));
    jobs.clear();
  });
  after(async () => {
    await system.end();
    await lab.remove();
  });
  return {
    get system() {
      return system;
    },
    get lab() {
      return lab;
    },
    start(uid, party, env = {}, from = lab, on = system) {
      const worker = from.worker(on, uid, party, env);
      running.push(worker);
      return worker;
    },
    async make(maxBytes = MAX_BYTES) {
      const job = await TestJob.make(system, maxBytes);
      jobs.add(job);
      return job;
    },
  };
}
