import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Counter, Registry } from 'prom-client';
import { HealthServer } from '../../../operator/kube/health.ts';

test('health, readiness and metrics are answered, and a failing check says which', async () => {
  const registry = new Registry();
  new Counter({ name: 'things_total', help: 'x', registers: [registry] }).inc(3);
  let problem: string | undefined = 'pods: not listed yet';
  const server = new HealthServer({
    live: { loop: () => undefined },
    ready: { stores: () => problem },
    registry,
  });
  const port = await server.listen(0, '127.0.0.1');
  const get = async (path: string, method = 'GET') => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return `${answer.status} ${await answer.text()}`;
  };
  assert.equal(await get('/healthz'), '200 [+] loop\nok\n');
  assert.equal(await get('/livez'), '200 [+] loop\nok\n');
  assert.equal(await get('/readyz'), '503 [-] stores: pods: not listed yet\nfailed\n');
  problem = undefined;
  assert.match(await get('/readyz'), /^200/);
  assert.match(await get('/metrics'), /things_total 3/);
  assert.match(await get('/else'), /^404/);
  assert.match(await get('/healthz', 'POST'), /^405/);
  await server.close();
  await server.close();
});

test('a port that is taken is an error to the caller', async () => {
  const options = { live: {}, ready: {}, registry: new Registry() };
  const first = new HealthServer(options);
  const port = await first.listen(0, '127.0.0.1');
  await assert.rejects(new HealthServer(options).listen(port, '127.0.0.1'), /EADDRINUSE/);
  await first.close();
});
