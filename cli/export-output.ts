import { join, resolve } from 'node:path';
import { localPath } from '../worker/data/local-path.ts';
import { putObject, s3Settings } from '../worker/data/s3.ts';
import { type Files, writeFiles } from '../worker/model/export.ts';

/** Where the model of a run goes. */
export interface Output {
  /** Writes files below a folder of the output, each whole or not at all. */
  write(folder: string, files: Files): Promise<void>;
  /** What people call the place. */
  readonly name: string;
}

/**
 * @param uri `spec.output.uri`
 * @param folder that relative paths begin at
 * @throws OnebyteError URI_UNSUPPORTED, WORKER_CONFIG_INVALID
 */
export function openOutput(
  uri: string,
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): Output {
  if (uri.startsWith('s3://')) {
    const settings = s3Settings(env);
    const name = uri.replace(/\/+$/, '');
    return {
      name,
      write: async (below, files) => {
        const place = below === '' ? name : `${name}/${below}`;
        for (const [file, bytes] of files) await putObject(settings, `${place}/${file}`, bytes);
      },
    };
  }
  const name = resolve(localPath(uri, folder, 'spec.output.uri'));
  return { name, write: (below, files) => writeFiles(join(name, below), files) };
}
