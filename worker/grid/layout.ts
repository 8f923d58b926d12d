/**
 * How the trainable tensors lie in one shared memory, and what their grid is. Pure.
 *
 * Every tensor starts at a multiple of GROUP elements and is padded to one, so that kernels need no tails. Padding
 * is never read by anybody else and is not part of the digest.
 */
export const GROUP = 512;

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** The quantum is 2 ** exponent. */
  readonly exponent: number;
}

export interface PlacedTensor extends TensorSpec {
  /** Index in the layout: the tensor's number in every direction's counter. Stable for the whole run. */
  readonly index: number;
  readonly size: number;
  /** Elements, padded to GROUP. */
  readonly padded: number;
  /** Byte offset in the memory; a multiple of 4 * GROUP. */
  readonly offset: number;
}

/** Places tensors one after the other from `base` (bytes). */
export function place(specs: readonly TensorSpec[], base = 0): PlacedTensor[] {
  let offset = Math.ceil(base / (4 * GROUP)) * 4 * GROUP;
  return specs.map((spec, index) => {
    const size = spec.shape.reduce((a, b) => a * b, 1);
    const padded = Math.ceil(size / GROUP) * GROUP;
    const placed = { ...spec, index, size, padded, offset };
    offset += padded * 4;
    return placed;
  });
}
