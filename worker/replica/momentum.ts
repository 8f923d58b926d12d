import { addDirection } from '../direction/rademacher.ts';
import type { Contributions } from '../grid/contribution.ts';
import { LIMIT_QUANTA, powerOfTwo, roundHalfEven } from '../grid/quantum.ts';
import type { TensorStore } from '../grid/store.ts';

/**
 * Heavy-ball momentum, v = beta v + update and theta += v, in whole quanta: the decay is rounded half to even on
 * doubles, so every replica gets the same bits. It costs a double per trained weight and cannot be taken back, so a
 * replica with momentum rewinds by rebuilding.
 */
export class Momentum {
  readonly #store: TensorStore;
  /** Velocity of each moving tensor, in quanta of the exponent beside it. */
  readonly #velocities = new Map<number, { exponent: number; values: Float64Array }>();

  constructor(store: TensorStore) {
    this.#store = store;
  }

  /** @returns indices of the tensors that were coarsened */
  apply(update: Contributions, beta: number): number[] {
    return update.tensors.filter((index, column) => {
      const velocity = this.#velocity(index);
      for (let i = 0; i < velocity.length; i++) velocity[i] = roundHalfEven(velocity[i]! * beta);
      for (let row = 0; row < update.count; row++) {
        const coefficient = update.coefficients[row * update.tensors.length + column]!;
        if (coefficient !== 0)
          addDirection(velocity, index, update.seeds.subarray(4 * row, 4 * row + 4), coefficient);
      }
      return this.#move(index, velocity);
    });
  }

  #velocity(index: number): Float64Array {
    const exponent = this.#store.exponent(index);
    let found = this.#velocities.get(index);
    if (found === undefined) {
      found = { exponent, values: new Float64Array(this.#store.view(index).length) };
      this.#velocities.set(index, found);
    }
    for (; found.exponent < exponent; found.exponent++) halve(found.values);
    return found.values;
  }

  #move(index: number, velocity: Float64Array): boolean {
    const before = this.#store.exponent(index);
    let largest = velocity.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    while (this.#store.maxAbs(index) + largest > LIMIT_QUANTA) {
      this.#store.coarsen(index);
      halve(velocity);
      largest = roundHalfEven(largest / 2);
    }
    const exponent = this.#store.exponent(index);
    this.#velocities.get(index)!.exponent = exponent;
    const quantum = powerOfTwo(exponent);
    const view = this.#store.view(index);
    for (let i = 0; i < view.length; i++) view[i]! += velocity[i]! * quantum;
    this.#store.settle(index);
    return exponent !== before;
  }
}

function halve(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) values[i] = roundHalfEven(values[i]! / 2);
}
