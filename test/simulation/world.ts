import { SimulatedBus } from '../../worker/bus/simulated.ts';
import { sealRecord } from '../../worker/journal/envelope.ts';
import { emptyLedger } from '../../worker/journal/ledger.ts';
import { SimulatedLog } from '../../worker/log/simulated.ts';
import { HEALTHY, SimulatedNetwork } from '../../worker/log/simulated-network.ts';
import { VirtualTime } from '../../worker/log/virtual-time.ts';
import type { Replica } from '../../worker/replica/replica.ts';
import type { SnapshotFile } from '../../worker/round/checkpoint.ts';
import { MemberDriver, type Outcome } from '../../worker/round/driver.ts';
import type { Effect, Event } from '../../worker/round/event.ts';
import { SimulatedEngine } from './engine.ts';
import { Gate, GatedLog, gatedBus, gatedClock } from './gate.ts';
import { freshReplica, genesisFor, type JobChoices, jobOf } from './job.ts';
import { type Faulty, faulty, type Mutant } from './mutants.ts';
import { HEALED, type Schedule, type Trouble } from './schedule.ts';
import { Witness } from './witness.ts';

/** One process: a driver with all that belongs to it. A worker that restarts is a new one under a new id. */
export interface Process {
  readonly id: string;
  readonly node: string;
  readonly gate: Gate;
  readonly engine: SimulatedEngine;
  readonly driver: MemberDriver;
  outcome: Outcome | Error | null;
}

/** Virtual milliseconds of a probe of a worker that came later. */
const PACE = 20;
/** Virtual milliseconds until a snapshot is kept. */
const STORING = 1;

const sealed = new Map<string, Uint8Array>();

/** Compressing it takes as long as several rounds, and there are few different jobs. */
function sealedGenesis(choices: JobChoices): Uint8Array {
  const key = JSON.stringify(choices);
  const known = sealed.get(key) ?? sealRecord(emptyLedger(), genesisFor(jobOf(choices)));
  sealed.set(key, known);
  return known;
}

/** A whole run in virtual time: workers, log and network, and the troubles of a schedule. */
export class World {
  readonly schedule: Schedule;
  readonly time: VirtualTime;
  readonly witness = new Witness();
  readonly log: SimulatedLog;
  readonly processes: Process[] = [];
  /** Sees every step of every process, for traces. */
  trace: (id: string, event: Event, effects: readonly Effect[]) => void = () => {};
  readonly #network: SimulatedNetwork;
  readonly #bus: SimulatedBus;
  readonly #faulty: Faulty;
  readonly #fresh: () => Replica;
  /** By place: the latest process there. */
  readonly #places: Process[] = [];
  readonly #paces: number[];

  constructor(schedule: Schedule, mutant: Mutant | null) {
    this.schedule = schedule;
    this.time = new VirtualTime(schedule.seed ^ 0x5eed);
    this.#network = new SimulatedNetwork(this.time);
    this.#faulty = faulty(mutant, this.time);
    this.log = new SimulatedLog(this.#network);
    this.#bus = new SimulatedBus(this.#network);
    this.#paces = [...schedule.paces];
    const job = jobOf(schedule.job);
    this.#fresh = () => freshReplica(job.method.plan.length);
    this.log.accept(sealedGenesis(schedule.job), { expectedLast: 0, id: 'genesis' });
    for (let place = 0; place < schedule.workers; place++) this.#start(place);
    for (const trouble of schedule.troubles) this.time.at(trouble.at, () => this.#happen(trouble));
    this.time.at(HEALED, () => this.#heal());
  }

  get alive(): readonly Process[] {
    return this.processes.filter(({ gate }) => !gate.dead);
  }

  /** Whether every living process has come to its end, after the troubles. */
  get over(): boolean {
    return this.time.now >= HEALED && this.alive.every(({ outcome }) => outcome !== null);
  }

  /** One event, and everything that follows from it at the same moment. False where nothing is left to happen. */
  async step(): Promise<boolean> {
    if (!this.time.step()) return false;
    await settled();
    return true;
  }

  /** A new worker where there is none alive: somebody always comes in the end. */
  ensureOne(): void {
    if (this.alive.every(({ outcome }) => outcome !== null)) this.#start(this.#places.length);
  }

  #start(place: number): void {
    const id = (this.processes.length + 1).toString(16).padStart(16, '0');
    const node = `w${place}`;
    const gate = new Gate();
    const parts = { scheduler: this.time, gate, witness: this.witness, faulty: this.#faulty };
    const engine = new SimulatedEngine(
      id,
      this.#fresh,
      this.#paces[place] ?? PACE,
      this.processes.length % 2 === 1,
      parts,
    );
    const { step, options } = this.#faulty;
    const client = this.log.client(node);
    const log = new GatedLog(client, gate, {
      asked: (data) => this.witness.appends(id, data),
      options: (asked) => options(asked, this.log.entries.length),
    });
    const bus = gatedBus(this.#bus.join(id, node), gate);
    const self = { id, name: node, group: place % 2 === 0 ? '' : 'odd', examples: 100 };
    const { workers } = this.schedule;
    const clock = gatedClock(this.time, gate);
    const onStep = (event: Event, effects: readonly Effect[]) => this.trace(id, event, effects);
    // Kept while the next round's probes are under way.
    const store = (snapshot: SnapshotFile) =>
      new Promise<string>((resolve) =>
        gate.after(this.time, STORING, () => resolve(`${id}/${snapshot.digest}`)),
      );
    const driver = new MemberDriver(
      self,
      { log, bus, engine, clock, step, onStep, checkpoints: { store } },
      { expected: workers, grace: 500 },
    );
    const process: Process = { id, node, gate, engine, driver, outcome: null };
    const ended = (outcome: Outcome | Error) => {
      process.outcome = outcome;
      if (outcome instanceof Error && !gate.dead) this.witness.fail(`${id} failed: ${outcome.message}`);
      void bus.close();
      void log.close();
    };
    driver.done.then(ended, ended);
    this.processes.push(process);
    this.#places[place] = process;
  }

  #happen(trouble: Trouble): void {
    switch (trouble.kind) {
      case 'network': {
        const { drop, duplicate, delay, reorder } = trouble;
        this.#network.faults = { drop, duplicate, delay: [1, delay], reorder, cut: false };
        this.time.at(trouble.until - trouble.at, () => {
          this.#network.faults = HEALTHY;
        });
        break;
      }
      case 'partition': {
        const side = trouble.side.map((place) => `w${place}`);
        const nodes = [...this.#places.map(({ node }) => node), this.log.name];
        const other = nodes.filter((node) => !side.includes(node));
        this.#network.partition(side, other);
        this.time.at(trouble.until - trouble.at, () => {
          for (const a of side)
            for (const b of other) {
              this.#network.set(a, b, null);
              this.#network.set(b, a, null);
            }
        });
        break;
      }
      case 'deaf':
        this.#impair(this.log.name, `w${trouble.worker}`, { cut: true }, trouble);
        break;
      case 'mute':
        this.#impair(`w${trouble.worker}`, this.log.name, { cut: true }, trouble);
        break;
      case 'acknowledgements':
        this.#impair(this.log.name, `w${trouble.worker}`, { drop: 0.5 }, trouble);
        break;
      case 'kill':
        this.#kill(trouble.worker, trouble.restartAfter);
        break;
      case 'pause': {
        const gate = this.#places[trouble.worker]?.gate;
        gate?.pause();
        this.time.at(trouble.until - trouble.at, () => gate?.resume());
        break;
      }
      case 'slow':
        this.#slow(trouble.worker, trouble.factor);
        break;
      case 'join':
        this.#start(this.#places.length);
        break;
      case 'leave':
        this.#places[trouble.worker]?.gate.pass(() => this.#places[trouble.worker]!.driver.leave());
        break;
      case 'loseTail':
        // The genesis is written, and synced, before anybody starts.
        this.log.loseTail(Math.min(trouble.count, this.log.entries.length - 1));
    }
  }

  #impair(
    from: string,
    to: string,
    faults: { cut?: boolean; drop?: number },
    { at, until }: { at: number; until: number },
  ) {
    this.#network.set(from, to, faults);
    this.time.at(until - at, () => this.#network.set(from, to, null));
  }

  #slow(place: number, factor: number): void {
    // Of what it was at first: two in a row would make one call outlast every patience, for healing ends no call under way.
    const pace = (this.schedule.paces[place] ?? PACE) * factor;
    this.#paces[place] = pace;
    const process = this.#places[place];
    if (process !== undefined) process.engine.pace = pace;
  }

  #kill(place: number, restartAfter: number | null): void {
    const process = this.#places[place];
    if (process === undefined || process.gate.dead) return;
    process.gate.kill();
    process.driver.abort(new Error('killed'));
    if (restartAfter !== null) this.time.at(restartAfter, () => this.#start(place));
  }

  #heal(): void {
    this.#network.heal();
    this.#network.faults = HEALTHY;
    for (const { gate } of this.processes) gate.resume();
    this.#paces.splice(0, this.#paces.length, ...this.schedule.paces);
    for (const [place, { engine }] of this.#places.entries()) engine.pace = this.#paces[place] ?? PACE;
  }
}

/** After everything that promises have in store for this moment: Node runs ticks once all microtasks are done. */
function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
