import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Finished } from '../../cli/run/results.ts';
import { readSafetensors } from '../../worker/model/safetensors.ts';
import { RESULT_KEYS, resultOf, Sandbox } from './sandbox.ts';

interface Replay {
  readonly rounds: number;
  readonly digest: string;
  readonly compared: number;
  readonly mismatch: unknown;
  readonly truncated: unknown;
  readonly ended: boolean;
}

async function replayed(sandbox: Sandbox, journal: string, ...args: string[]): Promise<Replay> {
  const { code, stdout, stderr } = await sandbox.onebyte('replay', journal, '--json', ...args);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Replay;
}

/** Runs a plan and holds it to its replay. */
async function runs(t: TestContext, spec: object, method: object, args: string[] = []) {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job({ ...spec }, { ...method });
  const result = await sandbox.run(job, '--out', sandbox.path('run'), ...args);
  const again = await replayed(sandbox, result.journal);
  assert.equal(again.digest, result.digest);
  assert.equal(again.rounds, result.rounds);
  assert.equal(again.ended, true);
  assert.equal(again.truncated, null);
  return { sandbox, result };
}

const matrices = ['query', 'value', 'up'];

test('a run leaves its files, prints the documented result last, and a replay meets its digest', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  const ended = await sandbox.onebyte('run', job, '--json');
  const result = resultOf(ended);
  assert.deepEqual(Object.keys(result), RESULT_KEYS);
  assert.equal(ended.stdout.trimEnd().split('\n').length, 1, 'progress goes to stderr');
  assert.equal(result.name, 'tiny');
  assert.equal(result.rounds, 12);
  assert.equal(result.workers, 2);
  assert.match(result.digest, /^[0-9a-f]{64}$/);
  assert.equal(result.journal, 'runs/tiny/journal.onebyte');
  assert.deepEqual(Object.keys(result.loss), ['before', 'after']);
  assert.deepEqual(Object.keys(result.metric), ['name', 'before', 'after']);
  assert.equal(result.metric.name, 'accuracy');
  assert.ok(result.payloadBytes > 0 && result.payloadBytes <= 12 * 2 * 4);
  assert.ok(result.wireBytes > result.payloadBytes);
  const journal = await readFile(sandbox.path(result.journal));
  assert.equal(result.journalBytes, journal.length);
  assert.deepEqual(JSON.parse(await readFile(sandbox.path('runs/tiny/result.json'), 'utf8')), result);
  const files = (await readdir(sandbox.path('runs/tiny'))).sort();
  assert.deepEqual(files, [
    'base.json',
    'journal.onebyte',
    'log.bin',
    'metrics.jsonl',
    'model',
    'report.html',
    'result.json',
  ]);
  const metrics = (await readFile(sandbox.path('runs/tiny/metrics.jsonl'), 'utf8')).trimEnd().split('\n');
  assert.equal(metrics.length, 13, 'twelve rounds and the final evaluation');

  assert.equal((await replayed(sandbox, result.journal)).digest, result.digest);
  const text = await sandbox.onebyte('replay', 'runs/tiny');
  assert.equal(text.code, 0);
  assert.match(text.stdout, /verified: 2 of 2 digests met/);
  assert.ok(text.stdout.includes(`digest ${result.digest}`));
});

test('a replay up to a round gives the state there, and writes the model of that state', async (t) => {
  const { sandbox, result } = await runs(t, {}, {});
  const start = await replayed(sandbox, result.journal, '--to', '0');
  assert.equal(start.rounds, 0);
  const middle = await replayed(sandbox, result.journal, '--to', '5', '--out', sandbox.path('middle'));
  assert.equal(middle.rounds, 5);
  assert.notEqual(middle.digest, start.digest);
  assert.notEqual(middle.digest, result.digest);
  const all = await replayed(sandbox, result.journal, '--to', '12', '--out', sandbox.path('end'));
  assert.equal(all.digest, result.digest);
  const head = async (folder: string) => {
    const file = readSafetensors(await readFile(sandbox.path(folder, 'model.safetensors')), folder);
    return [...file.get('classifier.weight')!.data];
  };
  assert.notDeepEqual(await head('middle'), await head('end'));
  assert.deepEqual(await head('end'), await head('run/model'));
});

test('a journal tells people and programs what is in it', async (t) => {
  const { sandbox, result } = await runs(t, {}, {});
  const text = await sandbox.onebyte('journal', sandbox.path('run'));
  assert.equal(text.code, 0);
  for (const line of [
    /^job {8}tiny /m,
    /12 rounds, (\d+) probes in \1 bytes/,
    /worker-0 .* slot \d, round 0 to the end/,
    /ended {6}after 12 rounds, by rounds/,
    new RegExp(`round {5}12 {2}${result.digest} {2}end`),
  ])
    assert.match(text.stdout, line);
  const json = await sandbox.onebyte('journal', result.journal, '--json');
  const summary = JSON.parse(json.stdout);
  assert.equal(summary.name, 'tiny');
  assert.equal(summary.bytes, result.journalBytes);
  assert.equal(summary.totals.payloadBytes, result.payloadBytes);
  assert.equal(summary.members.length, 2);
  assert.equal(summary.digests.at(-1).digest, result.digest);
});

test('exports are what other tools read: safetensors and ONNX of a full run', async (t) => {
  const { sandbox } = await runs(
    t,
    {},
    { plan: [{ scope: { type: 'full', layers: '2', matrices }, rounds: 6 }] },
  );
  const out = (name: string) => sandbox.path(name);
  for (const format of ['safetensors', 'onnx']) {
    const args = ['export', out('run'), '--format', format, '--out', out(format)];
    assert.equal((await sandbox.onebyte(...args)).code, 0);
  }
  const weights = async (folder: string) =>
    readSafetensors(await readFile(sandbox.path(folder, 'model.safetensors')), folder);
  const base = await weights('model');
  const tuned = await weights('safetensors');
  assert.deepEqual(new Set(tuned.keys()), new Set([...base.keys(), 'classifier.weight', 'classifier.bias']));
  const changed = [...base.keys()].filter(
    (name) => Buffer.compare(bytesOf(base.get(name)!.data), bytesOf(tuned.get(name)!.data)) !== 0,
  );
  const layer = (part: string) => ['weight', 'bias'].map((kind) => `encoder.layer.2.${part}.${kind}`);
  assert.deepEqual(changed.sort(), [
    // The layer's normalisations go with it, and biases with their matrices.
    ...layer('attention.output.LayerNorm').sort(),
    ...layer('attention.self.query').sort(),
    ...layer('attention.self.value').sort(),
    ...layer('intermediate.dense').sort(),
    ...layer('output.LayerNorm').sort(),
  ]);
  const session = await InferenceSession.create(sandbox.path('onnx', 'model.onnx'));
  const ids = BigInt64Array.of(2n, 4n, 6n, 3n);
  const { logits } = await session.run({
    input_ids: new Tensor('int64', ids, [1, 4]),
    attention_mask: new Tensor('int64', new BigInt64Array(4).fill(1n), [1, 4]),
  });
  assert.deepEqual(logits!.dims, [1, 2]);
  assert.ok([...(logits!.data as Float32Array)].every(Number.isFinite));
  await session.release();
});

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

test('a lora run is a PEFT adapter; any other is refused as one', async (t) => {
  const plan = [{ scope: { type: 'lora', layers: '1-2', rank: 2, alpha: 4, matrices }, rounds: 6 }];
  const { sandbox } = await runs(t, {}, { plan });
  const ended = await sandbox.onebyte(
    'export',
    sandbox.path('run'),
    '--format',
    'peft',
    '--out',
    sandbox.path('a'),
  );
  assert.equal(ended.code, 0, ended.stderr);
  const config = JSON.parse(await readFile(sandbox.path('a', 'adapter_config.json'), 'utf8'));
  assert.equal(config.peft_type, 'LORA');
  assert.equal(config.r, 2);
  assert.equal(config.lora_alpha, 4);
  const adapter = readSafetensors(await readFile(sandbox.path('a', 'adapter_model.safetensors')), 'adapter');
  assert.equal(adapter.size, 2 * 2 * 3);
  assert.deepEqual(
    adapter.get('base_model.model.encoder.layer.1.intermediate.dense.lora_B.weight')!.dims,
    [48, 2],
  );

  const head = await sandbox.job({}, {}, 'head.yaml');
  await sandbox.run(head, '--out', sandbox.path('head'));
  const refused = await sandbox.onebyte(
    'export',
    sandbox.path('head'),
    '--format',
    'peft',
    '--out',
    sandbox.path('b'),
  );
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /^error EXPORT_UNSUPPORTED: /);
  assert.ok(!existsSync(sandbox.path('b')));
});

const activation = { type: 'activation', rows: 16, calibration: { uri: 'calibration.jsonl' } };

for (const [name, method] of Object.entries({
  'two scopes one after the other, the second a subspace of two epochs over an activation basis': {
    plan: [
      { scope: { type: 'head' }, rounds: 6 },
      { scope: { type: 'subspace', layers: '1-2', rank: 2, epochs: 2, basis: activation }, rounds: 8 },
    ],
  },
  'lora with the pairs of two sides': {
    plan: [{ scope: { type: 'lora', layers: 'all', rank: 2, matrices }, rounds: 8 }],
    estimator: { radius: 0.01, batch: 8, probes: { min: 1, max: 4 }, sides: 2 },
  },
  'full weights with momentum and the sign alone': {
    plan: [{ scope: { type: 'full', layers: '2' }, rounds: 8 }],
    codec: 'sign1',
    rule: { type: 'sgd', learningRate: 0.01, momentum: 0.9, schedule: 'cosine' },
  },
  'a pool of eight seeds, drawn by what they did so far': {
    plan: [{ scope: { type: 'subspace', layers: '2', rank: 2, basis: { type: 'random' } }, rounds: 10 }],
    seedPool: 8,
    seedDraw: 'differentiated',
  },
  'merges of a random basis, then lora on what they made, with momentum': {
    plan: [
      {
        scope: { type: 'subspace', layers: '1-2', rank: 2, epochs: 2, basis: { type: 'random' } },
        rounds: 6,
      },
      { scope: { type: 'lora', layers: '1-2', rank: 2, matrices }, rounds: 6 },
    ],
    rule: { momentum: 0.5, weighting: 'examples' },
  },
}))
  test(`a replay meets the digest of ${name}`, async (t) => {
    const { sandbox, result } = await runs(t, {}, method);
    // Whole weights by way of the export, whatever the scope: what the run wrote is what a replay writes.
    await replayed(sandbox, result.journal, '--out', sandbox.path('again'));
    const [a, b] = await Promise.all(
      ['run/model', 'again'].map((folder) => readFile(sandbox.path(folder, 'model.safetensors'))),
    );
    assert.deepEqual(a, b);
  });

test('workers, fields and the directory can be given on the command line', async (t) => {
  const { sandbox, result } = await runs(t, {}, {}, [
    '--workers',
    '3',
    '--set',
    'spec.method.plan[0].rounds=7',
    '--set',
    'seed=11',
  ]);
  assert.equal(result.workers, 3);
  assert.equal(result.rounds, 7);
  assert.equal(result.journal, sandbox.path('run', 'journal.onebyte'));
  const summary = JSON.parse((await sandbox.onebyte('journal', result.journal, '--json')).stdout);
  assert.deepEqual(summary.members.map(({ name }: { name: string }) => name).sort(), [
    'worker-0',
    'worker-1',
    'worker-2',
  ]);
});

test('each group of a job has workers of its own that read its data', async (t) => {
  const source = (name: string) => [{ name, uri: `${name}.jsonl` }];
  const groups = [
    { name: 'a', replicas: 1, data: { train: source('train'), validation: source('validation') } },
    { name: 'b', replicas: 2, data: { train: source('validation'), validation: source('test') } },
  ];
  const { sandbox, result } = await runs(t, { data: undefined, groups, replicas: undefined }, {});
  const summary = JSON.parse((await sandbox.onebyte('journal', result.journal, '--json')).stdout);
  assert.deepEqual(
    summary.members
      .map(({ name, group, examples }: Record<string, unknown>) => [name, group, examples])
      .sort(),
    [
      ['a-0', 'a', 48],
      ['b-0', 'b', 16],
      ['b-1', 'b', 16],
    ],
  );
});

test('without --out, a second run of a finished job gets the next directory', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  const first = await sandbox.run(job);
  const second = await sandbox.run(job);
  assert.deepEqual(
    [first, second].map(({ journal }: Finished) => journal),
    ['runs/tiny/journal.onebyte', 'runs/tiny-2/journal.onebyte'],
  );
});

test('a run stops where the job says: after rounds, after forwards, at a target', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  const run = (name: string, set: string) => sandbox.run(job, '--out', sandbox.path(name), '--set', set);
  assert.equal((await run('rounds', 'stop.rounds=5')).rounds, 5);
  // A round of two members with four one-sided probes each is ten forwards.
  const { rounds, forwards } = await run('forwards', 'stop.forwards=35');
  assert.ok(rounds < 12 && forwards >= 35, `${rounds} rounds, ${forwards} forwards`);
  // The first evaluation is the first round's.
  assert.equal((await run('target', 'stop.target={metric: loss, value: 10}')).rounds, 1);
});
