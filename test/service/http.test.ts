import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { HealthServer } from '../../worker/service/http.ts';

/** What the server says to a request line that no client of HTTP would send; '' where it says nothing. */
async function ask(port: number, target: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.end(`GET ${target} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n`);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(socket, 'close');
  return text;
}

describe('the health server of a worker', () => {
  it('answers whatever somebody asks for, and goes on', async () => {
    const server = await HealthServer.listen(
      {
        checks: { '/healthz': () => ({ ok: true, text: 'well' }) },
        metrics: async () => 'a 1\n',
        metricsType: 'text/plain',
      },
      0,
      '127.0.0.1',
    );
    try {
      for (const target of ['//', '///', 'http://a:b/', '//[', '*', '/%zz'])
        assert.match(await ask(server.port, target), /^HTTP\/1\.1 404 /, target);
      assert.match(await ask(server.port, '/healthz?verbose'), /^HTTP\/1\.1 200 .*\nwell\n/s);
      assert.match(await ask(server.port, '/metrics?name=a'), /^HTTP\/1\.1 200 .*\na 1\n/s);
    } finally {
      await server.close();
    }
  });
});
