/**
 * What a projected gradient becomes: one byte. Encoding happens at the probe's owner only and may use any
 * arithmetic; decoding is part of every replica's state and is a table built from IEEE 754 multiplications.
 */
import { MINUS, PLUS } from '../journal/signs.ts';

export type CodecName = 'log8' | 'sign1';

export interface Codec {
  readonly name: CodecName;
  /** Byte of a projected gradient; 0 (abstain) for NaN and infinities. */
  encode(value: number): number;
  /** Value of each byte; NaN where the byte abstains or means nothing. 256 entries. */
  readonly values: Float64Array;
}

/** A byte that carries no measurement. */
export const ABSTAIN = 0;
/** log8: measured, and exactly zero. */
const ZERO = 0x80;
const NEGATIVE = 0x80;

/** Smallest magnitude of log8; smaller ones keep their sign and become this. */
export const LOG8_MIN = 1e-3;
/** (1e4 / 1e-3) ** (1 / 126): the ratio of neighbouring magnitudes, so that code 127 is 1e4. */
const LOG8_RATIO = 1.1364636663857248;
const LOG8_CODES = 127;

function log8Magnitudes(): Float64Array {
  const magnitudes = new Float64Array(LOG8_CODES + 1);
  let value = LOG8_MIN;
  for (let code = 1; code <= LOG8_CODES; code++) {
    magnitudes[code] = value;
    value *= LOG8_RATIO;
  }
  return magnitudes;
}

/**
 * Sign in bit 7, 7-bit logarithmic magnitude over [1e-3, 1e4] in steps of 13.6 %: 3.7 % root mean square error
 * whatever the distribution, and no scale to agree on.
 */
function log8(): Codec {
  const magnitudes = log8Magnitudes();
  const values = new Float64Array(256).fill(Number.NaN);
  values[ZERO] = 0;
  for (let code = 1; code <= LOG8_CODES; code++) {
    values[code] = magnitudes[code]!;
    values[NEGATIVE | code] = -magnitudes[code]!;
  }
  const perStep = 1 / Math.log(LOG8_RATIO);
  return {
    name: 'log8',
    values,
    encode(value) {
      if (!Number.isFinite(value)) return ABSTAIN;
      if (value === 0) return ZERO;
      const step = 1 + Math.round(Math.log(Math.abs(value) / LOG8_MIN) * perStep);
      const code = Math.min(LOG8_CODES, Math.max(1, step));
      return value < 0 ? NEGATIVE | code : code;
    },
  };
}

/**
 * One bit of information (FeedSign, arXiv 2501.17610): the sign; a measured zero abstains. Five of them share a byte where
 * they are sent and kept (`journal/signs.ts`).
 */
function sign1(): Codec {
  const values = new Float64Array(256).fill(Number.NaN);
  values[PLUS] = 1;
  values[MINUS] = -1;
  return {
    name: 'sign1',
    values,
    encode: (value) => (!Number.isFinite(value) || value === 0 ? ABSTAIN : value > 0 ? PLUS : MINUS),
  };
}

const CODECS: Readonly<Record<CodecName, Codec>> = { log8: log8(), sign1: sign1() };

export function codec(name: CodecName): Codec {
  return CODECS[name];
}

export function encodeAll(name: CodecName, values: Float64Array): Uint8Array {
  const { encode } = CODECS[name];
  return Uint8Array.from(values, (value) => encode(value));
}
