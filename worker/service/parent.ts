/** What a worker tells the program that started it, over the channel to it. */
import type { EngineFacts } from '../engine/engine.ts';
import type { Failure } from '../engine/protocol.ts';
import type { SocketBytes } from '../nats/link.ts';

export type ToParent =
  | { readonly plane: 'service'; readonly type: 'opened'; readonly facts: EngineFacts }
  /** Bytes on its socket so far. */
  | { readonly plane: 'service'; readonly type: 'bytes'; readonly bytes: SocketBytes }
  /** It ends as it should. */
  | { readonly plane: 'service'; readonly type: 'done' }
  | { readonly plane: 'service'; readonly type: 'failed'; readonly failure: Failure };

export function isToParent(message: unknown): message is ToParent {
  return (message as { plane?: unknown } | null)?.plane === 'service';
}

/** Tells the parent, where there is one; resolves once it is on its way. */
export function tellParent(message: ToParent): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}
