import { type Spec, wantedWorkers } from '../../crds/job.ts';
import { OnebyteError } from '../../worker/errors.ts';

export interface CrewMember {
  readonly name: string;
  /** '' for a worker of `spec.data`. */
  readonly group: string;
}

/**
 * The workers of a local run: those that the job asks for, or `count` of them dealt out over the groups in turn.
 * @throws OnebyteError JOB_INVALID where `count` leaves a group without a worker
 */
export function crewOf(spec: Spec, count: number = wantedWorkers(spec)): CrewMember[] {
  const groups = [...(spec.data ? [''] : []), ...(spec.groups ?? []).map(({ name }) => name)];
  const wanted =
    count === wantedWorkers(spec)
      ? groups.map((name) =>
          name === '' ? spec.replicas : spec.groups!.find((group) => group.name === name)!.replicas,
        )
      : groups.map((_, i) => Math.floor((count - i - 1) / groups.length) + 1);
  const idle = groups.filter((_, i) => wanted[i]! < 1);
  if (count < groups.length && idle.length > 0) {
    throw new OnebyteError(
      'JOB_INVALID',
      `${count} workers leave nobody for the data of: ${idle.join(', ')}`,
      {
        field: '--workers',
        remedy: `ask for at least ${groups.length}, one for each source of data`,
      },
    );
  }
  // Members are known by their names: a group may have taken this one.
  let own = 'worker';
  while (groups.includes(own)) own += '-data';
  return groups.flatMap((group, g) =>
    Array.from({ length: wanted[g]! }, (_, i) => ({
      name: `${group === '' ? own : group}-${i}`,
      group,
    })),
  );
}
