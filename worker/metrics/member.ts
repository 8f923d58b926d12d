import { payloadBytes, SPLITS, totalRounds } from '../journal/index.ts';
import type { Ledger } from '../journal/ledger.ts';
import type { Effect, Event } from '../round/event.ts';
import { tagOf } from '../round/messages.ts';
import type { MachineState } from '../round/state.ts';
import type { Metrics } from './registry.ts';

/** The probes that this member was asked for last. */
interface Asked {
  readonly tag: string;
  readonly count: number;
  /** When the bytes were there, by the clock; null: not yet. */
  doneAt: number | null;
}

/** Counts what a member does, step by step (`MemberPorts.onStep`). */
export class MemberMetrics {
  readonly #metrics: Metrics;
  readonly #now: () => number;
  readonly #started: number;
  #state: MachineState | null = null;
  #asked: Asked | null = null;
  #appendAt = 0;
  #roundAt: number | null = null;
  #joined = false;

  /** @param now milliseconds @param startedAt when the program started, by the same clock */
  constructor(metrics: Metrics, now: () => number, startedAt: number) {
    this.#metrics = metrics;
    this.#now = now;
    this.#started = startedAt;
    metrics.set('onebyte_loss', Number.NaN);
    metrics.onScrape(() => this.#state && this.#gauges(this.#state));
  }

  step(event: Event, effects: readonly Effect[], state: MachineState): void {
    const before = this.#state?.ledger ?? state.ledger;
    const metrics = this.#metrics;
    switch (event.type) {
      case 'entry':
        this.#entry(event, before, state);
        break;
      case 'truncated':
        metrics.add('onebyte_rewinds_total');
        this.#asked = null;
        break;
      case 'rebuilding':
        if (event.why === 'lost') metrics.add('onebyte_rewinds_total');
        this.#asked = null;
        break;
      case 'probed':
        if (this.#asked?.tag === event.tag) this.#asked.doneAt = this.#now();
        break;
      case 'appended':
      case 'conflict':
      case 'unavailable':
        metrics.add('onebyte_appends_total', 1, { outcome: event.type });
        if (event.type !== 'unavailable') this.#phase('log', this.#now() - this.#appendAt);
        break;
    }
    for (const effect of effects) this.#effect(effect);
    this.#state = state;
    const joined = isIn(state);
    if (joined && !this.#joined) metrics.set('onebyte_join_seconds', (this.#now() - this.#started) / 1000);
    this.#joined = joined;
  }

  #effect(effect: Effect): void {
    const metrics = this.#metrics;
    if (effect.type === 'probe') this.#asked = { tag: effect.tag, count: effect.count, doneAt: null };
    else if (effect.type === 'append') this.#appendAt = this.#now();
    else if (effect.type === 'diverged') metrics.add('onebyte_divergences_total');
    else if ((effect.type === 'send' || effect.type === 'broadcast') && effect.message.kind === 'proposal')
      metrics.add('onebyte_payload_bytes_total', payloadBytes([effect.message.bytes]), { direction: 'sent' });
  }

  #entry({ record, ledger }: Extract<Event, { type: 'entry' }>, before: Ledger, state: MachineState): void {
    const metrics = this.#metrics;
    if (record.kind === 'dispute') metrics.add('onebyte_disputes_total');
    if (record.kind !== 'round') return;
    metrics.add('onebyte_payload_bytes_total', payloadBytes(record.bytes), { direction: 'received' });
    if (ledger.round === before.round) return;
    const now = this.#now();
    // What is read while catching up took no time.
    const live = state.target !== null && state.seq > state.target;
    if (live && this.#roundAt !== null)
      metrics.observe('onebyte_round_seconds', (now - this.#roundAt) / 1000);
    this.#roundAt = now;
    const asked = this.#asked;
    this.#asked = null;
    if (asked === null || asked.tag !== tagOf(before.roundChain)) return;
    const index = before.members.findIndex(({ id }) => id === state.self.id);
    const mine = record.bytes[index] ?? new Uint8Array(0);
    const probes = (outcome: string, count: number) =>
      count > 0 && metrics.add('onebyte_probes_total', count, { outcome });
    const abstained = mine.filter((byte) => byte === 0).length;
    probes('abstained', abstained);
    probes('committed', mine.length - abstained);
    if (mine.length === 0) probes(asked.doneAt === null ? 'abandoned' : 'missed', asked.count);
    if (asked.doneAt !== null) this.#phase('wait', now - asked.doneAt);
  }

  #phase(phase: string, ms: number): void {
    this.#metrics.observe('onebyte_round_phase_seconds', ms / 1000, { phase });
  }

  #gauges(state: MachineState): void {
    const { ledger, seq, target, probes } = state;
    const metrics = this.#metrics;
    metrics.set('onebyte_joined', isIn(state) ? 1 : 0);
    metrics.set('onebyte_members', ledger.members.length);
    metrics.set('onebyte_round', ledger.round);
    if (ledger.job !== null) metrics.set('onebyte_rounds_planned', totalRounds(ledger.job));
    if (!Number.isNaN(ledger.loss)) metrics.set('onebyte_loss', ledger.loss);
    if (probes !== null) metrics.set('onebyte_probes_per_round', probes.count);
    metrics.set('onebyte_log_sequence', seq);
    if (target !== null) metrics.set('onebyte_log_target', target);
    for (const split of SPLITS) {
      const last = ledger.evaluations[split]?.last;
      if (last === undefined) continue;
      metrics.set('onebyte_evaluation_loss', last.loss, { split });
      metrics.set('onebyte_evaluation_accuracy', last.accuracy, { split });
    }
  }
}

function isIn({ ballot }: MachineState): boolean {
  return ballot !== null && ballot.index >= 0;
}
