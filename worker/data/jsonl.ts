import { invalid, type Reader, type Row } from './row.ts';
import { textOf } from './text.ts';

/**
 * One JSON object a line; empty lines are skipped. Only a line feed ends a line: JSON text may hold the other
 * characters that some readers take for one (U+2028, U+2029).
 */
export const readJsonl: Reader = async function* (path, source) {
  let number = 0;
  for await (const line of linesOf(path, (line) => invalid(source, path, `line ${line}`, 'is not UTF-8'))) {
    number++;
    if (line.trim() === '') continue;
    yield parse(line, () => number, path, source);
  }
};

function parse(text: string, line: () => number, path: string, source: string): Row {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const place = `line ${line()}, column ${brokenAt(text) + 1}`;
    throw invalid(source, path, place, 'is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(source, path, `line ${line()}`, 'is not a JSON object with fields');
  }
  return value as Row;
}

/** Where JSON text breaks: the longest beginning that some text could still make whole. V8 does not always tell. */
function brokenAt(text: string): number {
  let [whole, broken] = [0, text.length + 1];
  while (broken - whole > 1) {
    const middle = (whole + broken) >> 1;
    if (canGoOn(text.slice(0, middle))) whole = middle;
    else broken = middle;
  }
  return whole;
}

function canGoOn(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const position = /position (\d+)/.exec(String(error))?.[1];
    return position === undefined ? /Unexpected end/.test(String(error)) : Number(position) >= text.length;
  }
}

async function* linesOf(path: string, broken: (line: number) => Error): AsyncGenerator<string> {
  let rest = '';
  for await (const text of textOf(path, broken)) {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== '') yield rest;
}
