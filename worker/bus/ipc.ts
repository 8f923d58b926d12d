import { type Channel, counted, type Traffic } from '../log/channel.ts';
import type { Bus } from './bus.ts';

const PLANE = 'bus';

type Message =
  | { readonly plane: typeof PLANE; readonly type: 'hello'; readonly self: string }
  | { readonly plane: typeof PLANE; readonly type: 'send'; readonly to: string; readonly data: Uint8Array }
  | { readonly plane: typeof PLANE; readonly type: 'broadcast'; readonly data: Uint8Array }
  | { readonly plane: typeof PLANE; readonly type: 'bye' }
  | {
      readonly plane: typeof PLANE;
      readonly type: 'deliver';
      readonly from: string;
      readonly data: Uint8Array;
    };

type Deliver = (from: string, data: Uint8Array) => void;

/** The hub of a bus in the parent process: passes messages between the ends that said hello. */
export class BusHub {
  readonly #ends = new Map<string, Deliver>();

  /** Lets the process or thread at the other end of the channel take part. */
  attach(channel: Channel): { readonly traffic: Traffic } {
    const counting = counted(channel, belongs);
    let self: string | null = null;
    const deliver: Deliver = (from, data) =>
      counting.post({ plane: PLANE, type: 'deliver', from, data } satisfies Message);
    const leave = () => {
      if (self !== null && this.#ends.get(self) === deliver) this.#ends.delete(self);
      self = null;
    };
    counting.onMessage((raw) => {
      if (!belongs(raw)) return;
      const message = raw as Message;
      if (message.type === 'hello') {
        leave();
        self = message.self;
        this.#ends.set(self, deliver);
      } else if (message.type === 'bye') leave();
      else if (self !== null && message.type === 'send') this.#send(self, message.to, message.data);
      else if (self !== null && message.type === 'broadcast') this.#broadcast(self, message.data);
    });
    counting.onClose(leave);
    return { traffic: counting.traffic };
  }

  /** An end in this process. Messages to it arrive in a later turn of the loop, as they do elsewhere. */
  local(self: string): Bus {
    let handler: Deliver = () => {};
    let open = true;
    const deliver: Deliver = (from, data) =>
      setImmediate(() => {
        if (open) handler(from, data);
      });
    this.#ends.set(self, deliver);
    return {
      self,
      send: (to, data) => {
        if (open) this.#send(self, to, data.slice());
      },
      broadcast: (data) => {
        if (open) this.#broadcast(self, data.slice());
      },
      onMessage: (receive) => {
        handler = receive;
      },
      close: async () => {
        open = false;
        if (this.#ends.get(self) === deliver) this.#ends.delete(self);
      },
    };
  }

  #send(from: string, to: string, data: Uint8Array): void {
    this.#ends.get(to)?.(from, data);
  }

  #broadcast(from: string, data: Uint8Array): void {
    for (const [to, deliver] of this.#ends) if (to !== from) deliver(from, data);
  }
}

/** An end of the bus in a process or thread whose parent attached it to its hub. */
export class IpcBus implements Bus {
  readonly self: string;
  readonly #channel: Channel;
  #handler: Deliver = () => {};
  #open = true;

  constructor(channel: Channel, self: string) {
    this.self = self;
    this.#channel = channel;
    channel.onMessage((raw) => {
      if (!this.#open || !belongs(raw)) return;
      const message = raw as Message;
      if (message.type === 'deliver') this.#handler(message.from, message.data);
    });
    this.#post({ plane: PLANE, type: 'hello', self });
  }

  send(to: string, data: Uint8Array): void {
    this.#post({ plane: PLANE, type: 'send', to, data });
  }

  broadcast(data: Uint8Array): void {
    this.#post({ plane: PLANE, type: 'broadcast', data });
  }

  onMessage(handler: Deliver): void {
    this.#handler = handler;
  }

  async close(): Promise<void> {
    this.#post({ plane: PLANE, type: 'bye' });
    this.#open = false;
  }

  #post(message: Message): void {
    if (this.#open) this.#channel.post(message);
  }
}

function belongs(message: unknown): boolean {
  return typeof message === 'object' && message !== null && (message as { plane?: unknown }).plane === PLANE;
}
