import { OnebyteError } from '../errors.ts';
import type { Ledger } from '../journal/ledger.ts';
import type { GenesisRecord } from '../journal/record.ts';
import type { PoolHistory } from '../method/pool.ts';
import { ledgerText, readLedger } from './ledger-text.ts';
import type { MomentumState } from './momentum.ts';

/** All that the next record's effect depends on. */
export interface ReplicaSnapshot {
  readonly ledger: Ledger;
  /** `TensorStore.snapshot()` */
  readonly state: Uint8Array;
  readonly pool: PoolHistory | null;
  readonly momentum: MomentumState | null;
}

/** 'OBR1', little endian: the format's name and version. */
const MAGIC = 0x3152424f;
const HEAD = 8;

interface Header {
  readonly ledger: string;
  /** Bytes of the state. */
  readonly state: number;
  /** Candidates of the pool; 0: none. */
  readonly pool: number;
  readonly momentum: {
    readonly stage: number;
    readonly tensors: readonly {
      readonly index: number;
      readonly exponent: number;
      readonly length: number;
    }[];
  } | null;
}

/** Magic, length of the header, the header as JSON, then state, pool and velocities as they lie in memory (little endian). */
export function encodeReplica({ ledger, state, pool, momentum }: ReplicaSnapshot): Uint8Array {
  const header: Header = {
    ledger: ledgerText(ledger),
    state: state.length,
    pool: pool?.count.length ?? 0,
    momentum:
      momentum === null
        ? null
        : {
            stage: momentum.stage,
            tensors: momentum.velocities.map(({ index, exponent, values }) => ({
              index,
              exponent,
              length: values.length,
            })),
          },
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const parts = [
    text,
    state,
    ...(pool === null ? [] : [pool.count, pool.magnitude]),
    ...(momentum?.velocities ?? []).map(({ values }) => values),
  ];
  const bytes = new Uint8Array(HEAD + parts.reduce((sum, part) => sum + part.byteLength, 0));
  const head = new DataView(bytes.buffer);
  head.setUint32(0, MAGIC, true);
  head.setUint32(4, text.length, true);
  let at = HEAD;
  for (const part of parts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return bytes;
}

/**
 * Reads what `encodeReplica` wrote. That it is right, only digests in the log can say.
 * @throws OnebyteError SNAPSHOT_INVALID
 */
export function decodeReplica(bytes: Uint8Array, genesis: GenesisRecord): ReplicaSnapshot {
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEAD || head.getUint32(0, true) !== MAGIC) throw invalid('it is none of this version');
  let at = HEAD;
  const take = (length: number): Uint8Array => {
    if (!Number.isSafeInteger(length) || length < 0 || at + length > bytes.length)
      throw invalid('it is cut off');
    at += length;
    return bytes.slice(at - length, at);
  };
  const doubles = (length: number) => new Float64Array(take(8 * length).buffer);
  const header = readHeader(take(head.getUint32(4, true)));
  const ledger = readLedger(header.ledger, genesis);
  const state = take(header.state);
  const pool = header.pool > 0 ? { count: doubles(header.pool), magnitude: doubles(header.pool) } : null;
  const momentum =
    header.momentum === null
      ? null
      : {
          stage: header.momentum.stage,
          velocities: header.momentum.tensors.map(({ index, exponent, length }) => ({
            index,
            exponent,
            values: doubles(length),
          })),
        };
  if (at !== bytes.length) throw invalid('something follows its end');
  return { ledger, state, pool, momentum };
}

function readHeader(bytes: Uint8Array): Header {
  try {
    const header = JSON.parse(new TextDecoder().decode(bytes)) as Header;
    if (typeof header.ledger === 'string' && typeof header.pool === 'number' && header.momentum !== undefined)
      return header;
  } catch (cause) {
    throw invalid('its header is not JSON', cause);
  }
  throw invalid('its header is none');
}

function invalid(what: string, cause?: unknown): OnebyteError {
  return new OnebyteError('SNAPSHOT_INVALID', `the snapshot cannot be used: ${what}`, {
    cause,
    remedy: 'fetch it again, or follow the log from its start',
  });
}
