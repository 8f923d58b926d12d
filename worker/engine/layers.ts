import { OnebyteError } from '../errors.ts';

/**
 * Reads a choice of layers: `4-5`, `0,2,5`, `0-1,5` or `all`. Ascending, without repeats.
 * @param count layers that the model has
 * @throws OnebyteError PLAN_INVALID
 */
export function parseLayers(text: string, count: number, field: string): number[] {
  if (text === 'all') return Array.from({ length: count }, (_, i) => i);
  const chosen = new Set<number>();
  for (const part of text.split(',')) {
    const found = /^\s*(\d{1,4})(?:\s*-\s*(\d{1,4}))?\s*$/.exec(part);
    const from = Number(found?.[1]);
    const to = Number(found?.[2] ?? found?.[1]);
    if (found === null || from > to || to >= count) {
      throw new OnebyteError(
        'PLAN_INVALID',
        `${field}: ${JSON.stringify(text)} names no layers of this model`,
        {
          field,
          remedy: `write 'all', or numbers and ranges from 0 to ${count - 1} such as '${Math.max(0, count - 2)}-${count - 1}'`,
        },
      );
    }
    for (let layer = from; layer <= to; layer++) chosen.add(layer);
  }
  return [...chosen].sort((a, b) => a - b);
}
