import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import { makeFolder } from '../folder.ts';
import type { ArtifactReference } from '../journal/record.ts';
import { writeWhole } from '../whole-file.ts';

/** Reads an artifact from the first folder that has it, by its digest. @throws OnebyteError ARTIFACT_MISSING, DIGEST_MISMATCH */
export async function readArtifact(
  artifact: ArtifactReference,
  folders: readonly string[],
): Promise<Uint8Array> {
  const path = folders
    .map((folder) => join(folder, artifact.digest))
    .find((candidate) => existsSync(candidate));
  if (path === undefined) {
    throw new OnebyteError(
      'ARTIFACT_MISSING',
      `the run's ${artifact.name} ${artifact.digest} is in none of: ${folders.join(', ')}`,
      {
        field: artifact.name,
        remedy: "copy it from the run's folder, artifacts/, to one of these",
      },
    );
  }
  const bytes = await readFile(path);
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== artifact.digest)
    throw new OnebyteError('DIGEST_MISMATCH', `${path} has the digest ${found}`, {
      field: artifact.name,
      remedy: "remove it, and copy it anew from the run's folder, artifacts/",
    });
  return bytes;
}

/** Puts an artifact into a folder under its digest, whole or not at all. */
export async function writeArtifact(bytes: Uint8Array, folder: string): Promise<string> {
  const digest = createHash('sha256').update(bytes).digest('hex');
  await makeFolder(folder);
  await writeWhole(join(folder, digest), bytes);
  return digest;
}
