import { OnebyteError } from '../errors.ts';
import { decodeBody } from './codec.ts';
import type { Input } from './input.ts';
import type { Ledger } from './ledger.ts';
import { beginsPlain, LARGEST_PLAIN_HEAD, plainLength } from './round.ts';

/**
 * One record in a journal file. A plain round (every member with the most probes, nothing else to say) is nearly all of
 * a run and its length follows from the ledger, so it is: body, check. Any other record: a zero byte, the body's length
 * (LEB128), body, check; the length lets a sound record of an unknown kind be told from a damaged one.
 *
 * The check is the first two bytes of the chain's value after the record. The chain covers all bodies so far, so a
 * damaged one fails its own check and every later one.
 */
export interface Frame {
  readonly body: Uint8Array;
  readonly check: Uint8Array;
}

const MARKED = 0;
const CHECK_BYTES = 2;
/** No body is larger; a longer length is a damaged one. */
const MAX_BODY = 1 << 25;
/** Mark and length. */
const LARGEST_HEAD = 5;

/** @param chain the value after the record */
export function frame(body: Uint8Array, chain: Uint8Array): Uint8Array {
  const check = chain.subarray(0, CHECK_BYTES);
  if (beginsPlain(body[0])) return Buffer.concat([body, check]);
  const head = [MARKED];
  let rest = body.length;
  for (; rest >= 0x80; rest >>= 7) head.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Uint8Array.of(...head, rest), body, check]);
}

/** The next frame, the file's end, the bytes of a frame that the end cuts off, or what is wrong with one. */
export function readFrame(input: Input, ledger: Ledger): Frame | 'end' | { cut: number } | { wrong: string } {
  const [first] = input.peek(1);
  if (first === undefined) return 'end';
  if (beginsPlain(first)) return plainFrame(input, ledger);
  return first === MARKED ? markedFrame(input, ledger) : { wrong: 'no record begins like this' };
}

function plainFrame(input: Input, ledger: Ledger): ReturnType<typeof readFrame> {
  const head = input.peek(LARGEST_PLAIN_HEAD);
  const length = plainLength(head, ledger);
  if (length === null)
    return head.length < LARGEST_PLAIN_HEAD ? { cut: head.length } : { wrong: 'its head has no end' };
  return take(input, 0, length);
}

function markedFrame(input: Input, ledger: Ledger): ReturnType<typeof readFrame> {
  const head = input.peek(LARGEST_HEAD);
  let length = 0;
  let bytes = 1;
  for (let scale = 1; ; scale *= 128) {
    const byte = head[bytes++];
    if (byte === undefined)
      return head.length < LARGEST_HEAD ? { cut: head.length } : { wrong: 'its length has no end' };
    length += (byte & 0x7f) * scale;
    if (byte >= 0x80) continue;
    if (byte === 0) return { wrong: 'its length is not written as lengths are' };
    break;
  }
  if (length > MAX_BODY) return { wrong: `its length is ${length}` };
  const all = input.peek(bytes + length);
  if (all.length < bytes + length && !endsEarly(all.subarray(bytes), ledger))
    return { wrong: 'its length is wrong' };
  if (beginsPlain(all[bytes])) return { wrong: 'a plain round is written without a length' };
  return take(input, bytes, length);
}

function take(input: Input, head: number, length: number): Frame | { cut: number } {
  const all = input.peek(head + length + CHECK_BYTES);
  if (all.length < head + length + CHECK_BYTES) return { cut: all.length };
  input.skip(all.length);
  return { body: all.slice(head, head + length), check: all.slice(head + length) };
}

/** A record that was cut off ends too early; any other fault means that its length is wrong and nothing was cut. */
function endsEarly(rest: Uint8Array, ledger: Ledger): boolean {
  try {
    decodeBody(rest, ledger);
    return false;
  } catch (error) {
    return error instanceof OnebyteError && error.code === 'RECORD_TRUNCATED';
  }
}
