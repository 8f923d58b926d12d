import fc from 'fast-check';
import { MINUS, PLUS } from '../../worker/journal/signs.ts';

/** At most so many probes that are signs or abstain. */
export function signs(maxLength: number): fc.Arbitrary<Uint8Array> {
  return fc.array(fc.constantFrom(0, PLUS, MINUS), { maxLength }).map((bytes) => Uint8Array.from(bytes));
}
