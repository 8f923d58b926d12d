import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LOG_VARIABLES } from '../../cli/operator/command.ts';
import { parseJobFile } from '../../crds/validate.ts';
import { CONDITIONS, EVENTS, REASONS, STATES } from '../../operator/jobs/names.ts';
import { POLICIES, type Policy } from '../../operator/jobs/trouble.ts';
import { type Definition, JOB_METRICS, OPERATOR_METRICS } from '../../operator/metrics/definitions.ts';
import { OPERATOR_VARIABLES } from '../../operator/settings.ts';

const docs = join(import.meta.dirname, '../../docs');
const page = readFileSync(join(docs, 'operator.md'), 'utf8');
const names = new Set([...page.matchAll(/`([^`\s]+)`/g)].map(([, name]) => name));

test('docs/operator.md names every condition, reason, state, event and variable that there is', () => {
  const groups = { CONDITIONS, REASONS, STATES, EVENTS, OPERATOR_VARIABLES, LOG_VARIABLES };
  for (const [group, all] of Object.entries(groups))
    for (const name of Object.values(all)) assert.ok(names.has(name), `${name} of ${group}`);
});

test('docs/operator.md says of every trouble who tries again, when it stalls a job, and what to do', () => {
  for (const [kind, policy] of Object.entries(POLICIES) as [string, Policy][]) {
    const { retriedBy, stalls, patience, advice } = policy;
    const when = !stalls ? 'never' : patience === 0 ? 'at once' : `after ${patience / 1_000} s`;
    assert.ok(page.includes(`| \`${kind}\` | ${retriedBy} | ${when} | ${advice} |`), kind);
  }
});

test('docs/operator.md lists the metrics of jobs and operator, word for word', () => {
  const metrics: [string, Definition][] = Object.entries({ ...JOB_METRICS, ...OPERATOR_METRICS });
  for (const [name, { type, labels, help }] of metrics) {
    const list = labels.map((label) => `\`${label}\``).join(', ');
    assert.ok(page.includes(`| \`${name}\` | ${type} | ${list} | ${help} |`), name);
  }
});

test('the job in docs/operator.md is right, and what it links to is there', () => {
  const [, job] = /```yaml\n([\s\S]*?)```/.exec(page)!;
  assert.deepEqual(parseJobFile(job!).mistakes, []);
  for (const [, target] of page.matchAll(/\]\(([^)]+)\)/g))
    assert.ok(existsSync(join(docs, target!)), target);
});
