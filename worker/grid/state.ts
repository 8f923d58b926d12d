import { OnebyteError } from '../errors.ts';
import type { Contributions } from './contribution.ts';
import { Displacement, type Perturbation } from './displacement.ts';
import { Grid } from './grid.ts';
import { GROUP, type PlacedTensor, place, type TensorSpec } from './layout.ts';
import { allocate, MAX_ROWS, ROWS, TAIL, TENSORS } from './memory.ts';
import { LIMIT_QUANTA } from './quantum.ts';
import { type Part, Rows } from './rows.ts';
import { Runner, type Task } from './task.ts';
import { ThreadPool, WORTH_STARTING } from './threads.ts';

export interface StateOptions {
  /** Bytes that `scratch` can hand out. */
  readonly scratchBytes?: number;
  /** Threads that kernels are spread over, the caller's included. Close the state to end the others. */
  readonly threads?: number;
  /** Group-rows of one dispatch that the other threads are started for. */
  readonly worthThreads?: number;
}

const SCRATCH_ALIGNMENT = 64;

function end(tensors: readonly PlacedTensor[]): number {
  return tensors.reduce((max, t) => Math.max(max, t.offset + 4 * t.padded), TENSORS);
}

function asContributions({ tensors, seed, coefficients }: Perturbation): Contributions {
  return { count: 1, seeds: seed, tensors, coefficients };
}

/**
 * The state in one shared WebAssembly memory, moved by SIMD kernels: what a worker holds. Equal to `ReferenceStore`
 * bit for bit. While a perturbation stands, nothing else can be changed, digested or saved.
 */
export class State extends Grid {
  readonly memory: WebAssembly.Memory;
  readonly #runner: Runner;
  readonly #pool: ThreadPool | null;
  readonly #displacement = new Displacement();
  readonly #rows: Rows;
  #scratch: number;

  constructor(
    specs: readonly TensorSpec[],
    { scratchBytes = 0, threads = 1, worthThreads = WORTH_STARTING }: StateOptions = {},
  ) {
    const tensors = place(specs, TENSORS);
    super(tensors);
    this.#scratch = end(tensors);
    this.memory = allocate(this.#scratch + scratchBytes);
    this.#runner = new Runner(this.memory, 0);
    this.#pool = threads > 1 ? new ThreadPool(this.memory, threads, this.#runner, worthThreads) : null;
    this.#rows = new Rows(this.memory);
  }

  override view(index: number): Float32Array {
    const { offset, size } = this.tensors[index]!;
    return new Float32Array(this.memory.buffer, offset, size);
  }

  /** What stands between the tensors as they lie and the committed state; null outside a probe. */
  get perturbation(): Perturbation | null {
    return this.#displacement.current;
  }

  /**
   * Adds a direction in place, exactly. Steps along the same direction add up, so +r, -2 r, +r comes back.
   * @throws OnebyteError GRID_RANGE when the sum of the steps goes beyond 2**23 quanta
   */
  perturb(tensors: readonly number[], seed: Uint32Array, coefficients: Int32Array): void {
    this.#step({ tensors, seed, coefficients }, 1);
  }

  /** The exact inverse of `perturb` with the same arguments. */
  unperturb(tensors: readonly number[], seed: Uint32Array, coefficients: Int32Array): void {
    this.#step({ tensors, seed, coefficients }, -1);
  }

  #step(perturbation: Perturbation, factor: 1 | -1): void {
    this.#displacement.move(perturbation, factor);
    this.#addRows([{ ...asContributions(perturbation), factor }]);
  }

  /**
   * One pass that takes back the perturbation that stands and adds one round's contributions.
   * @param undo what stands (`perturbation`), or null
   * @returns indices of the tensors that were coarsened first
   */
  addFused(undo: Perturbation | null, c: Contributions): readonly number[] {
    if (undo === null) return this.add(c);
    this.#displacement.assertIs(undo);
    this.check(c);
    if (!this.fits(c)) {
      this.#step(undo, -1);
      return this.add(c);
    }
    this.#displacement.move(undo, -1);
    this.#addRows([
      { ...asContributions(undo), factor: -1 },
      { ...c, factor: 1 },
    ]);
    this.raise(c);
    return [];
  }

  /**
   * Adds a whole pool, sum_k A_k z_k, in 32-bit integers, so partial sums may pass 2**24 quanta (FedKSeed's catch-up).
   * Equal to adding the rounds behind it one by one where none of them coarsened a tensor; the caller knows that.
   * @param pool coefficients A_k modulo 2**32
   * @throws OnebyteError INTERNAL when the result is beyond the grid; the state is then lost
   */
  mergePool(pool: Contributions): void {
    this.assertCommitted();
    this.check(pool);
    for (const [column, index] of pool.tensors.entries()) {
      const tensor = this.#whole(index);
      this.#clearPadding(index);
      this.#run([{ ...tensor, operation: 'toIntegers' }]);
      for (let row = 0; row < pool.count; row += MAX_ROWS) {
        const rows = Math.min(MAX_ROWS, pool.count - row);
        this.#rows.writeWhole(pool, column, row, rows);
        this.#run([{ ...tensor, operation: 'addIntegerRows', rows: ROWS, count: rows }]);
      }
      this.#run([{ ...tensor, operation: 'toFloats' }]);
      this.rescan(index);
    }
  }

  /**
   * Reserves scratch memory, for as long as the state lives or until `freeScratch`.
   * @returns byte offset in `memory`, a multiple of 64
   * @throws OnebyteError INTERNAL when `scratchBytes` are used up
   */
  scratch(bytes: number): number {
    const offset = Math.ceil(this.#scratch / SCRATCH_ALIGNMENT) * SCRATCH_ALIGNMENT;
    if (offset + bytes > this.memory.buffer.byteLength)
      throw new OnebyteError('INTERNAL', `no ${bytes} bytes of scratch memory left`);
    this.#scratch = offset + bytes;
    return offset;
  }

  /** Takes all scratch memory back. */
  freeScratch(): void {
    this.#scratch = end(this.tensors);
  }

  /**
   * Writes tensor + coefficient * quantum * z to scratch memory: exactly the tensor's elements, without padding.
   * @param destination byte offset, a multiple of 4
   * @param seed four words
   * @param coefficient whole quanta, up to 2**23
   */
  writePerturbed(destination: number, tensor: number, seed: Uint32Array, coefficient: number): void {
    this.assertCommitted();
    const { index, offset, size } = this.#tensor(tensor);
    if (
      destination % 4 !== 0 ||
      destination < end(this.tensors) ||
      destination + 4 * size > this.memory.buffer.byteLength
    )
      throw new OnebyteError('INTERNAL', `offset ${destination} is not in scratch memory`);
    if (!Number.isInteger(coefficient) || Math.abs(coefficient) > LIMIT_QUANTA || seed.length !== 4)
      throw new OnebyteError('INTERNAL', `a perturbation of ${coefficient} quanta`);
    this.#rows.writeOne(seed, coefficient * this.quantum(index));
    const whole = Math.floor(size / GROUP);
    const copy = { operation: 'addRows', tensor: index, from: offset, rows: ROWS, count: 1 } as const;
    this.#runner.run([{ ...copy, to: destination, groups: whole }]);
    const rest = size - whole * GROUP;
    if (rest === 0) return;
    // The last group would overrun the destination: its end goes through a buffer.
    this.#runner.group({ ...copy, to: TAIL - whole * GROUP * 4, groups: whole + 1 }, whole);
    const tail = new Float32Array(this.memory.buffer, TAIL, rest);
    new Float32Array(this.memory.buffer, destination + whole * GROUP * 4, rest).set(tail);
  }

  #addRows(parts: readonly Part[]): void {
    this.#rows.addAll(
      parts,
      this.tensors,
      (index) => this.quantum(index),
      (tasks) => this.#run(tasks),
    );
  }

  #run(tasks: readonly Task[]): number {
    return this.#pool === null ? this.#runner.run(tasks) : this.#pool.run(tasks);
  }

  #tensor(index: number): PlacedTensor {
    const tensor = this.tensors[index];
    if (tensor === undefined) throw new OnebyteError('INTERNAL', `no tensor number ${index}`);
    return tensor;
  }

  /** The fields of a task over a whole tensor. */
  #whole(index: number): Omit<Task, 'operation'> {
    const { offset, padded } = this.#tensor(index);
    return { to: offset, groups: padded / GROUP, tensor: index, quantum: this.quantum(index) };
  }

  /** Padding moves with the tensor, but nobody bounds it. */
  #clearPadding(index: number): void {
    const { offset, size, padded } = this.#tensor(index);
    new Float32Array(this.memory.buffer, offset + 4 * size, padded - size).fill(0);
  }

  /** Threads at work, the caller's included: those asked for, once they have started. */
  get threads(): number {
    return this.#pool?.threads ?? 1;
  }

  /** Ends the state's threads. The memory stays usable from this thread. */
  async close(): Promise<void> {
    await this.#pool?.close();
  }

  protected override largest(index: number): number {
    this.#clearPadding(index);
    return this.#run([{ ...this.#whole(index), operation: 'largest' }]);
  }

  protected override roundTo(index: number, quantum: number): void {
    this.#run([{ ...this.#whole(index), operation: 'roundTo', quantum }]);
  }

  protected override apply(c: Contributions): void {
    this.#addRows([{ ...c, factor: 1 }]);
  }

  protected override assertCommitted(): void {
    if (!this.#displacement.isZero)
      throw new OnebyteError(
        'INTERNAL',
        'the state is perturbed: the probe under way must be taken back first',
      );
  }
}
