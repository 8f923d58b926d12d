/** Downloads over HTTP that survive a broken connection: resumed by Range, bounded in size and in silence. */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { OnebyteError } from '../errors.ts';

export interface DownloadOptions {
  /** What messages call the address, where that holds a secret. */
  readonly name?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Refuse more bytes than this. */
  readonly maxBytes?: number;
  /** Milliseconds for an answer to begin. Short, so that another source gets its turn soon. */
  readonly answerWithin?: number;
  /** Milliseconds without a byte after which the connection counts as lost. */
  readonly silence?: number;
  /** Tries after the first one; only those that brought nothing new count. */
  readonly retries?: number;
  /** Milliseconds before the n-th of those tries. */
  readonly pause?: (n: number) => number;
  readonly signal?: AbortSignal;
  /** Told the headers of each answer, those that lead on to another address first. */
  readonly onAnswer?: (headers: Headers) => void;
}

const DEFAULTS = {
  headers: {},
  maxBytes: 2 ** 40,
  answerWithin: 4_000,
  silence: 30_000,
  retries: 3,
  pause: (n: number): number => 250 * 2 ** n,
};

/** Most addresses that an answer may lead on to, one after the other. */
const MOST_REDIRECTS = 10;
/** Statuses of what is not there; stores that list nothing say that it may not be read. */
const ABSENT: readonly number[] = [403, 404, 410];

/** An answer that no further try will change. */
class Refused extends Error {
  readonly status: number;

  constructor(text: string, status: number) {
    super(text);
    this.status = status;
  }
}
/** An answer that says to come again. */
class Busy extends Error {}

/**
 * Downloads `url` to `target`, going on from what `target` already holds.
 * @throws OnebyteError DOWNLOAD_FAILED, DOWNLOAD_TOO_LARGE
 */
export async function download(url: string, target: string, options: DownloadOptions = {}): Promise<void> {
  const settings = { ...DEFAULTS, ...options };
  const name = settings.name ?? url;
  let spoken = false;
  for (let failures = 0; ; ) {
    const before = await sizeOf(target);
    try {
      await attempt(url, target, before, settings, () => {
        spoken = true;
      });
      return;
    } catch (cause) {
      settings.signal?.throwIfAborted();
      if (cause instanceof OnebyteError) throw cause;
      const grown = (await sizeOf(target)) > before;
      spoken ||= cause instanceof Busy;
      if (grown) failures = 0;
      // Nobody there: no second try, another source may have the file.
      if (cause instanceof Refused || !spoken || failures >= settings.retries) {
        throw new OnebyteError('DOWNLOAD_FAILED', `${name}: ${reasonOf(cause)}`, {
          field: name,
          cause,
          remedy: 'check the address and the network',
        });
      }
      await wait(settings.pause(failures++), undefined, settings.signal ? { signal: settings.signal } : {});
    }
  }
}

/** Whether a download failed because there is no such file. */
export function isAbsent(error: unknown): boolean {
  const cause = error instanceof OnebyteError ? error.cause : undefined;
  return cause instanceof Refused && ABSENT.includes(cause.status);
}

type Settings = typeof DEFAULTS & DownloadOptions;

async function attempt(
  url: string,
  target: string,
  have: number,
  settings: Settings,
  answered: () => void,
): Promise<void> {
  const abort = new AbortController();
  const stop = (): void => abort.abort(settings.signal?.reason);
  settings.signal?.addEventListener('abort', stop, { once: true });
  let timer = setTimeout(
    () => abort.abort(new Error(`no answer in ${settings.answerWithin} ms`)),
    settings.answerWithin,
  );
  try {
    const headers = { ...settings.headers, 'accept-encoding': 'identity', ...range(have) };
    const response = await follow(url, { headers, signal: abort.signal }, settings.onAnswer);
    const resumed = response.status === 206 && rangeStart(response) === have;
    // The file may have been complete already: its length is then in the refusal.
    if (response.status === 416 && have > 0) {
      await response.body?.cancel();
      if (Number(response.headers.get('content-range')?.split('/')[1]) === have) return;
      await rm(target, { force: true });
      throw new Busy('what was downloaded before does not belong to this file');
    }
    if (!response.ok || !response.body || (response.status === 206 && !resumed)) {
      await response.body?.cancel();
      const text = `answered ${response.status} ${response.statusText}`.trim();
      throw response.status >= 500 || [408, 425, 429].includes(response.status)
        ? new Busy(text)
        : new Refused(text, response.status);
    }
    answered();
    const start = resumed ? have : 0;
    const length = Number(response.headers.get('content-length') ?? Number.NaN);
    if (start + length > settings.maxBytes) throw tooLarge(settings.name ?? url, settings.maxBytes);
    const file = await open(target, resumed ? 'a' : 'w');
    try {
      let size = start;
      const silent = (): void => abort.abort(new Error(`silent for ${settings.silence} ms`));
      for await (const chunk of response.body) {
        clearTimeout(timer);
        timer = setTimeout(silent, settings.silence);
        size += chunk.length;
        if (size > settings.maxBytes) throw tooLarge(settings.name ?? url, settings.maxBytes);
        await writeAll(file, chunk);
      }
      if (!Number.isNaN(length) && size !== start + length) throw new Error(`ended after ${size} bytes`);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw abort.signal.aborted ? abort.signal.reason : error;
  } finally {
    clearTimeout(timer);
    settings.signal?.removeEventListener('abort', stop);
    abort.abort();
  }
}

/** What `fetch` does, and each answer is heard. */
async function follow(
  url: string,
  init: { readonly headers: Record<string, string>; readonly signal: AbortSignal },
  onAnswer: DownloadOptions['onAnswer'],
): Promise<Response> {
  let { headers } = init;
  let at = new URL(url);
  for (let leads = 0; leads <= MOST_REDIRECTS; leads++) {
    const response = await fetch(at, { ...init, headers, redirect: 'manual' });
    onAnswer?.(response.headers);
    const location = response.headers.get('location');
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
    await response.body?.cancel();
    const next = new URL(location, at);
    if (!/^https?:$/.test(next.protocol)) throw new Refused(`leads to ${next.protocol}`, response.status);
    // A secret is for who asked for it.
    if (next.origin !== at.origin) {
      const { authorization: _, ...rest } = headers;
      headers = rest;
    }
    at = next;
  }
  throw new Refused(`leads on more than ${MOST_REDIRECTS} times`, 310);
}

function range(have: number): Record<string, string> {
  return have > 0 ? { range: `bytes=${have}-` } : {};
}

function rangeStart(response: Response): number {
  return Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? Number.NaN);
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at)).bytesWritten;
}

function tooLarge(url: string, maxBytes: number): OnebyteError {
  return new OnebyteError('DOWNLOAD_TOO_LARGE', `${url}: more than the ${maxBytes} bytes that are allowed`, {
    field: url,
    remedy: 'split the file, or put it on a volume and name its path',
  });
}

/** What an error says; fetch hides its reason in the cause. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof OnebyteError || !(error.cause instanceof Error)) return error.message;
  const { message, code } = error.cause as NodeJS.ErrnoException;
  return `${error.message}: ${message || code}`;
}

export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    return 0;
  }
}

/** SHA-256 of a file, in lower-case hex. */
export async function sha256File(path: string): Promise<string> {
  const hash = createHash('sha256');
  // One buffer for all of it: a stream's are garbage that the collector comes by for, several times in one model.
  const buffer = Buffer.allocUnsafe(1 << 20);
  const file = await open(path);
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
