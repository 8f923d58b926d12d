import { createHash } from 'node:crypto';
import { OnebyteError } from '../errors.ts';
import { encodeBody } from '../journal/codec.ts';
import { parseJob } from '../journal/job-text.ts';
import { emptyLedger, type Ledger, MAX_MEMBERS } from '../journal/ledger.ts';
import type { GenesisRecord } from '../journal/record.ts';

/**
 * A ledger as JSON, for snapshots: all of it but the genesis record, which is named by its digest. Numbers come back
 * bit for bit; those that JSON has no form for are texts.
 */
export function ledgerText(ledger: Ledger): string {
  const { genesis, name: _, job: __, chain, roundChain, ...rest } = ledger;
  return JSON.stringify(
    {
      genesis: genesisDigest(genesis!),
      chain: Buffer.from(chain).toString('hex'),
      roundChain: Buffer.from(roundChain).toString('hex'),
      ...rest,
    },
    (_key, value: unknown) =>
      isPlain(value) ? value : { $number: Object.is(value, -0) ? '-0' : String(value) },
  );
}

/** @throws OnebyteError SNAPSHOT_INVALID for what is no ledger of this run */
export function readLedger(text: string, genesis: GenesisRecord): Ledger {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(text, (_key, item: unknown) =>
      isSpecial(item) ? Number(item.$number) : item,
    ) as Record<string, unknown>;
  } catch (cause) {
    throw invalid('its ledger is not JSON', cause);
  }
  const { genesis: digest, chain, roundChain, ...rest } = value;
  check(digest === genesisDigest(genesis), 'it is of another run');
  check(isHash(chain) && isHash(roundChain), 'its chain is none');
  const ledger = { ...emptyLedger(), ...rest } as Ledger;
  check(Object.keys(ledger).length === Object.keys(emptyLedger()).length, 'its ledger has unknown fields');
  const { records, round, totals, members, artifacts } = ledger;
  check([records, round, ...Object.values(totals)].every(isCount), 'a count of it is none');
  check(Array.isArray(members) && members.length <= MAX_MEMBERS, 'its members are none');
  check(Array.isArray(artifacts), 'its artifacts are none');
  for (const { id, slot, joined, missed, examples } of members)
    check(
      typeof id === 'string' && [slot, joined, missed, examples].every(isCount),
      'a member of it is none',
    );
  check(ledger.end === null, 'it is of a run that has ended');
  const { name, job } = parseJob(genesis.job);
  return { ...ledger, chain: bytesOf(chain), roundChain: bytesOf(roundChain), genesis, name, job };
}

/** Numbers that JSON has a form for, and all that is no number. */
function isPlain(value: unknown): boolean {
  return typeof value !== 'number' || (Number.isFinite(value) && !Object.is(value, -0));
}

function isSpecial(value: unknown): value is { readonly $number: string } {
  return typeof value === 'object' && value !== null && '$number' in value;
}

function genesisDigest(genesis: GenesisRecord): string {
  return createHash('sha256').update(encodeBody(genesis, emptyLedger())).digest('hex');
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
}

function bytesOf(hex: unknown): Uint8Array {
  return new Uint8Array(Buffer.from(hex as string, 'hex'));
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw invalid(what);
}

function invalid(what: string, cause?: unknown): OnebyteError {
  return new OnebyteError('SNAPSHOT_INVALID', `the snapshot cannot be used: ${what}`, {
    cause,
    remedy: 'fetch it again, or follow the log from its start',
  });
}
