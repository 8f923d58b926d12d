/**
 * Makes `data/` from the source archive of vaderSentiment 3.3.2: real sentences of four kinds with the mean of at
 * least twenty people's ratings from -4 to 4. See data/LICENSE-DATA.md. Run: node examples/sentiment/make-data.ts
 *
 * A sentence rated at least 1 from 0 gets a label. Which split it falls into is told by a hash of its text alone, so
 * that no text is in two splits and none moves when others come or go.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type PipArchive, pipDownload } from '../../worker/data/fetch.ts';
import { untar } from './untar.ts';

const ARCHIVE: PipArchive = {
  package: 'vaderSentiment',
  version: '3.3.2',
  kind: 'source',
  sha256: '5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9',
};
const INNER = 'vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz';

/** Our names for the four kinds of text, and the archive's. */
const DOMAINS = {
  movies: 'movieReviewSnippets',
  products: 'amazonReviewSnippets',
  news: 'nytEditorialSnippets',
  tweets: 'tweets',
} as const;
type Domain = keyof typeof DOMAINS;

const SEED = 'onebyte-sentiment-1';
const MOST = { train: 2000, validation: 300, test: 500 } as const;
type Split = keyof typeof MOST;
/** Upper ends of the splits' parts of the hash range. */
const TEST_BELOW = 0.2;
const VALIDATION_BELOW = 0.3;
/** Rows of the few-shot files, half of them of each label. */
const FEW = 64;
/** Rows without a label, of each domain, for the calibration text. */
const CALIBRATION = 128;

interface Sentence {
  readonly id: string;
  readonly text: string;
  readonly rating: number;
  /** Where in [0, 1) the text's hash lies. */
  readonly place: number;
}

/** The files of `data/` by name, out of the unpacked source archive. */
export function makeFiles(sentences: Readonly<Record<Domain, readonly Sentence[]>>): Record<string, string> {
  const files: Record<string, string> = {};
  const calibration: Sentence[] = [];
  for (const domain of Object.keys(DOMAINS) as Domain[]) {
    const ordered = sentences[domain].toSorted((a, b) => a.place - b.place);
    const labelled = ordered.filter((sentence) => Math.abs(sentence.rating) >= 1);
    for (const split of Object.keys(MOST) as Split[]) {
      const rows = labelled.filter((sentence) => splitOf(sentence) === split).slice(0, MOST[split]);
      files[`${domain}-${split}.jsonl`] = lines(rows);
      if (split !== 'train') continue;
      const half = (label: string): Sentence[] =>
        rows.filter((row) => labelOf(row) === label).slice(0, FEW / 2);
      const few = [...half('negative'), ...half('positive')].sort((a, b) => a.place - b.place);
      files[`${domain}-${FEW}.jsonl`] = lines(few);
    }
    calibration.push(...ordered.filter((sentence) => Math.abs(sentence.rating) < 1).slice(0, CALIBRATION));
  }
  files['calibration.jsonl'] = calibration
    .sort((a, b) => a.place - b.place)
    .map(({ id, text }) => `${JSON.stringify({ id, text })}\n`)
    .join('');
  return files;
}

/** The sentences of every domain, cleaned; a text that comes twice, in whatever domain, comes once. */
export function readSentences(archive: Uint8Array): Record<Domain, Sentence[]> {
  const inner = untar(gunzipSync(archive)).get(INNER);
  if (!inner) throw new Error(`the archive has no ${INNER}`);
  const files = untar(gunzipSync(inner));
  const seen = new Set<string>();
  const read = (domain: Domain): Sentence[] => {
    const file = files.get(`hutto_ICWSM_2014/${DOMAINS[domain]}_GroundTruth.txt`);
    if (!file) throw new Error(`the archive has no ground truth of ${domain}`);
    return file
      .toString('utf8')
      .split('\n')
      .flatMap((line) => {
        const [id, rating, ...rest] = line.trim().split('\t');
        const text = clean(rest.join(' '));
        const key = keyOf(text);
        if (key === '' || seen.has(key)) return [];
        seen.add(key);
        return [{ id: `${domain}/${id}`, text, rating: Number(rating), place: placeOf(key) }];
      });
  };
  return { movies: read('movies'), products: read('products'), news: read('news'), tweets: read('tweets') };
}

const ENTITIES: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"' };

function clean(text: string): string {
  return text
    .replace(/&(amp|lt|gt|quot);/g, (entity) => ENTITIES[entity]!)
    .replaceAll("''", '"')
    .replace(/\s+/g, ' ')
    .trim();
}

/** What makes two texts the same: their letters and digits, whatever their case. */
function keyOf(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();
}

function placeOf(key: string): number {
  const digest = createHash('sha256').update(`${SEED}\0${key}`).digest();
  return digest.readUIntBE(0, 6) / 2 ** 48;
}

function splitOf({ place }: Sentence): Split {
  if (place < TEST_BELOW) return 'test';
  return place < VALIDATION_BELOW ? 'validation' : 'train';
}

function labelOf({ rating }: Sentence): string {
  return rating > 0 ? 'positive' : 'negative';
}

function lines(sentences: readonly Sentence[]): string {
  return sentences.map((s) => `${JSON.stringify({ id: s.id, text: s.text, label: labelOf(s) })}\n`).join('');
}

/** The files of `data/`, made from the archive that pip fetches. */
export async function makeFromPackage(): Promise<Record<string, string>> {
  const folder = await mkdtemp(join(tmpdir(), 'onebyte-'));
  try {
    return makeFiles(readSentences(await readFile(await pipDownload(ARCHIVE, folder))));
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
