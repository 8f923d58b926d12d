import { createHash } from 'node:crypto';
import type { Replica } from '../../worker/replica/replica.ts';
import type { ProbeRequest } from '../../worker/round/engine-port.ts';

/** Sees what all replicas of a simulation do, and says at once where two of them part. */
export class Witness {
  failure: string | null = null;
  /** By chain value: the state that belongs to it. */
  readonly #states = new Map<string, string>();
  /** By round chain, slot and owner: the bytes it measured. */
  readonly #measured = new Map<string, string[]>();
  /** By hash of an entry: who asked for it to be appended. */
  readonly #authors = new Map<string, string>();

  fail(why: string): void {
    this.failure ??= why;
  }

  reached(id: string, replica: Replica): void {
    const chain = hex(replica.ledger.chain);
    const state = stateOf(replica);
    const known = this.#states.get(chain);
    if (known === undefined) this.#states.set(chain, state);
    else if (known !== state)
      this.fail(
        `${id} has another state than others after record ${replica.records} (round ${replica.ledger.round})`,
      );
  }

  /** Null: no replica was there. */
  stateAt(chain: Uint8Array): string | null {
    return this.#states.get(hex(chain)) ?? null;
  }

  measured(id: string, { roundChain, slot }: ProbeRequest, bytes: Uint8Array): void {
    const key = `${hex(roundChain)}/${slot}/${id}`;
    this.#measured.set(key, [...(this.#measured.get(key) ?? []), hex(bytes)]);
  }

  hasMeasured(
    id: string,
    { roundChain, slot }: Pick<ProbeRequest, 'roundChain' | 'slot'>,
    bytes: Uint8Array,
  ): boolean {
    return this.#measured.get(`${hex(roundChain)}/${slot}/${id}`)?.includes(hex(bytes)) ?? false;
  }

  appends(id: string, data: Uint8Array): void {
    this.#authors.set(hash(data), id);
  }

  authorOf(data: Uint8Array): string | undefined {
    return this.#authors.get(hash(data));
  }
}

/** Every bit of a replica's state. */
export function stateOf(replica: Replica): string {
  const { store } = replica;
  return store.tensors
    .map((_, index) => {
      const view = store.view(index);
      return `${store.exponent(index)}:${Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('latin1')}`;
    })
    .join('|');
}

function hash(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('base64url');
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
