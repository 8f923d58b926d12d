import type { Join, RoundRecord } from './record.ts';

/** A member with this many zero-byte rounds in a row is out; it may join again. */
export const MISSED_LIMIT = 4;
export const MAX_MEMBERS = 4096;

export interface Member extends Join {
  /** Stable while it is in; the smallest that was free when it joined. */
  readonly slot: number;
  /** The first round that it can contribute to. */
  readonly joined: number;
  /** Rounds in a row without a byte of it. */
  readonly missed: number;
}

/** Who is in after a round record; `round` is the first that those who join can contribute to. */
export function membersAfter(
  members: readonly Member[],
  record: RoundRecord,
  round: number,
  update: boolean,
): readonly Member[] {
  // Every round of most runs: the same value again spares everybody the question who came or went.
  const same = record.joins.length + record.leaves.length === 0;
  if (same && (!update || members.every(({ missed }, i) => missed === 0 && record.bytes[i]!.length > 0)))
    return members;
  const staying = members
    .map((member, i) =>
      update ? { ...member, missed: record.bytes[i]!.length === 0 ? member.missed + 1 : 0 } : member,
    )
    .filter((member) => !record.leaves.includes(member.slot) && member.missed < MISSED_LIMIT);
  const taken = new Set(staying.map((member) => member.slot));
  let slot = 0;
  for (const join of record.joins) {
    while (taken.has(slot)) slot++;
    taken.add(slot);
    staying.push({ ...join, slot, joined: round, missed: 0 });
  }
  return staying.sort((a, b) => a.slot - b.slot);
}
