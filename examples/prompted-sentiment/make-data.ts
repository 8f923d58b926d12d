/**
 * Makes `data/`: k = 16 and 512 training rows of each label, the first ones of the movie reviews in
 * ../sentiment/data (whose validation and test rows the jobs read there). Run:
 * node examples/prompted-sentiment/make-data.ts
 */
import { readFile, writeFile } from 'node:fs/promises';

const source = new URL('../sentiment/data/movies-train.jsonl', import.meta.url);

/** The files of `data/` by name. */
export async function makeFiles(): Promise<Record<string, string>> {
  const lines = (await readFile(source, 'utf8')).trim().split('\n');
  const rows = lines.map((line) => ({ line, label: (JSON.parse(line) as { label: string }).label }));
  const first = (k: number) => {
    const chosen = ['negative', 'positive'].flatMap((label) =>
      rows.filter((row) => row.label === label).slice(0, k),
    );
    const kept = new Set(chosen);
    return rows
      .filter((row) => kept.has(row))
      .map(({ line }) => `${line}\n`)
      .join('');
  };
  return { 'movies-16.jsonl': first(16), 'movies-512.jsonl': first(512) };
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(await makeFiles()))
    await writeFile(new URL(`data/${name}`, import.meta.url), text);
}
