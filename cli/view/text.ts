/** Text on a terminal: what may be printed, how many columns it takes, and how to cut and pad it. */
import { stripVTControlCharacters } from 'node:util';
import type pc from 'picocolors';

/** Colour functions; all of them plain where colour is off. */
export type Paint = ReturnType<typeof pc.createColors>;

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
// Control characters (with ESC: no name from outside may move our cursor), line and paragraph separators, and the
// marks that reorder text, which would let a worker's name rearrange the line it stands in.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]$/u;
const EMOJI = /\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f/u;
/** Code points that East Asian Width counts as wide or full-width, as pairs of bounds (Unicode 16, UAX 11). */
const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2329, 0x232a],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe10, 0xfe19],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18d08],
  [0x1aff0, 0x1b2fb],
  [0x1f200, 0x1f2ff],
  [0x20000, 0x3fffd],
];

/** `text` without anything that a terminal would obey rather than show; white space becomes single spaces. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(/\s+/g, ' ').replace(UNSAFE, '').trim();
}

function graphemeWidth(grapheme: string): number {
  if (EMOJI.test(grapheme)) return 2;
  // Code by code, as terminals count: a spacing mark that follows a blank is part of its grapheme, yet takes a column.
  let width = 0;
  for (const character of grapheme) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): number {
  const point = character.codePointAt(0) ?? 0;
  if (point < 0x300) return point < 32 || (point >= 0x7f && point < 0xa0) ? 0 : 1;
  // Vowels and finals of Hangul join the syllable that they follow.
  if (ZERO.test(character) || (point >= 0x1160 && point <= 0x11ff)) return 0;
  return WIDE.some(([low, high]) => point >= low && point <= high) ? 2 : 1;
}

/** Columns that `text` takes on a terminal; colour codes take none. */
export function columns(text: string): number {
  const plain = stripVTControlCharacters(text);
  // Plain ASCII is nearly everything that we print.
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of GRAPHEMES.segment(plain)) width += graphemeWidth(segment);
  return width;
}

/** The longest prefix of `text` (without colour codes) that fits `width` columns, with an ellipsis where cut. */
export function clip(text: string, width: number): string {
  if (columns(text) <= width) return text;
  if (width <= 0) return '';
  let kept = '';
  let used = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const next = used + graphemeWidth(segment);
    if (next > width - 1) break;
    kept += segment;
    used = next;
  }
  return `${kept.trimEnd()}…`;
}

/** Left-aligned in exactly `width` columns (or clipped to them). */
export function left(text: string, width: number): string {
  const fitted = clip(text, width);
  return fitted + ' '.repeat(Math.max(0, width - columns(fitted)));
}

/** Right-aligned in exactly `width` columns (or clipped to them). */
export function right(text: string, width: number): string {
  const fitted = clip(text, width);
  return ' '.repeat(Math.max(0, width - columns(fitted))) + fitted;
}

/** Cuts a line that carries colour codes to `width` columns; the codes stay, so that colours end where they should. */
export function clipStyled(line: string, width: number): string {
  if (columns(line) <= width) return line;
  let kept = '';
  let room = width;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ESC starts a colour code
  for (const part of line.split(/(\x1b\[[0-9;]*m)/)) {
    if (part.startsWith('\x1b[')) {
      kept += part;
      continue;
    }
    const fitted = columns(part) <= room ? part : clip(part, room);
    kept += fitted;
    room -= columns(fitted);
    if (fitted !== part) room = 0;
  }
  return kept;
}
