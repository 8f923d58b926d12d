import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DEFINITIONS, type Definition } from '../../worker/metrics/definitions.ts';
import { watchProcess } from '../../worker/metrics/process.ts';
import { Metrics } from '../../worker/metrics/registry.ts';

const docs = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'metrics.md'), 'utf8');

describe('the metrics of a worker', () => {
  it('are what docs/metrics.md lists, word for word and in this order', () => {
    const listed = docs.split('\n').filter((line) => line.startsWith('| `'));
    const defined = Object.entries(DEFINITIONS).map(([name, definition]: [string, Definition]) => {
      const labels = Object.entries(definition.labels ?? {}).map(
        ([label, values]) => `\`${label}\`${values.length === 0 ? '' : ` (${values.join(', ')})`}`,
      );
      return `| \`${name}\` | ${definition.type} | ${labels.join(', ')} | ${definition.help} |`;
    });
    assert.deepEqual(listed, defined);
  });

  it('are all served, with their types and helps, and no other', async () => {
    const text = await new Metrics().text();
    const served = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]);
    assert.deepEqual(
      served,
      Object.entries(DEFINITIONS).map(([name, { type }]) => [name, type]),
    );
    for (const [name, { help }] of Object.entries(DEFINITIONS))
      assert.ok(text.includes(`# HELP ${name} ${help}\n`), name);
  });

  it('follow the naming rules of Prometheus', () => {
    for (const [name, { type }] of Object.entries(DEFINITIONS)) {
      assert.match(name, /^(onebyte|process)_[a-z_]+$/);
      assert.equal(name.endsWith('_total'), type === 'counter', name);
    }
  });

  it('count up from zero for every label that is known beforehand', async () => {
    const metrics = new Metrics();
    assert.match(await metrics.text(), /^onebyte_probes_total\{outcome="missed"\} 0$/m);
    metrics.add('onebyte_probes_total', 3, { outcome: 'missed' });
    metrics.countedTo('onebyte_socket_bytes_total', 70, { direction: 'sent' });
    metrics.countedTo('onebyte_socket_bytes_total', 75, { direction: 'sent' });
    const text = await metrics.text();
    assert.match(text, /^onebyte_probes_total\{outcome="missed"\} 3$/m);
    assert.match(text, /^onebyte_socket_bytes_total\{direction="sent"\} 75$/m);
  });

  it('tell what the process costs', async () => {
    const metrics = new Metrics();
    const end = watchProcess(metrics);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const text = await metrics.text();
    end();
    const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
    assert.ok(value('process_resident_memory_bytes') > 1e6);
    assert.ok(value('process_cpu_seconds_total') > 0);
    assert.ok(Math.abs(value('process_start_time_seconds') - Date.now() / 1000) < 3600);
    assert.ok(value('onebyte_event_loop_lag_seconds{quantile="0.5"}') >= 0);
  });
});
