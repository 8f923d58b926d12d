/**
 * Probes that say no more than a sign take a fifth of a byte: five digits of base 3 (none, plus, minus) to a byte, the first
 * one lowest, 243 values in all. What is packed is decided by the bytes themselves, so reader and writer need to agree on nothing.
 */
import type { ByteReader } from './bytes.ts';

/** A sign in a byte of its own, as the codec `sign1` has it; 0 abstains. */
export const PLUS = 0x01;
export const MINUS = 0x81;

const PER_BYTE = 5;
const DIGITS = Uint8Array.of(0, PLUS, MINUS);
const BASE = DIGITS.length;
/** By byte: whether it is a digit's. */
const IS_DIGIT = Uint8Array.from({ length: 256 }, (_, byte) => Number(DIGITS.includes(byte)));

/** Whether there are probes at all and each is a sign or abstains. */
export function areSigns(members: readonly Uint8Array[]): boolean {
  let probes = 0;
  for (const bytes of members) {
    for (let i = 0; i < bytes.length; i++) if (IS_DIGIT[bytes[i]!] === 0) return false;
    probes += bytes.length;
  }
  return probes > 0;
}

/** Bytes that so many signs take. */
export function packedLength(signs: number): number {
  return Math.ceil(signs / PER_BYTE);
}

/** Bytes that the members' probes take in a message or a record. */
export function payloadBytes(members: readonly Uint8Array[]): number {
  const probes = members.reduce((sum, bytes) => sum + bytes.length, 0);
  return areSigns(members) ? packedLength(probes) : probes;
}

/** @param bytes of which `areSigns` */
export function packSigns(bytes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(packedLength(bytes.length));
  for (let i = bytes.length - 1; i >= 0; i--) {
    const at = Math.floor(i / PER_BYTE);
    packed[at] = packed[at]! * BASE + DIGITS.indexOf(bytes[i]!);
  }
  return packed;
}

/** The bytes of `count` probes, or null where what is read is not how they are written. */
export function readSigns(reader: ByteReader, count: number): Uint8Array | null {
  const bytes = new Uint8Array(count);
  const packed = reader.raw(packedLength(count));
  for (let i = 0; i < count; i++) {
    const at = Math.floor(i / PER_BYTE);
    bytes[i] = DIGITS[packed[at]! % BASE]!;
    packed[at] = Math.floor(packed[at]! / BASE);
  }
  return packed.every((rest) => rest === 0) ? bytes : null;
}
