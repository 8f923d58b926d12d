/** How a tensor's weights lie in a GGUF file: blocks of `weights` weights in `bytes` bytes. */
export interface GgufType {
  readonly name: GgufTypeName;
  /** Its number in the file (`ggml_type` of llama.cpp's ggml.h). */
  readonly number: number;
  readonly weights: number;
  readonly bytes: number;
}

/** Types that we read. */
export type GgufTypeName =
  | 'F32'
  | 'F16'
  | 'BF16'
  | 'Q4_0'
  | 'Q4_1'
  | 'Q5_0'
  | 'Q5_1'
  | 'Q8_0'
  | 'Q4_K'
  | 'Q5_K'
  | 'Q6_K';

/**
 * Types of blocks: 32 weights of 4, 5 or 8 bits with a half-precision scale (`_1`: and a least value); or 256 weights in
 * parts of 32 or 16 that have 6- or 8-bit scales of their own (`_K`).
 */
export const GGUF_TYPES: Readonly<Record<GgufTypeName, GgufType>> = {
  F32: { name: 'F32', number: 0, weights: 1, bytes: 4 },
  F16: { name: 'F16', number: 1, weights: 1, bytes: 2 },
  Q4_0: { name: 'Q4_0', number: 2, weights: 32, bytes: 18 },
  Q4_1: { name: 'Q4_1', number: 3, weights: 32, bytes: 20 },
  Q5_0: { name: 'Q5_0', number: 6, weights: 32, bytes: 22 },
  Q5_1: { name: 'Q5_1', number: 7, weights: 32, bytes: 24 },
  Q8_0: { name: 'Q8_0', number: 8, weights: 32, bytes: 34 },
  Q4_K: { name: 'Q4_K', number: 12, weights: 256, bytes: 144 },
  Q5_K: { name: 'Q5_K', number: 13, weights: 256, bytes: 176 },
  Q6_K: { name: 'Q6_K', number: 14, weights: 256, bytes: 210 },
  BF16: { name: 'BF16', number: 30, weights: 1, bytes: 2 },
};

const BY_NUMBER: ReadonlyMap<number, GgufType> = new Map(
  Object.values(GGUF_TYPES).map((type) => [type.number, type]),
);

/** Names of what others write and we do not read, for a refusal that says what it is. */
const OTHERS: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  10: 'Q2_K',
  11: 'Q3_K',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  24: 'I8',
  25: 'I16',
  26: 'I32',
  27: 'I64',
  28: 'F64',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
};

export function ggufType(number: number): GgufType | undefined {
  return BY_NUMBER.get(number);
}

/** What to call a type by, known or not. */
export function ggufTypeLabel(number: number): string {
  return BY_NUMBER.get(number)?.name ?? OTHERS[number] ?? `number ${number}`;
}
