import assert from 'node:assert/strict';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { replay } from '../../cli/replay.ts';
import { jobNames } from '../../worker/nats/names.ts';
import { createStream } from '../../worker/nats/stream.ts';
import { TestJob } from '../nats/job.ts';
import { NatsSystem } from '../nats/server.ts';
import { missing } from '../tools/tool.ts';
import { Lab } from './lab.ts';

const skip = await missing('nats-server');

describe('onebyte export-run', { skip }, () => {
  let system: NatsSystem;
  let lab: Lab;
  let job: TestJob;
  before(async () => {
    [system, lab] = await Promise.all([NatsSystem.start(), Lab.make()]);
    job = await TestJob.make(system, 1 << 24);
  });
  after(async () => {
    await job?.close();
    await system?.end();
    await lab?.remove();
  });

  const calibration = { name: 'public', uri: 'data/calibration.jsonl' };
  const scope = { type: 'subspace', rank: 2, basis: { type: 'activation', rows: 16, calibration } };
  const out = (name: string) => lab.path(name);
  const uri = (name: string) => `file://${out(name)}`;

  it('waits for the end of the run, then writes journal and model, from which anybody gets the digest of the workers', async () => {
    // A basis that only who began the run could make, of text that nobody else has.
    await copyFile(lab.path('data/0-train.jsonl'), lab.path('data/calibration.jsonl'));
    await lab.job({ scope, output: { uri: uri('out'), formats: ['safetensors', 'onnx'] } });
    const exporter = lab.exporter(system, job.names.uid);
    await exporter.said(/copying the journal/);
    assert.deepEqual(await readdir(out('out')).catch(() => []), []);
    const workers = [0, 1].map((party) => lab.worker(system, job.names.uid, party));
    for (const worker of workers) assert.equal((await worker.ended).code, 0, worker.stderr);
    assert.equal((await exporter.ended).code, 0, exporter.stderr);
    const digest = (await exporter.said(/the export is complete/)).digest;
    assert.equal(digest, workers[0]!.lines.find(({ msg }) => /has ended/.test(msg))!.digest);
    const names = (await readdir(out('out'))).sort();
    assert.deepEqual(names, ['artifacts', 'journal.onebyte', 'onnx', 'safetensors']);
    assert.equal((await readdir(join(out('out'), 'artifacts'))).length, 1);
    assert.ok((await readdir(join(out('out'), 'onnx'))).includes('model.onnx'));
    const replayed = await replay(join(out('out'), 'journal.onebyte'), { model: lab.path('model') });
    assert.deepEqual([replayed.mismatch, replayed.digest], [null, digest]);
  });

  it('written again it is the same, byte for byte', async () => {
    const before = await readFile(join(out('out'), 'safetensors', 'model.safetensors'));
    const exporter = lab.exporter(system, job.names.uid);
    assert.equal((await exporter.ended).code, 0, exporter.stderr);
    assert.deepEqual(await readFile(join(out('out'), 'safetensors', 'model.safetensors')), before);
  });

  it('a place that it may not write to is named in its last words, with exit code 2', async () => {
    await writeFile(out('taken'), 'a file');
    await lab.job({ scope, output: { uri: uri('taken') } });
    const exporter = lab.exporter(system, job.names.uid);
    assert.equal((await exporter.ended).code, 2);
    assert.match(await lab.lastWords('lab-export'), /^FILE_UNWRITABLE: .*taken/);
    await rm(out('taken'));
  });

  it('a bucket gets the same files, the journal last', async () => {
    const got = new Map<string, number>();
    const server = createServer(async (request, response) => {
      let bytes = 0;
      for await (const chunk of request) bytes += (chunk as Buffer).length;
      got.set(request.url!, bytes);
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    await lab.job({ scope, output: { uri: 's3://models/lab' } });
    const { port } = server.address() as AddressInfo;
    const exporter = lab.exporter(system, job.names.uid, {
      AWS_ACCESS_KEY_ID: 'id',
      AWS_SECRET_ACCESS_KEY: 'secret',
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
    });
    assert.equal((await exporter.ended).code, 0, exporter.stderr);
    server.closeAllConnections();
    server.close();
    assert.equal([...got.keys()].at(-1), '/models/lab/journal.onebyte');
    const written = await readFile(join(out('out'), 'safetensors', 'model.safetensors'));
    assert.equal(got.get('/models/lab/safetensors/model.safetensors'), written.length);
    assert.equal(
      got.get('/models/lab/journal.onebyte'),
      (await readFile(join(out('out'), 'journal.onebyte'))).length,
    );
  });

  it('nothing but its own folder is removed, whatever the UID of the job says', async () => {
    await lab.job({ output: { uri: uri('other') } });
    await mkdir(out('precious'));
    const uid = '../../precious';
    await createStream(await job.connect(), jobNames(uid), { maxBytes: 1 << 20, storeBytes: 0 });
    const exporter = lab.exporter(system, uid);
    await exporter.said(/copying the journal/);
    exporter.signal('SIGTERM');
    await exporter.ended;
    assert.deepEqual(await readdir(out('precious')), []);
  });

  it('a job without an output is refused', async () => {
    await lab.job();
    const exporter = lab.exporter(system, job.names.uid);
    assert.equal((await exporter.ended).code, 2);
    assert.match(await lab.lastWords('lab-export'), /^JOB_INVALID: the job has no output/);
  });
});
