import { headers, type NatsConnection } from '@nats-io/transport-node';
import type { Digest } from '../journal/record.ts';
import {
  matching,
  newestFirst,
  type PackIndex,
  parseIndex,
  parsePackIndex,
  type SnapshotIndex,
  type Store,
  sha256,
} from '../store/store.ts';
import { API_CODES, Api, ApiError, type ApiOptions, parse } from './api.ts';
import { isDenied } from './failure.ts';
import { HEADERS, type JobNames } from './names.ts';

/**
 * Bytes of a piece, at least and at most, if the server takes messages that large, and how many there are to be of one
 * thing in between. Each costs some 300 bytes more; on a line of 64 kbit/s 8 KiB take a second.
 */
const SMALLEST = 1 << 13;
const LARGEST = 1 << 16;
const PIECES = 16;
/** A pack is one message. */
const LARGEST_PACK = 1 << 19;
/** Room for a message's headers. */
const HEADERS_SIZE = 512;
/** Pieces on their way at once, where a piece does not take long. */
const WINDOW = 4;
/** Milliseconds for the first piece after which they come one by one: a member's probes go over the same line. */
const SLOW = 250;
/** Smallest message that says how fast the line is. */
const TELLING = 1 << 12;
/** Milliseconds that a snapshot may keep a member's line busy; newcomers have the log. */
const LONGEST_SNAPSHOT = 60_000;
/** Milliseconds that a slow line may need. */
const PATIENCE = { timeoutMs: 120_000, tryMs: 60_000 };
/** Most pieces that a reader asks for: whoever may write here may write any number of tiny ones. */
const MAX_PIECES = 1 << 16;
/** Of snapshots. */
const PLACES = [0, 1];

/**
 * A run's snapshots and artifacts on NATS, in a stream that keeps one message per subject: a piece of an artifact, or of
 * a snapshot in one of two places that are written in turn, so that it never grows. `createStream` makes it.
 */
export class NatsStore implements Store {
  readonly #api: Api;
  readonly #names: JobNames;
  /** Milliseconds that a byte took on its way to the server; 0: nothing is known. */
  #perByte = 0;

  constructor(connection: NatsConnection, names: JobNames, options: ApiOptions = {}) {
    this.#api = new Api(connection, { ...PATIENCE, ...options });
    this.#names = names;
  }

  /** Null where the job has none, or the credentials leave it out. @throws LogUnavailable */
  static async find(
    connection: NatsConnection,
    names: JobNames,
    options: ApiOptions = {},
  ): Promise<NatsStore | null> {
    try {
      await new Api(connection, options).call(`STREAM.INFO.${names.storeStream}`);
      return new NatsStore(connection, names, options);
    } catch (error) {
      const none = error instanceof ApiError && error.code === API_CODES.streamMissing;
      if (none || isDenied(error)) return null;
      throw error;
    }
  }

  async putSnapshot(index: SnapshotIndex, bytes: Uint8Array): Promise<string | null> {
    const place = `snapshot.${await this.#placeFor(index)}`;
    if (!(await this.#putPieces(place, index.digest, bytes, LONGEST_SNAPSHOT))) return null;
    const text = new TextEncoder().encode(JSON.stringify(index));
    if (!(await this.#put(`${place}.index`, `${index.digest}.index`, text))) return null;
    return `${this.#names.storeStream}/${place}/${index.digest}`;
  }

  async snapshots(): Promise<SnapshotIndex[]> {
    return newestFirst(await this.#indexes());
  }

  async getSnapshot({ digest, bytes }: SnapshotIndex): Promise<Uint8Array | null> {
    const indexes = await this.#indexes();
    // Another place may bear the same name and hold something else.
    for (const place of PLACES.filter((one) => indexes[one]?.digest === digest)) {
      const found = matching(await this.#getPieces(`snapshot.${place}`, bytes), digest);
      if (found !== null) return found;
    }
    return null;
  }

  async putArtifact(digest: Digest, bytes: Uint8Array): Promise<boolean> {
    if ((await this.getArtifact(digest)) !== null) return true;
    const size = new TextEncoder().encode(`${bytes.length}`);
    const place = `artifact.${digest}`;
    return (
      (await this.#putPieces(place, digest, bytes)) && this.#put(`${place}.size`, `${digest}.size`, size)
    );
  }

  async getArtifact(digest: Digest): Promise<Uint8Array | null> {
    const size = await this.#get(`artifact.${digest}.size`);
    if (size === null) return null;
    return matching(
      await this.#getPieces(`artifact.${digest}`, Number(new TextDecoder().decode(size))),
      digest,
    );
  }

  /** Large ones are left out: their entries cost no more alone. */
  async putPack(index: PackIndex, bytes: Uint8Array): Promise<boolean> {
    const place = `pack.${index.level}`;
    const id = `${place}.${sha256(bytes).slice(0, 16)}`;
    if (bytes.length > Math.min(LARGEST_PACK, this.#room) || !(await this.#put(place, id, bytes)))
      return false;
    return this.#put(`${place}.index`, `${id}.index`, new TextEncoder().encode(JSON.stringify(index)));
  }

  async packs(levels: number): Promise<PackIndex[]> {
    const read = async (_: unknown, level: number) => {
      const text = await this.#get(`pack.${level}.index`);
      return text === null ? null : parsePackIndex(level, new TextDecoder().decode(text));
    };
    return (await Promise.all(Array.from({ length: levels }, read))).filter((index) => index !== null);
  }

  getPack(level: number): Promise<Uint8Array | null> {
    return this.#get(`pack.${level}`);
  }

  /** Bytes that fit a message. */
  get #room(): number {
    return (this.#api.connection.info?.max_payload ?? 1 << 20) - HEADERS_SIZE;
  }

  /** The place of the older of the two snapshots there are, or of one that claims to be newer than the run is. */
  async #placeFor({ digest, seq }: SnapshotIndex): Promise<number> {
    const indexes = await this.#indexes();
    const own = indexes.findIndex((index) => index?.digest === digest);
    if (own >= 0) return own;
    // Such a claim is a lie, or of a log that was cut since: neither is to keep its place for ever.
    const rank = (index: SnapshotIndex | null) => (index === null ? -2 : index.seq > seq ? -1 : index.seq);
    const [first, second] = indexes.map(rank) as [number, number];
    // Where both are newer this one is late, and the older of them goes.
    return first === second
      ? Number((indexes[0]?.seq ?? 0) > (indexes[1]?.seq ?? 0))
      : Number(first > second);
  }

  /** By place. */
  #indexes(): Promise<(SnapshotIndex | null)[]> {
    const read = async (place: number) => {
      const bytes = await this.#get(`snapshot.${place}.index`);
      return bytes === null ? null : parseIndex(new TextDecoder().decode(bytes));
    };
    return Promise.all(PLACES.map(read));
  }

  /** @param patience milliseconds; gives up where the line is known to take longer, or the first piece shows it */
  async #putPieces(
    place: string,
    digest: Digest,
    bytes: Uint8Array,
    patience = Number.POSITIVE_INFINITY,
  ): Promise<boolean> {
    const even = Math.max(SMALLEST, Math.ceil(bytes.length / PIECES));
    const size = Math.min(this.#room, LARGEST, even);
    const count = Math.max(1, Math.ceil(bytes.length / size));
    if (this.#perByte * bytes.length > patience) {
      // It may be another line some day.
      this.#perByte /= 2;
      return false;
    }
    let fits = true;
    const put = async (i: number) => {
      const piece = bytes.slice(i * size, (i + 1) * size);
      fits &&= await this.#put(`${place}.${i}`, `${digest}.${i}`, piece);
    };
    const began = performance.now();
    await put(0);
    const took = performance.now() - began;
    const window = took > SLOW ? 1 : WINDOW;
    if (!fits || (took * count) / window > patience) return false;
    await inTurn(count - 1, window, (k) => put(k + 1));
    return fits;
  }

  /** Null where they are not all there. Room is made for what is there, not for what somebody says that there is. */
  async #getPieces(place: string, length: number): Promise<Uint8Array | null> {
    if (!Number.isSafeInteger(length) || length < 0) return null;
    const first = await this.#get(`${place}.0`);
    if (first === null || first.length > length || (first.length === 0 && length > 0)) return null;
    const count = length === 0 ? 1 : Math.ceil(length / first.length);
    if (count > MAX_PIECES) return null;
    const pieces = [first];
    let whole = true;
    await inTurn(count - 1, WINDOW, async (k) => {
      const piece = whole ? await this.#get(`${place}.${k + 1}`) : null;
      const due = Math.min(first.length, length - (k + 1) * first.length);
      if (piece?.length !== due) whole = false;
      else pieces[k + 1] = piece;
    });
    if (!whole) return null;
    const bytes = new Uint8Array(length);
    for (const [i, piece] of pieces.entries()) bytes.set(piece, i * first.length);
    return bytes;
  }

  /** @returns false where the store is full or there is none @throws LogUnavailable; OnebyteError NATS_DENIED */
  async #put(name: string, id: string, data: Uint8Array): Promise<boolean> {
    const began = performance.now();
    const until = began + this.#api.timeoutMs;
    const answer = await this.#api.send(`${this.#names.store}.${name}`, data, until, () => {
      const made = headers();
      made.set(HEADERS.id, id);
      return made;
    });
    if (data.length >= TELLING) this.#perByte = (performance.now() - began) / data.length;
    try {
      parse(answer);
      return true;
    } catch (error) {
      if (error instanceof ApiError) return false;
      throw error;
    }
  }

  async #get(name: string): Promise<Uint8Array | null> {
    const { storeStream, store } = this.#names;
    const query = new TextEncoder().encode(JSON.stringify({ last_by_subj: `${store}.${name}` }));
    const until = performance.now() + this.#api.timeoutMs;
    const answer = await this.#api.send(this.#api.subject(`DIRECT.GET.${storeStream}`), query, until);
    return (answer.headers?.code ?? 0) === 0 ? new Uint8Array(answer.data) : null;
  }
}

/** Calls for 0 to count - 1, `window` at a time. */
async function inTurn(count: number, window: number, call: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < count; i = next++) await call(i);
  };
  await Promise.all(Array.from({ length: Math.min(window, count) }, lane));
}
