import type { Status } from './errors.ts';
import type { KubeObject } from './object.ts';

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly object: KubeObject }
  | { readonly type: 'ERROR'; readonly object: Status };

/** A watch sent something that is not an event: the stream cannot be trusted any more. */
export class BrokenWatch extends Error {
  override readonly name = 'BrokenWatch';
}

/** Cuts a byte stream into its lines. What follows the last line end is not a whole line and is dropped. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let parts: string[] = [];
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      parts.push(text.slice(from, to));
      yield parts.join('');
      parts = [];
      from = to + 1;
    }
    if (from < text.length) parts.push(text.slice(from));
  }
}

/** Reads the body of a watch. Throws BrokenWatch at the first line that is not an event. */
export async function* eventsOf<T>(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<WatchEvent<T>> {
  for await (const line of linesOf(chunks)) {
    if (line === '') continue;
    yield parseEvent<T>(line);
  }
}

function parseEvent<T>(line: string): WatchEvent<T> {
  let event: { type?: unknown; object?: unknown };
  try {
    event = JSON.parse(line);
  } catch (cause) {
    throw new BrokenWatch(`not JSON: ${line.slice(0, 80)}`, { cause });
  }
  const isObject = typeof event?.object === 'object' && event.object !== null;
  const isKnown = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR'].includes(event?.type as string);
  if (!isKnown || !isObject) throw new BrokenWatch(`not a watch event: ${line.slice(0, 80)}`);
  return event as WatchEvent<T>;
}
