import { closeSync, openSync } from 'node:fs';
import { type PackedRows, type Scales, unpackRows } from './packed.ts';
import { type Place, readWhole } from './stored.ts';
import type { Blocks } from './stored-graph.ts';

/** Rows of a matrix in blocks, read from its open file as they are asked for. */
export class BlockRows {
  readonly rows: number;
  readonly width: number;
  readonly stored: Blocks;
  readonly #files = new Map<string, number>();
  /** Memory of the last rows that were read. */
  #room: PackedRows;
  #held = 1;

  constructor(dims: readonly number[], stored: Blocks) {
    [this.rows, this.width] = dims as [number, number];
    this.stored = stored;
    this.#room = this.#memory(1);
  }

  /** Some rows as they are in the file; good until the next call. */
  packed(from: number, to: number): PackedRows {
    const { codes, scales, least } = this.stored;
    const count = to - from;
    if (this.#held < count) {
      this.#room = this.#memory(count);
      this.#held = count;
    }
    const some = (numbers: Scales): Scales => numbers.subarray(0, (count * numbers.length) / this.#held);
    const room: PackedRows = {
      codes: this.#room.codes.subarray(0, (count * this.#room.codes.length) / this.#held),
      scales: some(this.#room.scales),
      least: this.#room.least && some(this.#room.least),
    };
    this.#read(codes, from, room.codes);
    this.#read(scales, from, room.scales);
    if (least !== undefined) this.#read(least, from, room.least!);
    return room;
  }

  /** Some rows widened, in the order of `ids`: [ids, width]. */
  gather(ids: Int32Array): Float32Array {
    const out = new Float32Array(ids.length * this.width);
    const known = new Map<number, number>();
    ids.forEach((id, i) => {
      const row = out.subarray(i * this.width, (i + 1) * this.width);
      const first = known.get(id);
      if (first === undefined) {
        unpackRows(this.stored.form, this.packed(id, id + 1), row);
        known.set(id, i);
      } else row.set(out.subarray(first * this.width, (first + 1) * this.width));
    });
    return out;
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file);
    this.#files.clear();
  }

  #memory(rows: number): PackedRows {
    const { form, least } = this.stored;
    const weights = rows * this.width;
    const numbers = () => new (form.scales === 'F16' ? Float16Array : Float32Array)(weights / form.size);
    return {
      codes: new Uint8Array((weights * form.bits) / 8),
      scales: numbers(),
      least: least && numbers(),
    };
  }

  #read({ path, offset, bytes }: Place, from: number, into: ArrayBufferView): void {
    const file = this.#files.get(path) ?? openSync(path, 'r');
    this.#files.set(path, file);
    const at = offset + from * (bytes / this.rows);
    readWhole(file, path, at, new Uint8Array(into.buffer, into.byteOffset, into.byteLength));
  }
}
