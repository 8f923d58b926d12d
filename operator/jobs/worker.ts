import type { Pod } from '../kube/mod.ts';
import { ANNOTATIONS, LABELS } from './names.ts';
import { containerOf, type Trouble, troubleOf } from './trouble.ts';

/** A worker as its pod shows it. */
export interface Worker {
  readonly name: string;
  readonly uid: string;
  readonly group: string;
  readonly index: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** Is being deleted; when the time to leave is over, in milliseconds since 1970, else null. */
  readonly leavesBy: number | null;
  /** Its container will not run again: phase Succeeded or Failed. */
  readonly isOver: boolean;
  /** When it was over. */
  readonly overAt: number;
  /** Its engine is open. */
  readonly isReady: boolean;
  /** It says that it takes part. */
  readonly isJoined: boolean;
  /** What its template was made from. */
  readonly template: string;
  /** Failures in a row of the pods before this one. */
  readonly failures: number;
  readonly trouble: Trouble | null;
}

export function workerOf(pod: Pod): Worker {
  const { metadata, status = {} } = pod;
  const { phase, conditions = [] } = status;
  const isOver = phase === 'Succeeded' || phase === 'Failed';
  const container = containerOf(pod);
  const condition = (type: string) => conditions.find((other) => other.type === type);
  const isRunning = phase === 'Running' && container?.state?.running !== undefined;
  const createdAt = timeOf(metadata.creationTimestamp) ?? 0;
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    group: metadata.labels?.[LABELS.group] ?? '',
    index: Number(metadata.labels?.[LABELS.index] ?? 0),
    createdAt,
    leavesBy: timeOf(metadata.deletionTimestamp),
    isOver,
    overAt:
      timeOf(container?.state?.terminated?.finishedAt) ??
      timeOf(condition('Ready')?.lastTransitionTime) ??
      createdAt,
    isReady: isRunning && container?.started === true,
    isJoined: phase === 'Running' && condition('Ready')?.status === 'True',
    template: metadata.annotations?.[ANNOTATIONS.template] ?? '',
    failures: Number(metadata.annotations?.[ANNOTATIONS.failures] ?? 0),
    trouble: troubleOf(pod),
  };
}

/** Milliseconds since 1970 of a time of the API; null where there is none. */
export function timeOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const time = Date.parse(text);
  return Number.isNaN(time) ? null : time;
}

/** Drops what nobody reads from a cached pod: 8,000 of them are to fit in little memory. */
export function trimPod(pod: Pod): Pod {
  const { metadata, status = {} } = pod;
  const { name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp } = metadata;
  const { labels, annotations, ownerReferences } = metadata;
  const conditions = status.conditions?.filter(({ type }) => KEPT_CONDITIONS.has(type));
  const containers = status.containerStatuses?.map(
    ({ name, image, imageID, ready, restartCount, started, state, lastState }) =>
      given({ name, image, imageID, ready, restartCount, started, state, lastState }),
  );
  return {
    metadata: given({
      name,
      namespace,
      uid,
      resourceVersion,
      creationTimestamp,
      deletionTimestamp,
      labels: pick(labels, KEPT_LABELS),
      annotations: pick(annotations, KEPT_ANNOTATIONS),
      ownerReferences: ownerReferences?.filter(({ controller }) => controller === true),
    }),
    status: given({
      phase: status.phase,
      reason: status.reason,
      message: status.message,
      conditions,
      containerStatuses: containers,
    }),
  } as Pod;
}

const KEPT_CONDITIONS = new Set(['Ready', 'PodScheduled', 'DisruptionTarget']);
const KEPT_LABELS: readonly string[] = [LABELS.component, LABELS.group, LABELS.index];
const KEPT_ANNOTATIONS: readonly string[] = [ANNOTATIONS.template, ANNOTATIONS.failures];

function pick(from: Record<string, string> | undefined, keys: readonly string[]): Record<string, string> {
  const entries = keys.flatMap((key) => (from?.[key] === undefined ? [] : [[key, from[key]]]));
  return Object.fromEntries(entries);
}

function given<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
