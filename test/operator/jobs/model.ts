import type { Status } from '../../../crds/job.ts';
import type { ChildKind } from '../../../operator/jobs/children.ts';
import { type Job, roomOf } from '../../../operator/jobs/job.ts';
import { FINALIZER } from '../../../operator/jobs/names.ts';
import { type Action, type Plan, plan } from '../../../operator/jobs/plan.ts';
import { exportPod, workerPod } from '../../../operator/jobs/pod.ts';
import { workerOf } from '../../../operator/jobs/worker.ts';
import { type LogView, noRoom, noSetbacks, type World } from '../../../operator/jobs/world.ts';
import type { Pod } from '../../../operator/kube/mod.ts';
import { type PodState, podStatus, settings } from './builder.ts';

/** A cluster with one job in it, as values in memory: what plans are carried out on, by the plainest rules. */
export class Model {
  job: Job;
  status: Status;
  log: LogView;
  now: number;
  stream: World['stream'] = 'unknown';
  room = noRoom;
  readonly pods = new Map<string, Pod>();
  exporter: Pod | null = null;
  missing = new Set<ChildKind>(['ConfigMap', 'ServiceAccount', 'Service', 'PodDisruptionBudget']);
  isDeleted = false;
  #uids = 0;

  constructor(job: Job, status: Status, log: LogView, now: number) {
    this.job = job;
    this.status = status;
    this.log = log;
    this.now = now;
  }

  get world(): World {
    return {
      job: this.job,
      status: this.status,
      workers: [...this.pods.values()].map(workerOf),
      exporter: this.exporter === null ? null : workerOf(this.exporter),
      log: this.log,
      missing: [...this.missing],
      setbacks: noSetbacks,
      stream: this.stream,
      room: this.room,
      taken: new Set(),
      now: this.now,
    };
  }

  /** Plans and acts until there is nothing left to do; as the reconciler does. @returns the plans made */
  pass(limit = 50): Plan[] {
    const plans: Plan[] = [];
    for (;;) {
      const made = plan(this.world);
      plans.push(made);
      if (plans.length > limit)
        throw new Error(`no end after ${limit} plans: ${JSON.stringify(made.actions)}`);
      if (made.actions.length === 0 || this.isDeleted) {
        const isNews = made.status?.completionTime !== undefined && this.status.completionTime === undefined;
        if (made.status !== null) this.status = made.status;
        // What a job's end asks for is done once the end has been told.
        if (!isNews || this.isDeleted) return plans;
      }
      for (const action of made.actions) this.#act(action);
    }
  }

  #act(action: Action): void {
    const { metadata } = this.job;
    switch (action.type) {
      case 'add-finalizer':
        this.job = { ...this.job, metadata: { ...metadata, finalizers: [FINALIZER] } };
        break;
      case 'remove-finalizer':
      case 'delete-job':
        this.isDeleted = true;
        break;
      case 'create-stream':
        this.stream = 'made';
        this.status = { ...this.status, stream: 'stream' };
        this.room = roomOf(this.job);
        break;
      case 'widen-stream':
        this.room = roomOf(this.job);
        break;
      case 'remove-stream':
        this.stream = 'gone';
        break;
      case 'ensure-child':
        this.missing.delete(action.kind);
        break;
      case 'create-pod':
        this.#create(action.worker);
        break;
      case 'create-export':
        this.exporter = this.#made(exportPod(this.job, settings));
        break;
      case 'replace-pod':
        this.remove(action.worker.name, action.worker.uid);
        this.#create({ ...action.worker, failures: action.failures });
        break;
      case 'remove-pod':
        this.remove(action.worker.name, action.worker.uid);
        break;
    }
  }

  #create(worker: { name: string; group: string; index: number; failures: number }): void {
    if (this.pods.has(worker.name)) throw new Error(`${worker.name} is there already`);
    this.pods.set(worker.name, this.#pod(worker));
  }

  #pod(worker: { name: string; group: string; index: number; failures: number }): Pod {
    const known = this.job.spec.groups?.some(({ name }) => name === worker.group) || worker.group === '';
    const job = known
      ? this.job
      : { ...this.job, spec: { ...this.job.spec, groups: [{ name: worker.group, replicas: 1 }] } };
    return this.#made(workerPod(job, worker, settings));
  }

  #made(pod: Pod): Pod {
    const creationTimestamp = new Date(this.now).toISOString();
    return {
      ...pod,
      metadata: { ...pod.metadata, uid: `pod-${this.#uids++}`, creationTimestamp },
      status: podStatus('pending'),
    };
  }

  /** Puts a pod there in some state, as the world may have made it. */
  place(
    worker: { group: string; index: number; failures: number },
    state: PodState,
    ageSeconds: number,
  ): void {
    const { name } = this.job.metadata;
    const full = worker.group === '' ? `${name}-${worker.index}` : `${name}-${worker.group}-${worker.index}`;
    this.pods.set(full, this.#pod({ ...worker, name: full }));
    this.set(full, state);
    const pod = this.pods.get(full)!;
    const creationTimestamp = new Date(this.now - ageSeconds * 1_000).toISOString();
    this.pods.set(full, { ...pod, metadata: { ...pod.metadata, creationTimestamp } });
  }

  set(name: string, state: PodState): void {
    const pod = this.pods.get(name)!;
    const deletionTimestamp = new Date(this.now + 30_000).toISOString();
    const metadata = state === 'leaving' ? { ...pod.metadata, deletionTimestamp } : pod.metadata;
    this.pods.set(name, { ...pod, metadata, status: podStatus(state) });
  }

  remove(name: string, uid: string): void {
    if (this.exporter?.metadata.uid === uid) {
      this.exporter = null;
      return;
    }
    const pod = this.pods.get(name);
    if (pod?.metadata.uid !== uid) return;
    // Pods that never ran or are over vanish at once; others take their time.
    const isOver = pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (isOver || pod.status?.phase === 'Pending') this.pods.delete(name);
    else this.set(name, 'leaving');
  }

  /** What kubelets do in a while: those that leave are gone, those that can run join. */
  settle(): void {
    for (const [name, pod] of [...this.pods]) {
      const worker = workerOf(pod);
      if (worker.leavesBy !== null) this.pods.delete(name);
      else if (!worker.isOver) this.set(name, 'joined');
    }
    if (this.exporter !== null) this.exporter = { ...this.exporter, status: podStatus('left') };
  }

  get living(): number {
    return [...this.pods.values()]
      .map(workerOf)
      .filter(({ isOver, leavesBy }) => !isOver && leavesBy === null).length;
  }
}
