import assert from 'node:assert/strict';
import { copyFile, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { writeSafetensors } from '../../worker/model/safetensors.ts';
import { tinyConfig, tinyWeights } from '../model/tiny.ts';
import { type Ended, resultOf, rows, Sandbox, sha256 } from './sandbox.ts';

interface Told {
  readonly exit: number;
  readonly code: string;
  readonly says: RegExp;
  readonly field?: RegExp;
  readonly cause?: RegExp;
}

/** Holds an error to what people are to be told: code, what is wrong, what to do; no stack trace, nothing on stdout. */
function refused({ code, stdout, stderr }: Ended, told: Told): void {
  assert.equal(code, told.exit, stderr);
  const lines = stderr.split('\n');
  const at = lines.findIndex((line) => line.startsWith('error '));
  assert.ok(at >= 0, stderr);
  assert.ok(lines[at]!.startsWith(`error ${told.code}: `), stderr);
  const text = lines.slice(at).join('\n');
  assert.match(lines[at]!, told.says);
  if (told.field) assert.match(text, told.field);
  if (told.cause) assert.match(text, new RegExp(`^ {2}cause: .*${told.cause.source}`, 'm'));
  assert.match(text, /^ {2}what to do: .+$/m);
  assert.doesNotMatch(stderr, /^\s+at .*\d+:\d+/m);
  assert.doesNotMatch(stderr, /INTERNAL/);
  assert.equal(stdout, '');
}

test('a command that is not one says what is wrong with it and ends with 2', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  for (const [args, says] of [
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['run', job, '--frobnicate'], /unknown option '--frobnicate'/],
    [['run'], /missing required argument 'job'/],
    [['run', job, '--workers', '0'], /'0' is invalid/],
    [['replay', 'x', '--to', '-1'], /'-1' is invalid/],
    [
      ['export', 'x', '--out', 'y', '--format', 'pickle'],
      /'pickle' is invalid. allowed: peft, safetensors, onnx, gguf, gguf-f32/,
    ],
    [['export', 'x', '--format', 'onnx'], /required option '--out <dir>' not specified/],
  ] as const)
    refused(await sandbox.onebyte(...args), { exit: 2, code: 'COMMAND_INVALID', says });
});

test('help is no error, and no command at all shows it', async (t) => {
  const sandbox = await Sandbox.create(t);
  const help = await sandbox.onebyte('run', '--help');
  assert.equal(help.code, 0);
  assert.match(help.stdout, /--workers <n>/);
  const none = await sandbox.onebyte();
  assert.equal(none.code, 2);
  assert.match(none.stderr, /Usage: onebyte/);
  assert.match((await sandbox.onebyte('--version')).stdout, /^\d+\.\d+\.\d+$/m);
});

test('a job with mistakes is refused with a line for each, by run and by validate alike', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job({ seed: -1, replicas: 'many' }, { codec: 'utf8' });
  const run = await sandbox.onebyte('run', job);
  refused(run, { exit: 2, code: 'JOB_INVALID', says: /job\.yaml has 3 mistakes/ });
  const validate = await sandbox.onebyte('validate', job);
  assert.equal(validate.code, 2);
  assert.equal(validate.stderr, '');
  const lines = validate.stdout.trimEnd().split('\n');
  assert.equal(lines.length, 3);
  for (const line of lines) {
    assert.match(line, /^.*job\.yaml:\d+:\d+: spec\.[a-z.]+: .+ \(allowed: .+\)$/);
    assert.ok(run.stderr.includes(line));
  }
  const none = await sandbox.onebyte('run', sandbox.path('none.yaml'));
  refused(none, { exit: 2, code: 'FILE_UNREADABLE', says: /none\.yaml cannot be read/, cause: /ENOENT/ });
  await writeFile(sandbox.path('bad.yaml'), 'a: [b\nc: {');
  refused(await sandbox.onebyte('run', sandbox.path('bad.yaml')), {
    exit: 2,
    code: 'JOB_INVALID',
    says: /bad\.yaml has/,
  });
  const few = await sandbox.job({ groups: [{ name: 'a', replicas: 1 }] }, {}, 'groups.yaml');
  refused(await sandbox.onebyte('run', few, '--workers', '1'), {
    exit: 2,
    code: 'JOB_INVALID',
    says: /1 workers leave nobody for the data of: a/,
    field: /field: --workers/,
  });
});

test('data that cannot be used are refused with their source, row and field', async (t) => {
  const sandbox = await Sandbox.create(t);
  await writeFile(sandbox.path('empty.jsonl'), '');
  await writeFile(sandbox.path('broken.jsonl'), '{"text": "a", "label": "pos"}\n{"text": \n');
  await writeFile(sandbox.path('odd.jsonl'), `${rows(3, 5)}{"text": "a film", "label": "fine"}\n`);
  await writeFile(sandbox.path('short.jsonl'), '{"text": "a film", "label": "pos"}\n{"label": "pos"}\n');
  const job = await sandbox.job();
  let out = 0;
  for (const [file, code, says, field] of [
    ['empty.jsonl', 'DATA_EMPTY', /source 'here' has no rows: empty\.jsonl/],
    ['absent.jsonl', 'DATA_MISSING', /source 'here': .*absent\.jsonl does not exist/],
    ['broken.jsonl', 'DATA_INVALID', /broken\.jsonl/],
    ['odd.jsonl', 'LABEL_UNKNOWN', /label "fine" in row 4 of source 'here'/, /field: task\.labels/],
    ['short.jsonl', 'ROW_FIELD_MISSING', /row 2 of source 'here'/],
    ['model', 'DATA_MISSING', /model holds no data file/],
    ['job.yaml', 'DATA_FORMAT_UNKNOWN', /job\.yaml/],
  ] as const) {
    const set = `spec.data.train=[{name: here, uri: ${file}}]`;
    const ended = await sandbox.onebyte('run', job, '--out', sandbox.path(`o${out++}`), '--set', set);
    refused({ ...ended, stdout: '', stderr: ended.stderr }, { exit: 2, code, says, ...(field && { field }) });
  }
});

test('a model that cannot be used is refused: digest, family, files, weights', async (t) => {
  const sandbox = await Sandbox.create(t);
  const other = `${'0'.repeat(63)}1`;
  const run = async (model: object, method: object = {}) => {
    const job = await sandbox.job({ model }, { ...method });
    const ended = await sandbox.onebyte('run', job, '--out', sandbox.path('out'));
    return { ...ended, stdout: '' };
  };
  const { sha256: digest } = sandbox;
  refused(await run({ uri: 'model', sha256: other }), {
    exit: 2,
    code: 'DIGEST_MISMATCH',
    says: new RegExp(`${digest}, not ${other}`),
    field: /field: model\.sha256/,
  });
  refused(await run({ uri: 'nowhere', sha256: digest }), {
    exit: 2,
    code: 'MODEL_FILE_MISSING',
    says: /nowhere has no config\.json/,
  });
  await cp(sandbox.model, sandbox.path('odd'), { recursive: true });
  await writeFile(sandbox.path('odd/config.json'), JSON.stringify({ ...tinyConfig(), model_type: 'mamba' }));
  refused(await run({ uri: 'odd', sha256: digest }), {
    exit: 2,
    code: 'MODEL_FAMILY_UNKNOWN',
    says: /the model's family is "mamba"; known: bert/,
  });
  await writeFile(sandbox.path('odd/config.json'), '{');
  refused(await run({ uri: 'odd', sha256: digest }), {
    exit: 2,
    code: 'MODEL_CONFIG_INVALID',
    says: /config\.json is not JSON/,
  });
  const garbage = Buffer.from('no safetensors');
  await copyFile(sandbox.path('model/config.json'), sandbox.path('odd/config.json'));
  await writeFile(sandbox.path('odd/model.safetensors'), garbage);
  refused(await run({ uri: 'odd', sha256: sha256(garbage) }), {
    exit: 2,
    code: 'MODEL_FILE_INVALID',
    says: /.*/,
  });
  const weights = tinyWeights();
  weights.get('encoder.layer.2.output.dense.bias')!.data[3] = Number.POSITIVE_INFINITY;
  const infinite = writeSafetensors(weights);
  await writeFile(sandbox.path('odd/model.safetensors'), infinite);
  const plan = [{ scope: { type: 'full', layers: '2' }, rounds: 3 }];
  refused(await run({ uri: 'odd', sha256: sha256(infinite) }, { plan }), {
    exit: 2,
    code: 'MODEL_FILE_INVALID',
    says: /a weight of encoder\.layer\.2\.output\.dense\.bias, which is to be trained, is Infinity/,
  });
  refused(
    await run(
      { uri: 'model', sha256: digest },
      { plan: [{ scope: { type: 'full', layers: '7' }, rounds: 3 }] },
    ),
    {
      exit: 2,
      code: 'PLAN_INVALID',
      says: /layers/,
      field: /method\.plan\[0\]\.scope\.layers/,
    },
  );
});

test('a loss that is no number abstains: the run says so, moves nothing and ends', async (t) => {
  const sandbox = await Sandbox.create(t);
  const weights = tinyWeights();
  weights.get('encoder.layer.1.output.dense.bias')!.data[3] = Number.NaN;
  const file = writeSafetensors(weights);
  await writeFile(sandbox.path('model/model.safetensors'), file);
  const job = await sandbox.job({ model: { uri: 'model', sha256: sha256(file) } });
  const ended = await sandbox.onebyte('run', job, '--json', '--out', sandbox.path('run'));
  const result = resultOf(ended);
  assert.equal(result.rounds, 12);
  assert.deepEqual(result.loss, { before: null, after: null });
  assert.equal(ended.stderr.match(/no loss was a number, so no probe counts and nothing moves/g)?.length, 1);
  const replay = async (to: string) =>
    JSON.parse((await sandbox.onebyte('replay', sandbox.path('run'), '--json', '--to', to)).stdout);
  assert.equal((await replay('12')).digest, result.digest);
  assert.equal((await replay('0')).digest, result.digest);
  const journal = await sandbox.onebyte('journal', sandbox.path('run'), '--json');
  assert.equal(JSON.parse(journal.stdout).totals.rounds, 12);
});

test('numbers far beyond sense do not end a run: they only teach it nothing', async (t) => {
  const sandbox = await Sandbox.create(t);
  for (const [n, radius, learningRate] of [
    [0, 10, 1e6],
    [1, 1e-8, 1e6],
  ] as const) {
    const job = await sandbox.job(
      {},
      {
        plan: [{ scope: { type: 'full', layers: '2' }, rounds: 10 }],
        estimator: { radius, batch: 8, probes: { min: 1, max: 4 } },
        rule: { learningRate },
      },
    );
    const { digest, journal } = await sandbox.run(job, '--out', sandbox.path(`r${n}`));
    const replay = await sandbox.onebyte('replay', journal, '--json');
    assert.equal(JSON.parse(replay.stdout).digest, digest);
  }
});

test('texts that are too long are cut, and the run says how many', async (t) => {
  const sandbox = await Sandbox.create(t);
  const long = JSON.stringify({ text: 'good film '.repeat(40), label: 'pos' });
  await writeFile(sandbox.path('train.jsonl'), `${rows(20, 9)}${long}\n${long}\n`);
  const job = await sandbox.job();
  const ended = await sandbox.onebyte('run', job, '--json', '--out', sandbox.path('run'));
  resultOf(ended);
  for (const name of ['worker-0', 'worker-1'])
    assert.ok(
      ended.stderr.includes(`worker ${name}: 2 texts were longer than task.maxTokens and cut`),
      ended.stderr,
    );
});

test('a place that cannot be written to is named, and nothing hangs', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  await writeFile(sandbox.path('file'), '');
  const places = [sandbox.path('file'), sandbox.path('file/below')];
  // Below /proc the system answers as if the folder above were missing.
  if (process.platform === 'linux') places.push('/proc/onebyte/run');
  const { journal } = await sandbox.run(job, '--out', sandbox.path('run'));
  for (const place of places) {
    const told: Told = { exit: 2, code: 'FILE_UNWRITABLE', says: / cannot be written$/, cause: /E[A-Z]+/ };
    refused(await sandbox.onebyte('run', job, '--out', place), told);
    refused(await sandbox.onebyte('replay', journal, '--out', place), told);
    refused(await sandbox.onebyte('export', journal, '--format', 'onnx', '--out', place), told);
  }
});

test('a directory of an unfinished run over NATS is left alone by a run without it', async (t) => {
  const sandbox = await Sandbox.create(t);
  const job = await sandbox.job();
  const place = sandbox.path('runs', 'tiny');
  await mkdir(place, { recursive: true });
  const kept = { 'nats.json': '{"uid":"u","prefix":"onebyte"}', 'journal.onebyte': 'of many rounds' };
  for (const [name, text] of Object.entries(kept)) await writeFile(sandbox.path('runs', 'tiny', name), text);
  refused(await sandbox.onebyte('run', job, '--out', place), {
    exit: 2,
    code: 'RUN_OTHER_JOB',
    says: /tiny holds an unfinished run over NATS/,
    field: /what to do: .*--nats/,
  });
  const { journal } = await sandbox.run(job);
  assert.match(journal, /tiny-2/);
  assert.deepEqual((await readdirOf(place)).sort(), Object.keys(kept).sort());
  assert.equal(await readFile(sandbox.path('runs', 'tiny', 'journal.onebyte'), 'utf8'), 'of many rounds');
});

test('a journal is refused without its model or its artifacts, and with those of another', async (t) => {
  const sandbox = await Sandbox.create(t);
  const basis = { rows: 16, calibration: { uri: 'calibration.jsonl' } };
  const plan = [{ scope: { type: 'subspace', layers: '2', rank: 2, basis }, rounds: 4 }];
  const { journal, digest } = await sandbox.run(
    await sandbox.job({}, { plan }),
    '--out',
    sandbox.path('run'),
  );
  await mkdir(sandbox.path('moved'));
  const moved = sandbox.path('moved/journal.onebyte');
  await copyFile(journal, moved);
  refused(await sandbox.onebyte('replay', moved), {
    exit: 2,
    code: 'MODEL_FILE_MISSING',
    says: /moved\/model has no config\.json/,
    field: /what to do: give the folder of the base model with --model/,
  });
  await cp(sandbox.model, sandbox.path('other'), { recursive: true });
  const weights = tinyWeights();
  weights.get('encoder.layer.0.output.dense.bias')!.data[0] = 0.25;
  await writeFile(sandbox.path('other/model.safetensors'), writeSafetensors(weights));
  refused(await sandbox.onebyte('replay', journal, '--model', sandbox.path('other')), {
    exit: 2,
    code: 'MODEL_MISMATCH',
    says: /the run began with another model/,
  });
  const lost = sandbox.start(['replay', moved, '--model', sandbox.model], {
    ONEBYTE_CACHE: sandbox.path('empty'),
  });
  refused(await lost.ended, {
    exit: 2,
    code: 'ARTIFACT_MISSING',
    says: /the run's basis [0-9a-f]{64} is in none of/,
  });
  // The cache of the machine that made the run has both.
  const found = await sandbox.onebyte('replay', moved, '--model', sandbox.model, '--json');
  assert.equal(JSON.parse(found.stdout).digest, digest);
  const [name] = await readdirOf(sandbox.path('run/artifacts'));
  await writeFile(sandbox.path('run/artifacts', name!), 'another');
  refused(await sandbox.onebyte('replay', journal), {
    exit: 2,
    code: 'DIGEST_MISMATCH',
    says: new RegExp(name!),
  });
});

async function readdirOf(path: string): Promise<string[]> {
  const { readdir } = await import('node:fs/promises');
  return readdir(path);
}

test('what is no journal is refused by every command that reads one', async (t) => {
  const sandbox = await Sandbox.create(t);
  await writeFile(sandbox.path('text'), 'no journal at all');
  await writeFile(sandbox.path('empty'), '');
  for (const command of [['replay'], ['journal'], ['export', '--format', 'onnx', '--out', 'x']]) {
    const ask = (path: string) => sandbox.onebyte(command[0]!, sandbox.path(path), ...command.slice(1));
    for (const name of ['text', 'empty'])
      refused(await ask(name), {
        exit: 3,
        code: 'JOURNAL_CORRUPT',
        says: /this is no journal/,
        field: new RegExp(`field: .*${name}`),
      });
    refused(await ask('none'), {
      exit: 2,
      code: 'FILE_UNREADABLE',
      says: /none cannot be read/,
      cause: /ENOENT/,
    });
  }
  const newer = Buffer.from(await readFile(await finished(sandbox)));
  newer[6] = 9;
  await writeFile(sandbox.path('newer'), newer);
  refused(await sandbox.onebyte('replay', sandbox.path('newer')), {
    exit: 2,
    code: 'JOURNAL_VERSION',
    says: /a journal of format version 9; this program reads version 1/,
  });
});

async function finished(sandbox: Sandbox): Promise<string> {
  return (await sandbox.run(await sandbox.job(), '--out', sandbox.path('run'))).journal;
}

test('a journal that was cut off replays to its last whole record, says so, and ends with 0', async (t) => {
  const sandbox = await Sandbox.create(t);
  const whole = await readFile(await finished(sandbox));
  await writeFile(sandbox.path('cut'), whole.subarray(0, whole.length - 60));
  const text = await sandbox.onebyte('replay', sandbox.path('cut'), '--model', sandbox.model);
  assert.equal(text.code, 0, text.stderr);
  assert.match(
    text.stdout,
    /cut off: the last \d+ bytes are no whole record; everything before them was applied/,
  );
  assert.match(text.stdout, /the run had not ended when this journal was written/);
  const json = await sandbox.onebyte('replay', sandbox.path('cut'), '--model', sandbox.model, '--json');
  const { rounds, truncated, ended, mismatch } = JSON.parse(json.stdout);
  assert.ok(rounds > 0 && rounds <= 12);
  assert.ok(truncated.bytes > 0);
  assert.equal(ended, false);
  assert.equal(mismatch, null);
});
