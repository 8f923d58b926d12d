import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OnebyteError } from '../errors.ts';

/** The path that a URI names on this machine; a relative one begins at `folder`. */
export function localPath(uri: string, folder: string, field: string): string {
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(uri)?.[1]?.toLowerCase();
  if (scheme === 'file') return fileURLToPath(uri);
  if (scheme === undefined) return resolve(folder, uri);
  throw new OnebyteError('URI_UNSUPPORTED', `${uri}: ${scheme}:// cannot be read`, {
    field,
    remedy: 'use https:// or s3://, or mount the data and name the path',
  });
}
