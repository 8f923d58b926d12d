import { createReadStream } from 'node:fs';

/** Begins a file of UTF-16 in the order of bytes that spreadsheets write. */
const UTF16 = Buffer.of(0xff, 0xfe);

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
      const before = new TextDecoder().decode(bytes).split('\ufffd', 1)[0]!;
      throw broken(line + linesIn(before));
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

function linesIn(text: string): number {
  return text.split('\n').length - 1;
}
