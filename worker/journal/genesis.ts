import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { OnebyteError } from '../errors.ts';
import { ByteReader, ByteWriter } from './bytes.ts';
import type { ArtifactReference, GenesisRecord, TensorRecord } from './record.ts';

/** Most bytes of a genesis's description, before compression: the one place where reading expands its input. */
const MAX_DESCRIPTION = 1 << 20;

/** Time, three digests, then the description (uid, job, tensors, artifacts), deflated where that is smaller. */
export function encodeGenesis(writer: ByteWriter, record: GenesisRecord): void {
  writer.varint(record.at, 'at');
  writer.hex(record.base, 32, 'base').hex(record.tokenizer, 32, 'tokenizer').hex(record.state, 32, 'state');
  const plain = describe(record);
  if (plain.length > MAX_DESCRIPTION)
    throw new OnebyteError(
      'RECORD_INVALID',
      `a genesis of ${plain.length} bytes, at most ${MAX_DESCRIPTION} are allowed`,
    );
  const packed = new Uint8Array(deflateRawSync(plain, { level: 9 }));
  const deflate = packed.length < plain.length;
  const stored = deflate ? packed : plain;
  writer
    .varint(deflate ? plain.length : 0, 'description')
    .varint(stored.length, 'description')
    .raw(stored);
}

export function decodeGenesis(reader: ByteReader): GenesisRecord {
  const at = reader.varint('at');
  const digests = { base: reader.hex(32), tokenizer: reader.hex(32), state: reader.hex(32) };
  const length = reader.varint('description', MAX_DESCRIPTION);
  const stored = reader.raw(reader.count('description', 1));
  const plain = length === 0 ? stored : inflate(stored, length);
  if (plain.length > MAX_DESCRIPTION)
    throw new OnebyteError('RECORD_INVALID', 'not a record: the description is too long');
  const description = new ByteReader(plain);
  const uid = description.text('uid');
  const job = description.text('job', MAX_DESCRIPTION);
  const tensors = list(description, 3, readTensor);
  const artifacts = list(description, 34, readArtifact);
  description.end();
  return { kind: 'genesis', uid, at, job, ...digests, tensors, artifacts };
}

function describe(record: GenesisRecord): Uint8Array {
  const writer = new ByteWriter().text(record.uid, 'uid').text(record.job, 'job', MAX_DESCRIPTION);
  writer.varint(record.tensors.length, 'tensors');
  for (const tensor of record.tensors) {
    writer.text(tensor.name, 'tensor name').signed(tensor.exponent, 'exponent');
    writer.varint(tensor.shape.length, 'shape');
    for (const size of tensor.shape) writer.varint(size, 'shape');
  }
  writer.varint(record.artifacts.length, 'artifacts');
  for (const artifact of record.artifacts) {
    writer.text(artifact.name, 'artifact name').hex(artifact.digest, 32, 'artifact digest');
    writer.varint(artifact.bytes, 'artifact bytes');
  }
  return writer.finish();
}

function readTensor(reader: ByteReader): TensorRecord {
  const name = reader.text('tensor name');
  const exponent = reader.signed('exponent');
  return { name, shape: list(reader, 1, (r) => r.varint('shape')), exponent };
}

function readArtifact(reader: ByteReader): ArtifactReference {
  return {
    name: reader.text('artifact name'),
    digest: reader.hex(32),
    bytes: reader.varint('artifact bytes'),
  };
}

function list<T>(reader: ByteReader, itemBytes: number, read: (reader: ByteReader) => T): T[] {
  return Array.from({ length: reader.count('list', itemBytes) }, () => read(reader));
}

function inflate(stored: Uint8Array, length: number): Uint8Array {
  let plain: Uint8Array;
  try {
    const { buffer, engine } = inflateRawSync(stored, { maxOutputLength: length, info: true }) as unknown as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    if (engine.bytesWritten !== stored.length) throw new Error('bytes follow the compressed data');
    plain = new Uint8Array(buffer);
  } catch (cause) {
    throw new OnebyteError('RECORD_INVALID', 'not a record: the description cannot be inflated', { cause });
  }
  if (plain.length !== length || stored.length >= length)
    throw new OnebyteError('RECORD_INVALID', 'not a record: the description has another length');
  return plain;
}
