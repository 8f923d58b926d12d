import type { Member } from '../journal/ledger.ts';

/**
 * A member's share of an evaluation: of `cap` rows of its group's split, every `of`-th from `index` on. The members of a
 * group hold the same data; groups hold different data.
 */
export interface Shard {
  readonly index: number;
  readonly of: number;
  /** Rows of the group's split that are used; Infinity for all. */
  readonly cap: number;
}

/**
 * @param examples examples that one evaluation uses, of all groups together; 0 for all
 * @returns null for an id that is not in
 */
export function shardOf(members: readonly Member[], id: string, examples: number): Shard | null {
  const own = members.find((member) => member.id === id);
  if (own === undefined) return null;
  const groups = new Set(members.map(({ group }) => group)).size;
  const peers = members.filter(({ group }) => group === own.group);
  return {
    index: peers.indexOf(own),
    of: peers.length,
    cap: examples === 0 ? Number.POSITIVE_INFINITY : Math.ceil(examples / groups),
  };
}

/** The rows of a split of `rows` rows that a shard covers. Those used are evenly spread: files are often sorted. */
export function shardRows(rows: number, { index, of, cap }: Shard): Int32Array {
  const used = Math.min(rows, cap);
  const length = Math.max(0, Math.ceil((used - index) / of));
  return Int32Array.from({ length }, (_, i) => Math.floor(((index + i * of) * rows) / used));
}
