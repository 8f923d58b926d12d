import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { OnebyteError } from '../../worker/errors.ts';
import { LogFull, LogUnavailable } from '../../worker/log/log.ts';
import { NATS_VARIABLES } from '../../worker/nats/config.ts';
import { unavailable } from '../../worker/nats/failure.ts';
import type { EnginePort } from '../../worker/round/engine-port.ts';
import { fatalOf, terminationMessage } from '../../worker/service/fatal.ts';
import { alive, ready, STEPPING_MS, startedUp, type Vitals } from '../../worker/service/health.ts';
import { SERVICE_VARIABLES } from '../../worker/service/settings.ts';
import { WatchedEngine } from '../../worker/service/watched-engine.ts';
import { StatelessEngine } from '../nats/null-engine.ts';

const WELL: Vitals = {
  starting: null,
  engineBusyMs: 10,
  engineBudgetMs: 1000,
  engineIdleMs: 0,
  connected: true,
  member: true,
  silentMs: 10,
  leaving: false,
};

describe('the health of a worker', () => {
  it('is ready when it takes part, and says what keeps it from that', () => {
    assert.deepEqual(ready(WELL), { ok: true, text: 'stepping' });
    const reasons: [Partial<Vitals>, RegExp][] = [
      [{ starting: 'opening the engine' }, /opening the engine/],
      [{ leaving: true }, /leaving/],
      [{ connected: false }, /not connected/],
      [{ member: false }, /not a member/],
      [{ silentMs: STEPPING_MS + 1, engineIdleMs: Number.POSITIVE_INFINITY }, /no record for 60 s/],
      [{ silentMs: STEPPING_MS + 1, engineIdleMs: STEPPING_MS + 1 }, /no record for 60 s/],
      [{ silentMs: 5 * STEPPING_MS, engineIdleMs: 4 * STEPPING_MS }, /no record for 300 s/],
      [{ engineBusyMs: 1001 }, /worked on one call/],
    ];
    for (const [change, text] of reasons) {
      const verdict = ready({ ...WELL, ...change });
      assert.equal(verdict.ok, false);
      assert.match(verdict.text, text);
    }
  });

  it('is ready while its engine works, and waits for the others as long as its own part suggests', () => {
    for (const change of [
      { silentMs: 10 * STEPPING_MS, engineBusyMs: 900 },
      { silentMs: 4 * STEPPING_MS, engineIdleMs: 3 * STEPPING_MS },
      { silentMs: STEPPING_MS, engineIdleMs: STEPPING_MS },
    ])
      assert.deepEqual(ready({ ...WELL, ...change }), { ok: true, text: 'stepping' });
  });

  it('lives whatever befalls its run, as long as its engine answers', () => {
    const bad = { connected: false, member: false, silentMs: 1e9, starting: 'waiting' };
    assert.equal(alive({ ...WELL, ...bad }).ok, true);
    assert.equal(alive({ ...WELL, engineBusyMs: 1001 }).ok, false);
    assert.equal(startedUp({ ...WELL, ...bad }).ok, false);
    assert.equal(startedUp(WELL).ok, true);
  });
});

describe('the engine that is watched', () => {
  it('counts from the last answer how long it has been busy, and times each call by itself', async () => {
    let now = 0;
    const answers: (() => void)[] = [];
    const slow: EnginePort = Object.assign(new StatelessEngine(), {
      commit: () => new Promise<void>((resolve) => answers.push(resolve)),
    });
    const times: [string, number][] = [];
    const watched = new WatchedEngine(
      slow,
      () => now,
      (phase, ms) => times.push([phase, ms]),
    );
    assert.deepEqual([watched.queue, watched.busyMs, watched.idleMs], [0, 0, Number.POSITIVE_INFINITY]);
    const record = { kind: 'end', round: 0, digest: '', reason: 'rounds' } as const;
    const calls = [0, 1].map(() => watched.commit(record, new Uint8Array()));
    now = 5;
    assert.deepEqual([watched.queue, watched.busyMs, watched.idleMs], [2, 5, 0]);
    answers[0]!();
    await calls[0];
    now = 12;
    assert.deepEqual([watched.queue, watched.busyMs], [1, 7]);
    answers[1]!();
    await calls[1];
    now = 20;
    assert.deepEqual([watched.queue, watched.busyMs, watched.idleMs], [0, 0, 8]);
    assert.deepEqual(times, [
      ['apply', 5],
      ['apply', 7],
    ]);
  });

  it('tells the time of directions from that of forward passes', async () => {
    let now = 0;
    const probed = { bytes: Uint8Array.of(1), lossSum: 1, lossCount: 1, directionSeconds: 0.003 };
    const engine: EnginePort = Object.assign(new StatelessEngine(), {
      probe: async () => {
        now += 10;
        return probed;
      },
    });
    const times: [string, number][] = [];
    const watched = new WatchedEngine(
      engine,
      () => now,
      (phase, ms) => times.push([phase, ms]),
    );
    const request = { round: 0, slot: 0, count: 1, roundChain: new Uint8Array(32) };
    assert.equal(await watched.probe(request, new AbortController().signal), probed);
    assert.deepEqual(times, [
      ['forward', 7],
      ['direction', 3],
    ]);
  });
});

describe('a fatal mistake', () => {
  it('has a code whatever it was', () => {
    const code = (error: unknown) => fatalOf(error).code;
    assert.equal(code(new OnebyteError('DATA_EMPTY', 'x')), 'DATA_EMPTY');
    assert.equal(code(new LogFull('x')), 'LOG_FULL');
    assert.equal(code(unavailable('x')), 'NATS_UNREACHABLE');
    assert.equal(fatalOf(unavailable('x')).remedy, unavailable('x').remedy);
    // Of a log on this machine's disk.
    assert.equal(code(new LogUnavailable('x')), 'INTERNAL');
    assert.equal(code(new TypeError('x')), 'INTERNAL');
    assert.equal(code('x'), 'INTERNAL');
  });

  it('fits into a termination message with its field and its remedy', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 6000 }), (text) => {
        const message = terminationMessage(
          new OnebyteError('DATA_EMPTY', text.repeat(3), { field: 'data', remedy: 'give some' }),
        );
        assert.ok(Buffer.byteLength(message) <= 4096);
        assert.ok(message.startsWith('DATA_EMPTY: '));
        assert.ok(message.endsWith('\nfield: data\nremedy: give some\n'));
      }),
    );
  });
});

describe('the variables of a worker', () => {
  it('are all in docs/worker.md', () => {
    const docs = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'worker.md'), 'utf8');
    const listed = [...docs.matchAll(/`(ONEBYTE_[A-Z_]+)`/g)].map(([, name]) => name);
    const known = [...Object.values(SERVICE_VARIABLES), ...Object.values(NATS_VARIABLES)];
    assert.deepEqual([...new Set(listed)].sort(), [...known].sort());
  });
});
