import { addDirection } from '../direction/rademacher.ts';
import { OnebyteError } from '../errors.ts';
import type { Contributions } from '../grid/contribution.ts';
import { LIMIT_QUANTA, powerOfTwo, roundHalfEven } from '../grid/quantum.ts';
import { State } from '../grid/state.ts';
import type { TensorStore } from '../grid/store.ts';

/** Adds sum_k c_k z_k of one tensor, in whole numbers, to its velocity. */
type AddDirections = (velocity: Float64Array, update: Contributions, column: number) => void;

/** The velocities of one stage, as values. */
export interface MomentumState {
  readonly stage: number;
  readonly velocities: readonly {
    /** Of the tensor in the layout. */
    readonly index: number;
    readonly exponent: number;
    /** Whole quanta. */
    readonly values: Float64Array;
  }[];
}

/**
 * Heavy-ball momentum, v = beta v + update and theta += v, in whole quanta: the decay is rounded half to even on
 * doubles, so every replica gets the same bits. It costs a double per trained weight and cannot be taken back, so a
 * replica with momentum rewinds by rebuilding.
 */
export class Momentum {
  readonly #store: TensorStore;
  /** Velocity of each moving tensor, in quanta of the exponent beside it. */
  readonly #velocities = new Map<number, { exponent: number; values: Float64Array }>();

  readonly #add: AddDirections;

  constructor(store: TensorStore) {
    this.#store = store;
    this.#add = store instanceof State ? byKernels(store) : addPlainly;
  }

  /** What `restore` takes; shares no memory with this. */
  velocities(): MomentumState['velocities'] {
    return [...this.#velocities].map(([index, { exponent, values }]) => ({
      index,
      exponent,
      values: values.slice(),
    }));
  }

  /** Takes over velocities of the same layout. @throws OnebyteError SNAPSHOT_INVALID where they do not fit it */
  restore(velocities: MomentumState['velocities']): void {
    this.#velocities.clear();
    for (const { index, exponent, values } of velocities) {
      if (this.#store.tensors[index]?.size !== values.length)
        throw new OnebyteError('SNAPSHOT_INVALID', 'the velocities of the snapshot are of other tensors');
      this.#velocities.set(index, { exponent, values: values.slice() });
    }
  }

  /** @returns indices of the tensors that were coarsened */
  apply(update: Contributions, beta: number): number[] {
    return update.tensors.filter((index, column) => {
      const velocity = this.#velocity(index);
      for (let i = 0; i < velocity.length; i++) velocity[i] = roundHalfEven(velocity[i]! * beta);
      this.#add(velocity, update, column);
      return this.#move(index, velocity);
    });
  }

  /** Stops a tensor whose coordinates mean something else from now on. */
  forget(index: number): void {
    this.#velocities.delete(index);
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

/** The plain reference. */
function addPlainly(velocity: Float64Array, update: Contributions, column: number): void {
  const { seeds, tensors } = update;
  coefficientsOf(update, column).forEach((coefficient, row) => {
    if (coefficient !== 0)
      addDirection(velocity, tensors[column]!, seeds.subarray(4 * row, 4 * row + 4), coefficient);
  });
}

/** The state's kernels, over a second state whose quanta are 1: it takes as many directions in one pass. */
function byKernels({ tensors }: State): AddDirections {
  const sums = new State(tensors.map(({ name, shape }) => ({ name, shape, exponent: 0 })));
  return (velocity, update, column) => {
    const index = update.tensors[column]!;
    const coefficients = coefficientsOf(update, column);
    // Sums beyond would not be exact in 32-bit floats.
    if (coefficients.reduce((sum, c) => sum + Math.abs(c), 0) > LIMIT_QUANTA) {
      addPlainly(velocity, update, column);
      return;
    }
    const view = sums.view(index);
    view.fill(0);
    sums.settle(index);
    sums.add({ count: update.count, seeds: update.seeds, tensors: [index], coefficients });
    for (let i = 0; i < view.length; i++) velocity[i]! += view[i]!;
  };
}

function coefficientsOf({ count, tensors, coefficients }: Contributions, column: number): Int32Array {
  return Int32Array.from({ length: count }, (_, row) => coefficients[row * tensors.length + column]!);
}

function halve(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) values[i] = roundHalfEven(values[i]! / 2);
}
