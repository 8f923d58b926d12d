/** Places that a model's files are fetched from over HTTP. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { OnebyteError } from '../errors.ts';
import { type DownloadOptions, download, sha256File } from './download.ts';
import { addressOf } from './remote.ts';

export interface Origin {
  /** What messages call it. */
  readonly name: string;
  /**
   * Fetches one file, going on from what `target` already holds.
   * @param path below the model's folder; '': the model itself, where that is one file
   * @throws OnebyteError DOWNLOAD_FAILED, DOWNLOAD_TOO_LARGE, DIGEST_MISMATCH
   */
  fetch(path: string, target: string): Promise<void>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A folder, or a file, at an http(s):// or s3:// address. */
export function addressOrigin(uri: string, env: Environment, options: DownloadOptions = {}): Origin {
  const whole = uri.replace(/\/$/, '');
  return {
    name: new URL(uri).host,
    async fetch(path, target) {
      const from = path === '' ? whole : resolvePath(whole, path);
      await download(await addressOf(from, env), target, { ...options, name: from });
    },
  };
}

/** `../tokenizer.json` of `https://host/a/b`: what `new URL` makes of it, for schemes that it knows no paths of too. */
function resolvePath(whole: string, path: string): string {
  const parts = whole.split('/');
  let rest = path;
  for (; rest.startsWith('../'); rest = rest.slice(3)) parts.pop();
  return `${parts.join('/')}/${rest}`;
}

/** `hf://ORGANISATION/NAME[/FILE][@REVISION]`, or nothing. */
export function hubName(uri: string): { name: string; file: string; revision: string } | undefined {
  const found = /^hf:\/\/([^/@]+\/[^/@]+)(?:\/([^@]+))?(?:@(.+))?$/.exec(uri);
  return found ? { name: found[1]!, file: found[2] ?? '', revision: found[3] ?? 'main' } : undefined;
}

/**
 * A model hub of Hugging Face's layout: `ENDPOINT/ORGANISATION/NAME/resolve/REVISION/PATH`. Its answers say which commit
 * a file is of (`X-Repo-Commit`) and what digest the file has: the SHA-256 of large ones (`X-Linked-Etag`), the SHA-1 of
 * git for all others (`ETag`). Once the first has come, all are fetched from its commit: a branch may move meanwhile.
 */
export class HubOrigin implements Origin {
  readonly name: string;
  readonly #base: string;
  readonly #file: string;
  readonly #options: DownloadOptions;
  #revision: string;

  constructor(hub: NonNullable<ReturnType<typeof hubName>>, env: Environment, options: DownloadOptions = {}) {
    const endpoint = (env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/$/, '');
    this.name = new URL(endpoint).host;
    this.#base = `${endpoint}/${hub.name}/resolve/`;
    this.#file = hub.file;
    this.#revision = hub.revision;
    const headers = env.HF_TOKEN ? { authorization: `Bearer ${env.HF_TOKEN}` } : {};
    this.#options = { ...options, headers };
  }

  async fetch(path: string, target: string): Promise<void> {
    const at = path === '' ? this.#file : resolvePath(this.#file, path).replace(/^\//, '');
    const url = `${this.#base}${encodeURIComponent(this.#revision)}/${at}`;
    const said: { commit?: string | null; etag?: string | null; linked?: string | null } = {};
    // The hub's own answer comes first; it may lead on to another host, which knows nothing of commits.
    const onAnswer = (headers: Headers) => {
      said.commit ??= headers.get('x-repo-commit');
      if (headers.has('x-repo-commit')) said.etag ??= headers.get('etag');
      said.linked ??= headers.get('x-linked-etag');
    };
    await download(url, target, { ...this.#options, name: url, onAnswer });
    if (/^[0-9a-f]{40}$/.test(said.commit ?? '')) this.#revision = said.commit!;
    const expected = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(said.linked ?? said.etag ?? '')?.[1];
    if (expected !== undefined) await requireHubDigest(target, expected, `${at} from ${this.name}`);
  }
}

async function requireHubDigest(path: string, expected: string, what: string): Promise<void> {
  const found = expected.length === 64 ? [await sha256File(path)] : await sha1s(path);
  if (found.includes(expected)) return;
  await rm(path, { force: true });
  throw new OnebyteError('DIGEST_MISMATCH', `${what} has the digest ${found[0]}, not ${expected}`, {
    field: what,
    remedy: 'what came is not what the hub has: try again, or look at what lies between',
  });
}

/** SHA-1 as git counts it, over a header and the file; and of the file alone, as mirrors of hubs do. */
async function sha1s(path: string): Promise<string[]> {
  const git = createHash('sha1').update(`blob ${(await stat(path)).size}\0`);
  const plain = createHash('sha1');
  for await (const chunk of createReadStream(path)) {
    git.update(chunk);
    plain.update(chunk);
  }
  return [git.digest('hex'), plain.digest('hex')];
}
