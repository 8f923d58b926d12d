import type { Status } from '../../crds/job.ts';
import { CONDITIONS, type ConditionType } from './names.ts';

export type Condition = NonNullable<Status['conditions']>[number];
export type Truth = Condition['status'];

export interface Finding {
  readonly status: Truth;
  readonly reason: string;
  readonly message: string;
}

export type Findings = { readonly [type in ConditionType]: Finding };

/** Longest message that a condition takes. */
const MESSAGE = 2_048;

export function conditionOf(status: Status | undefined, type: ConditionType): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** All conditions, in a fixed order. The time of a transition moves only where a condition's status does. */
export function conditionsFrom(
  findings: Findings,
  previous: Status,
  generation: number,
  now: string,
): Condition[] {
  return Object.values(CONDITIONS).map((type) => {
    const { status, reason, message } = findings[type];
    const before = conditionOf(previous, type);
    return {
      type,
      status,
      observedGeneration: generation,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
      reason,
      message: message.slice(0, MESSAGE),
    };
  });
}

/** A time as the API writes it: whole seconds. */
export function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
