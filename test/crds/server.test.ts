/**
 * The same manifests against a real API server: it refuses what we refuse, where we refuse it, with the words of the
 * rule; and it fills in the same defaults.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { parseAllDocuments } from 'yaml';
import { SCHEMA } from '../../crds/schema.gen.ts';
import { validationsOf } from '../../crds/schema.ts';
import { checkJob, parseJobFile } from '../../crds/validate.ts';
import { type Cluster, clusterMissing, startCluster } from '../cluster/cluster.ts';

const skip = await clusterMissing();
const folder = join(import.meta.dirname, 'manifests');
const crd = readFileSync(join(import.meta.dirname, '../../crds/finetunejob.yaml'), 'utf8');
const JOBS = '/apis/onebyte.dev/v1alpha1/namespaces/default/finetunejobs';
const STRICT = 'dryRun=All&fieldValidation=Strict';

interface Answer {
  readonly status: number;
  readonly body: {
    readonly message?: string;
    readonly details?: { readonly causes?: readonly { readonly field?: string; readonly message: string }[] };
    readonly spec?: unknown;
    readonly metadata?: { readonly name: string; readonly resourceVersion?: string };
  };
}

const list = (kind: string): string[] => readdirSync(join(folder, kind));
const read = (kind: string, name: string): string => readFileSync(join(folder, kind, name), 'utf8');
const RULE_MESSAGES = new Set(validationsOf(SCHEMA).map(({ message }) => message));

describe('a real API server', { skip }, () => {
  let cluster: Cluster;
  let tls: { ca: Buffer; cert: Buffer; key: Buffer };

  function call(method: string, path: string, text?: string, type = 'application/yaml'): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = text === undefined ? {} : { 'content-type': type };
      const sent = request(`${cluster.url}${path}`, { method, headers, ...tls }, async (response) => {
        let body = '';
        for await (const chunk of response.setEncoding('utf8')) body += chunk;
        resolve({ status: response.statusCode!, body: body.startsWith('{') ? JSON.parse(body) : {} });
      });
      sent.on('error', reject);
      sent.end(text);
    });
  }

  before(async () => {
    cluster = await startCluster();
    const pki = (name: string): Buffer => readFileSync(join(cluster.pki, name));
    tls = { ca: pki('ca.crt'), cert: pki('admin.crt'), key: pki('admin.key') };
    const made = await call(
      'POST',
      '/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict',
      crd,
    );
    assert.equal(made.status, 201, made.body.message);
    while ((await call('GET', JOBS)).status !== 200) await sleep(50);
    // A schema is in force a moment after its path answers.
    const probe = read('wrong', 'seed-negative.yaml');
    while ((await call('POST', `${JOBS}?${STRICT}`, probe)).status !== 422) await sleep(50);
  });
  after(() => cluster?.down());

  for (const name of list('wrong')) {
    test(`refuses wrong/${name} as onebyte validate does`, async () => {
      const text = read('wrong', name);
      const { status, body } = await call('POST', `${JOBS}?${STRICT}`, text);
      assert.ok(status === 422 || status === 400, `answered ${status}`);
      compare(body, parseJobFile(text).mistakes);
    });
  }

  for (const name of list('right')) {
    test(`takes right/${name} and fills in the same defaults`, async () => {
      const text = read('right', name);
      const { status, body } = await call('POST', `${JOBS}?${STRICT}`, text);
      assert.equal(status, 201, body.message);
      assert.deepEqual(parseJobFile(text).job!.spec, body.spec);
    });
  }

  for (const name of list('update')) {
    test(`judges update/${name} as we do`, async () => {
      const text = read('update', name);
      const [before, after] = parseAllDocuments(text).map((document) => document.toJS());
      const unique = name.replace('.yaml', '');
      before.metadata.name = after.metadata.name = `update-${unique}`;
      const path = `${JOBS}/update-${unique}`;
      const made = await call(
        'POST',
        `${JOBS}?fieldValidation=Strict`,
        JSON.stringify(before),
        'application/json',
      );
      assert.equal(made.status, 201, made.body.message);
      if (before.status) {
        const merge = 'application/merge-patch+json';
        const patched = await call(
          'PATCH',
          `${path}/status`,
          JSON.stringify({ status: before.status }),
          merge,
        );
        assert.equal(patched.status, 200, patched.body.message);
      }
      const current = await call('GET', path);
      after.metadata.resourceVersion = current.body.metadata!.resourceVersion;
      const { status, body } = await call(
        'PUT',
        `${path}?${STRICT}`,
        JSON.stringify(after),
        'application/json',
      );
      const expected = [...text.matchAll(/^# path: (.*)\n# message: (.*)$/gm)];
      assert.equal(status, expected.length === 0 ? 200 : 422, body.message);
      compare(
        body,
        expected.map(([, path, message]) => ({ path: path!, message: message! })),
      );
    });
  }

  test('says yes and no to the same jobs as we do, whatever is changed in them', async () => {
    const job = parseAllDocuments(read('right', 'everything.yaml'))[0]!.toJS();
    const paths = pathsOf(job).filter(([first, ...rest]) => first === 'spec' && rest.length > 0);
    const value = fc.oneof(
      fc.constantFrom(
        null,
        '',
        'a',
        'activation',
        '4-5',
        '{a}',
        's3://a/b',
        -1,
        0,
        1,
        2,
        0.5,
        1e9,
        true,
        [],
        {},
      ),
      fc.integer({ min: -10, max: 5000 }),
      fc.string({ maxLength: 70 }),
    );
    const change = fc.record({ path: fc.constantFrom(...paths), value, remove: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
        const broken = structuredClone(job);
        for (const { path, value, remove } of changes) put(broken, path, remove ? undefined : value);
        const sent = JSON.stringify(broken);
        const { status, body } = await call('POST', `${JOBS}?${STRICT}`, sent, 'application/json');
        const ours = JSON.parse(sent);
        const mistakes = checkJob(ours);
        assert.equal(status === 201, mistakes.length === 0, `${body.message} | ${JSON.stringify(mistakes)}`);
        if (status === 201) assert.deepEqual(ours.spec, body.spec);
      }),
      { numRuns: 400 },
    );
  });

  test('kubectl finds jobs by short name and category, scales them and explains fields', async () => {
    const job = read('right', 'smallest.yaml');
    await cluster.kubectl(['apply', '--server-side', '-f', '-'], job);
    assert.match(
      await cluster.kubectl(['get', 'ftj']),
      /^NAME +STATE +WORKERS +ROUND +LOSS +METRIC +ETA +AGE/,
    );
    assert.match(
      await cluster.kubectl(['get', 'onebyte', '-o', 'name']),
      /finetunejob.onebyte.dev\/sentiment/,
    );
    await cluster.kubectl(['scale', 'ftj/sentiment', '--replicas=8']);
    assert.equal(await cluster.kubectl(['get', 'ftj/sentiment', '-o', 'jsonpath={.spec.replicas}']), '8');
    await assert.rejects(cluster.kubectl(['scale', 'ftj/sentiment', '--replicas=65']), /above max/);
    const select = ['get', 'ftj', '-o', 'name', '--field-selector'];
    assert.match(await cluster.kubectl([...select, 'spec.suspend=false']), /sentiment/);
    assert.equal(await cluster.kubectl([...select, 'spec.suspend=true']), '');
    const explained = await cluster.kubectl(['explain', 'ftj.spec.method.estimator.radius']);
    assert.match(explained, /Size of a perturbation/);
  });
});

/** Every mistake is the server's too: at the same path, and a rule's in the same words. The server may say more. */
function compare(body: Answer['body'], mistakes: readonly { path: string; message: string }[]): void {
  const causes = body.details?.causes ?? [];
  for (const { path, message } of mistakes) {
    if (message.startsWith('unknown field')) {
      assert.ok(body.message!.includes(`unknown field "${path}"`), body.message);
    } else if (RULE_MESSAGES.has(message)) {
      const found = causes.some((cause) => cause.field === path && cause.message.endsWith(message));
      assert.ok(found, `${path}: ${message} is not in ${JSON.stringify(causes)}`);
    } else {
      assert.ok(
        causes.some((cause) => cause.field === path),
        `${path} is not in ${JSON.stringify(causes)}`,
      );
    }
  }
}

type Path = readonly (string | number)[];

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const isList = Array.isArray(value);
  const below = Object.entries(value).flatMap(([key, v]) =>
    pathsOf(v, [...path, isList ? Number(key) : key]),
  );
  return [path, ...below];
}

/** Sets what stands at a path, where that path still is; undefined takes it away. */
function put(job: unknown, path: Path, value: unknown): void {
  let here = job;
  for (const part of path.slice(0, -1)) here = (here as Record<string | number, unknown> | null)?.[part];
  if (typeof here !== 'object' || here === null) return;
  (here as Record<string | number, unknown>)[path.at(-1)!] = value;
}
