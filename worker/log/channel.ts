import type { ChildProcess } from 'node:child_process';
import { serialize } from 'node:v8';
import type { MessagePort } from 'node:worker_threads';

/** A two-way, ordered, reliable channel between two processes or threads that carries structured values. */
export interface Channel {
  post(message: unknown): void;
  onMessage(handler: (message: unknown) => void): void;
  /** Called once when the other end is gone. */
  onClose(handler: () => void): void;
}

/** The channel to a child that was forked with `serialization: 'advanced'`. */
export function childChannel(child: ChildProcess): Channel {
  return {
    // A child that is gone is news for onClose, not for whoever happens to send at that moment.
    post: (message) => void (child.connected && child.send(message as object, () => {})),
    onMessage: (handler) => void child.on('message', handler),
    onClose: (handler) =>
      void (child.connected ? child.once('disconnect', handler) : queueMicrotask(handler)),
  };
}

/** The channel to the parent of this process. */
export function parentChannel(): Channel {
  return {
    post: (message) => void (process.connected && process.send?.(message, undefined, {}, () => {})),
    onMessage: (handler) => void process.on('message', handler),
    onClose: (handler) =>
      void (process.connected ? process.once('disconnect', handler) : queueMicrotask(handler)),
  };
}

/** One end of a MessageChannel, for another thread of this process. */
export function portChannel(port: MessagePort): Channel {
  return {
    post: (message) => port.postMessage(message),
    onMessage: (handler) => void port.on('message', handler),
    onClose: (handler) => void port.once('close', handler),
  };
}

/** What went over a channel, seen from this end. `bytes` are those of the serialised messages. */
export interface Traffic {
  sent: { messages: number; bytes: number; payload: number };
  received: { messages: number; bytes: number; payload: number };
}

/** Length and type that Node writes before each message of a process channel. */
const MESSAGE_HEAD = 4;

/** The same channel with its traffic counted. `payload`: the bytes of a message's `data`, or of its events' data. */
export function counted(
  channel: Channel,
  belongs: (message: unknown) => boolean,
): Channel & { traffic: Traffic } {
  const traffic: Traffic = {
    sent: { messages: 0, bytes: 0, payload: 0 },
    received: { messages: 0, bytes: 0, payload: 0 },
  };
  const count = (side: Traffic['sent'], message: unknown) => {
    side.messages++;
    side.bytes += serialize(message).length + MESSAGE_HEAD;
    side.payload += payloadOf(message);
  };
  return {
    traffic,
    post: (message) => {
      count(traffic.sent, message);
      channel.post(message);
    },
    onMessage: (handler) =>
      channel.onMessage((message) => {
        if (belongs(message)) count(traffic.received, message);
        handler(message);
      }),
    onClose: (handler) => channel.onClose(handler),
  };
}

function payloadOf(message: unknown): number {
  const { data, items } = message as { data?: unknown; items?: unknown };
  if (data instanceof Uint8Array) return data.length;
  if (!Array.isArray(items)) return 0;
  return items.reduce((sum: number, item) => sum + (item.data?.length ?? 0), 0);
}
