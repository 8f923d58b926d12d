import type { SimulatedNetwork } from '../log/simulated-network.ts';
import type { Bus } from './bus.ts';

/** A bus in virtual time over the links of a simulated network. */
export class SimulatedBus {
  readonly #network: SimulatedNetwork;
  readonly #ends = new Map<string, SimulatedBusEnd>();

  constructor(network: SimulatedNetwork) {
    this.#network = network;
  }

  /** An end that sends and receives as `id`, at the network's node `node`; it takes the place of an earlier one. */
  join(id: string, node = id): Bus {
    const end = new SimulatedBusEnd(this, id, node);
    this.#ends.set(id, end);
    return end;
  }

  /** @internal */
  get members(): readonly string[] {
    return [...this.#ends.keys()];
  }

  /** @internal Whoever listens as `to` when the message arrives gets it. */
  carry(from: SimulatedBusEnd, to: string, data: Uint8Array): void {
    const target = this.#ends.get(to);
    if (target === undefined) return;
    this.#network.deliver(from.node, target.node, () => this.#ends.get(to)?.receive(from.self, data));
  }

  /** @internal */
  leave(end: SimulatedBusEnd): void {
    if (this.#ends.get(end.self) === end) this.#ends.delete(end.self);
  }
}

class SimulatedBusEnd implements Bus {
  readonly self: string;
  readonly node: string;
  readonly #bus: SimulatedBus;
  #handler: (from: string, data: Uint8Array) => void = () => {};
  #open = true;

  constructor(bus: SimulatedBus, self: string, node: string) {
    this.#bus = bus;
    this.self = self;
    this.node = node;
  }

  send(to: string, data: Uint8Array): void {
    if (this.#open) this.#bus.carry(this, to, data.slice());
  }

  broadcast(data: Uint8Array): void {
    for (const to of this.#bus.members) if (to !== this.self) this.send(to, data);
  }

  onMessage(handler: (from: string, data: Uint8Array) => void): void {
    this.#handler = handler;
  }

  receive(from: string, data: Uint8Array): void {
    if (this.#open) this.#handler(from, data);
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#bus.leave(this);
  }
}
