import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { OnebyteError } from '../errors.ts';
import { ByteReader, ByteWriter } from '../journal/bytes.ts';

/** Entries of a log, one after the other, without what can be made again. */
export interface Pack {
  /** Sequence of the first. */
  readonly from: number;
  /** Bodies of their records. */
  readonly bodies: readonly Uint8Array[];
}

/** Version of this encoding, its first byte. */
const FORMAT = 1;
/** Most bytes of a pack before compression that a reader takes. */
const MAX_BYTES = 1 << 26;

/** Version, then compressed: sequence, count, and each body with its length. */
export function encodePack({ from, bodies }: Pack): Uint8Array {
  const writer = new ByteWriter().varint(from, 'sequence').varint(bodies.length, 'bodies');
  for (const body of bodies) writer.varint(body.length, 'length').raw(body);
  return Buffer.concat([Uint8Array.of(FORMAT), deflateRawSync(writer.finish())]);
}

/** Null for bytes that are no pack. That the entries are the log's is for the log to say. */
export function decodePack(bytes: Uint8Array): Pack | null {
  if (bytes[0] !== FORMAT) return null;
  try {
    const reader = new ByteReader(inflateRawSync(bytes.subarray(1), { maxOutputLength: MAX_BYTES }));
    const from = reader.varint('sequence');
    const bodies = Array.from({ length: reader.count('bodies', 1) }, () =>
      reader.raw(reader.count('length', 1)),
    );
    reader.end();
    return { from, bodies };
  } catch (error) {
    if (error instanceof OnebyteError || (error as { code?: string }).code !== undefined) return null;
    throw error;
  }
}
