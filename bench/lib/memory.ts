/** What this process holds in memory, by Linux' own account. */
import { readFileSync } from 'node:fs';
import { getHeapStatistics } from 'node:v8';

/** Bytes. */
export interface Memory {
  readonly resident: number;
  readonly anonymous: number;
  readonly peak: number;
}

export function memory(): Memory {
  const text = readFileSync('/proc/self/smaps_rollup', 'utf8');
  const of = (key: string) => Number(new RegExp(`^${key}: +(\\d+)`, 'm').exec(text)![1]) * 1024;
  return {
    resident: of('Rss'),
    anonymous: of('Anonymous'),
    peak: process.resourceUsage().maxRSS * 1024,
  };
}

/** Resident bytes by what they are of. */
export type Kinds = Readonly<Record<string, number>>;

const CODE = 'code of Node, the runtime and libraries';
const WEIGHTS = 'weights mapped from files';
const HEAP = 'objects of JavaScript (main thread)';
const REST = 'the rest: packed layers, graph, activations';

/** Resident bytes of a process: of code and weights in files, and of no file. */
export interface Pages {
  readonly code: number;
  readonly weights: number;
  readonly anonymous: number;
}

/** The mappings of a process added up. */
export function pagesOf(pid: number | 'self'): Pages {
  const pages = { code: 0, weights: 0, anonymous: 0 };
  let file = '';
  let resident = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$/.exec(line);
    if (mapping !== null) file = mapping[1]!;
    const found = /^(Rss|Anonymous): +(\d+)/.exec(line);
    if (found === null) continue;
    const bytes = Number(found[2]) * 1024;
    if (found[1] === 'Rss') {
      resident = bytes;
      continue;
    }
    pages.anonymous += bytes;
    pages[/[.](packed|safetensors|gguf|onnx)/.test(file) ? 'weights' : 'code'] += resident - bytes;
  }
  return pages;
}

/** What this process has; Node's heap of objects is taken out of the anonymous pages. */
export function kindsOfMemory(): Kinds {
  const { code, weights, anonymous } = pagesOf('self');
  const objects = getHeapStatistics().total_physical_size;
  return { [CODE]: code, [WEIGHTS]: weights, [HEAP]: objects, [REST]: anonymous - objects };
}
