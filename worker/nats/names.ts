/** Every name that this program gives to something on a NATS server: streams, subjects, inboxes, headers, metadata. */
import { createHash } from 'node:crypto';
import { OnebyteError } from '../errors.ts';

/** First token of all subjects, and first part of stream and inbox names, unless a job says otherwise. */
export const DEFAULT_PREFIX = 'onebyte';

/** Version of what is agreed on here and in `stream.ts`; a stream made by another one is refused. */
export const STREAM_FORMAT = '1';
export const METADATA = { format: 'onebyte.dev/format', uid: 'onebyte.dev/uid' } as const;

/** Headers of ours on an append, and of the server on what it stored, republishes or hands out. */
export const HEADERS = {
  id: 'Nats-Msg-Id',
  expectedLast: 'Nats-Expected-Last-Sequence',
  sequence: 'Nats-Sequence',
  pending: 'Nats-Num-Pending',
} as const;

/** What one job is called. */
export interface JobNames {
  readonly uid: string;
  readonly stream: string;
  /** Appends go here. */
  readonly log: string;
  /** The server says here what the log stored, right after it did. */
  readonly tail: string;
  /** All bus subjects begin with this and a dot. */
  readonly bus: string;
  /** Snapshots and artifacts: the stream, and what its subjects begin with. */
  readonly storeStream: string;
  readonly store: string;
}

/** @throws OnebyteError NATS_CONFIG_INVALID for a prefix that cannot begin a subject. */
export function jobNames(uid: string, prefix: string = DEFAULT_PREFIX): JobNames {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(prefix))
    throw new OnebyteError('NATS_CONFIG_INVALID', `'${prefix}' cannot be the prefix of subjects`, {
      field: 'prefix',
      remedy: 'Use at most 32 letters, digits, - and _.',
    });
  const job = token(uid);
  const subject = `${prefix}.${job}`;
  return {
    uid,
    stream: `${prefix}-${job}`,
    log: `${subject}.log`,
    tail: `${subject}.tail`,
    bus: `${subject}.bus`,
    storeStream: `${prefix}-${job}-store`,
    store: `${subject}.store`,
  };
}

/**
 * Any text as one subject token that no other text gives: letters, digits, - and _ stay, all else becomes the hex of
 * its UTF-8 bytes between equals signs.
 */
export function token(text: string): string {
  if (text === '') return '==';
  return text.replace(/[^A-Za-z0-9_-]+/gu, (other) => `=${Buffer.from(other).toString('hex')}=`);
}

function untoken(value: string): string {
  return value.replace(/=([0-9a-f]*)=/g, (_, hex: string) => Buffer.from(hex, 'hex').toString());
}

/**
 * A member of a run as a pair of tokens: what its credentials are bound to, and what tells its lives apart. Of the 16
 * hex digits of a member's id the first 8 are the tag of its worker (`memberId`); for any other name the second token
 * is a dash.
 */
function memberTokens(id: string): string {
  return /^[0-9a-f]{16}$/.test(id) ? `${id.slice(0, 8)}.${id.slice(8)}` : `${token(id)}.-`;
}

/** The receiver of broadcasts; no member's tokens look like it. */
const ALL = 'all.all';

export function directSubject({ bus }: JobNames, to: string, from: string): string {
  return `${bus}.${memberTokens(to)}.${memberTokens(from)}`;
}

export function broadcastSubject({ bus }: JobNames, from: string): string {
  return `${bus}.${ALL}.${memberTokens(from)}`;
}

/** What a member listens to. */
export function busSubscriptions({ bus }: JobNames, self: string): readonly [string, string] {
  return [`${bus}.${memberTokens(self)}.*.*`, `${bus}.${ALL}.*.*`];
}

/** Who sent a message that came on this subject; null where it is none of the bus. */
export function senderOf({ bus }: JobNames, subject: string): string | null {
  // What a consumer delivers comes on the subject that it was stored under, whatever was subscribed to.
  if (!subject.startsWith(`${bus}.`)) return null;
  const [tag = '', life = ''] = subject.split('.').slice(-2);
  return life === '-' ? untoken(tag) : tag + life;
}

/** 8 hex digits for a worker's name. Credentials are given out by tag, so a member cannot speak as another worker. */
export function workerTag(worker: string): string {
  return createHash('sha256').update(`onebyte worker ${worker}`).digest('hex').slice(0, 8);
}

/** The id of one life of a worker. @param life 4 random bytes, new for each */
export function memberId(worker: string, life: Uint8Array): string {
  return workerTag(worker) + Buffer.from(life.subarray(0, 4)).toString('hex');
}

/** Where answers to a worker's requests come; private to its credentials. */
export function inboxPrefix(uid: string, worker: string, prefix: string = DEFAULT_PREFIX): string {
  return `_INBOX.${prefix}.${token(uid)}.${workerTag(worker)}`;
}

/** Subjects of the JetStream API, in a domain where the stream lives behind a leaf node that has its own. */
export function apiPrefix(domain?: string): string {
  return domain === undefined ? '$JS.API' : `$JS.${domain}.API`;
}
