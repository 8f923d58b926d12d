import { OnebyteError } from '../errors.ts';
import { type Basis, MAX_EXPONENT, MIN_EXPONENT, type SiteBasis } from './basis.ts';

/**
 * The basis artifact. Little endian, no padding:
 *
 *     "1BBS" | version u8 = 1 | sites u16 | per site, sorted by name (bytes):
 *       name length u8 | name (ASCII) | width u32 | rows u32 | exponent int8 | values int8[rows * width]
 */
const MAGIC = '1BBS';
const VERSION = 1;
/** No model is wider, and no file with more rows than a site is wide can be a basis. */
const MAX_WIDTH = 1 << 20;

export function encodeBasis(basis: Basis): Uint8Array {
  const sites = [...basis].sort(([a], [b]) => (a < b ? -1 : 1));
  const size = sites.reduce((sum, [name, s]) => sum + 1 + name.length + 9 + s.values.length, 7);
  const bytes = Buffer.alloc(size);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt8(VERSION, 4);
  bytes.writeUInt16LE(sites.length, 5);
  let at = 7;
  for (const [name, site] of sites) {
    at = bytes.writeUInt8(name.length, at);
    at += bytes.write(name, at, 'latin1');
    at = bytes.writeUInt32LE(site.width, at);
    at = bytes.writeUInt32LE(site.rows, at);
    at = bytes.writeInt8(site.exponent, at);
    bytes.set(new Uint8Array(site.values.buffer, site.values.byteOffset, site.values.length), at);
    at += site.values.length;
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @throws OnebyteError BASIS_INVALID for anything that `encodeBasis` would not have written. */
export function decodeBasis(file: Uint8Array): Basis {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  const take = (count: number): number => {
    if (count > bytes.length - at) throw invalid(`it ends within byte ${at + 1} to ${at + count}`);
    at += count;
    return at - count;
  };
  if (bytes.toString('latin1', 0, take(4) + 4) !== MAGIC) throw invalid('it does not start as one');
  const version = bytes.readUInt8(take(1));
  if (version !== VERSION) throw invalid(`its version is ${version}, this program reads ${VERSION}`);
  const count = bytes.readUInt16LE(take(2));
  const basis = new Map<string, SiteBasis>();
  let last = '';
  for (let i = 0; i < count; i++) {
    const length = bytes.readUInt8(take(1));
    const name = bytes.toString('latin1', take(length), at);
    if (!/^[\x21-\x7e]+$/.test(name) || name <= last)
      throw invalid(`site ${i + 1} has no valid name, or is out of order`);
    last = name;
    const width = bytes.readUInt32LE(take(4));
    const rows = bytes.readUInt32LE(take(4));
    if (width < 1 || width > MAX_WIDTH || rows > width)
      throw invalid(`site ${name} has ${rows} rows of ${width}`);
    const exponent = bytes.readInt8(take(1));
    if (exponent < MIN_EXPONENT || exponent > MAX_EXPONENT)
      throw invalid(`site ${name} has a scale of 2 ** ${exponent}`);
    const values = Int8Array.from(
      new Int8Array(bytes.buffer, bytes.byteOffset + take(rows * width), rows * width),
    );
    if (values.includes(-128)) throw invalid(`site ${name} has a number outside -127 to 127`);
    basis.set(name, { width, rows, values, exponent });
  }
  if (at !== bytes.length) throw invalid(`${bytes.length - at} bytes follow its end`);
  return basis;
}

function invalid(why: string): OnebyteError {
  return new OnebyteError('BASIS_INVALID', `the basis artifact cannot be used: ${why}`, {
    field: 'method.plan.scope.basis',
    remedy: 'fetch it again; its SHA-256 is in the genesis record',
  });
}
