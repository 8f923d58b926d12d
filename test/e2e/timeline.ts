/** Where the time goes from an applied job, or a new scale, to a worker's first round, as its own log tells it. */
import type { Pod } from '../../operator/kube/mod.ts';
import type { Lab } from './lab.ts';
import { TEAM } from './namespaces.ts';

/** A line that pino wrote. */
interface Line {
  readonly time: number;
  readonly msg: string;
}

/** What a worker said until it took part, with seconds since `event`, which was at `from` (by `Date.now()`), before each. */
export async function timelineOf(lab: Lab, pod: string, event: string, from: number): Promise<string> {
  const text = await lab.kubectl('-n', TEAM, 'logs', pod);
  const lines = text.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Line] : []));
  const end = lines.findIndex(({ msg }) => msg === 'joined');
  const told = lines.slice(0, end + 1).map(({ time, msg }) => `${((time - from) / 1000).toFixed(1)} ${msg}`);
  return `${pod}, seconds after ${event}: ${told.join('; ')}`;
}

/** How long a pod took, by the whole seconds that Kubernetes writes down. */
export function startToReady({ metadata, spec, status }: Pod): string {
  const ready = readyCondition(status);
  const started = status?.containerStatuses?.[0]?.state?.running?.startedAt;
  if (ready?.lastTransitionTime === undefined || started === undefined) return `${metadata.name}: not ready`;
  const [made, began, done] = [metadata.creationTimestamp!, started, ready.lastTransitionTime].map(
    (time) => new Date(time).getTime() / 1000,
  ) as [number, number, number];
  return `${metadata.name} on ${spec?.nodeName}: container started ${began - made} s after the pod was made, ready ${done - began} s after that`;
}

export const isReady = ({ status }: Pod): boolean => readyCondition(status) !== undefined;

function readyCondition(status: Pod['status']) {
  return status?.conditions?.find(({ type, status: is }) => type === 'Ready' && is === 'True');
}
