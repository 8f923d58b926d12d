import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';

/** Begins a file of UTF-16 in the order of bytes that spreadsheets write. */
const UTF16 = Buffer.of(0xff, 0xfe);
const LINE_FEED = 10;

/**
 * A file's text, a piece at a time, without a byte order mark.
 * @param broken what is thrown where it is neither UTF-8 nor, by its mark, UTF-16; it is given the line, from 1
 */
export async function* textOf(path: string, broken: (line: number) => Error): AsyncGenerator<string> {
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  let line = 1;
  const decode = (bytes?: Buffer): string => {
    try {
      return decoder!.decode(bytes, { stream: bytes !== undefined });
    } catch {
      throw broken(line + linesBefore(bytes ?? Buffer.of()));
    }
  };
  for await (const bytes of createReadStream(path) as AsyncIterable<Buffer>) {
    decoder ??= new TextDecoder(bytes.subarray(0, 2).equals(UTF16) ? 'utf-16le' : 'utf-8', { fatal: true });
    const text = decode(bytes);
    line += linesIn(text);
    yield text;
  }
  if (decoder !== undefined) yield decode();
}

/** Whole lines before the first that is not UTF-8; the first byte may be within a character. */
function linesBefore(bytes: Buffer): number {
  let lines = 0;
  let from = bytes.findIndex((byte) => byte >> 6 !== 0b10);
  for (let to = bytes.indexOf(LINE_FEED, from); to >= 0; to = bytes.indexOf(LINE_FEED, from)) {
    if (!isUtf8(bytes.subarray(from, to))) return lines;
    lines++;
    from = to + 1;
  }
  return lines;
}

function linesIn(text: string): number {
  return text.split('\n').length - 1;
}
