import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createUser } from '@nats-io/nkeys';
import { type NatsConfig, openNats } from '../../worker/nats/connect.ts';
import { Link } from '../../worker/nats/link.ts';
import { makePki } from '../cluster/pki.ts';
import { freePort } from '../cluster/ports.ts';
import { collect, fill, text } from '../log/contract.ts';
import { missing } from '../tools/tool.ts';
import { TestJob } from './job.ts';
import { JwtOperator } from './jwt.ts';
import { NatsSystem } from './server.ts';

const skip = await missing('nats-server');

/** Makes a stream over a connection and writes and reads a log there. */
async function works(system: NatsSystem, config: Partial<NatsConfig>): Promise<void> {
  const job = await TestJob.make(system, 1 << 16, config);
  const log = await job.log(config);
  await fill(log, 3);
  assert.deepEqual(await collect(log.read(1)), ['1:e1', '2:e2', '3:e3']);
  await job.close();
}

describe('a connection to NATS', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'onebyte-secrets-'));
  const file = (name: string) => join(folder, name);
  const systems: NatsSystem[] = [];
  const start = async (config: object) => {
    const system = await NatsSystem.start({ config });
    systems.push(system);
    return system;
  };
  before(async () => {
    const server = { ca: 'ca', usage: 'serverAuth' } as const;
    await makePki(folder, [
      { ...server, name: 'server', subject: '/CN=nats', names: ['IP:127.0.0.1'] },
      { ...server, name: 'elsewhere', subject: '/CN=nats', names: ['DNS:nats.example'] },
      { name: 'worker', ca: 'ca', subject: '/CN=worker', usage: 'clientAuth' },
      { name: 'stranger', ca: 'front-proxy-ca', subject: '/CN=worker', usage: 'clientAuth' },
    ]);
  });
  after(async () => {
    await Promise.all(systems.map((system) => system.end()));
    rmSync(folder, { recursive: true });
  });
  const tls = (name: string) => ({ cert_file: file(`${name}.crt`), key_file: file(`${name}.key`) });
  const caFile = file('ca.crt');

  it('says that nobody answers, without the password of the URL', async () => {
    const servers = [`nats://me:secret@127.0.0.1:${await freePort()}`];
    await assert.rejects(openNats({ servers }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'NATS_UNREACHABLE');
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  });

  it('waits for a server that comes later when asked to', async () => {
    const system = await start({});
    await system.kill();
    const failures: string[] = [];
    const seen = Promise.withResolvers<void>();
    const opening = openNats(
      { servers: system.urls },
      {
        wait: new AbortController().signal,
        onFailure: ({ code }) => {
          failures.push(code);
          seen.resolve();
        },
      },
    );
    await seen.promise;
    await system.start();
    await (await opening).close();
    assert.deepEqual(new Set(failures), new Set(['NATS_UNREACHABLE']));
  });

  it('gives up waiting when told to', async () => {
    const stop = new AbortController();
    const opening = openNats(
      { servers: [`nats://127.0.0.1:${await freePort()}`] },
      { wait: stop.signal, onFailure: () => stop.abort() },
    );
    await assert.rejects(opening, { code: 'NATS_UNREACHABLE' });
  });

  it('is let in by user and password, and refused by a wrong one even when it would wait', async () => {
    writeFileSync(file('password'), 'pass word\n');
    const system = await start({ authorization: { user: 'me', password: 'pass word' } });
    await works(system, { user: 'me', password: 'pass word' });
    await works(system, { user: 'me', passwordFile: file('password') });
    const wrong = { servers: system.urls, user: 'me', password: 'other' };
    await assert.rejects(openNats(wrong), { code: 'NATS_DENIED' });
    await assert.rejects(openNats(wrong, { wait: new AbortController().signal }), { code: 'NATS_DENIED' });
    await assert.rejects(openNats({ servers: system.urls }), { code: 'NATS_DENIED' });
  });

  it('is let in by token, from the environment or a file', async () => {
    writeFileSync(file('token'), 't0ken');
    const system = await start({ authorization: { token: 't0ken' } });
    await works(system, { token: 't0ken' });
    await works(system, { tokenFile: file('token') });
    await assert.rejects(openNats({ servers: system.urls, token: 'other' }), { code: 'NATS_DENIED' });
  });

  it('is let in by an NKey, and refused by another one or a file without a seed', async () => {
    const user = createUser();
    const seed = new TextDecoder().decode(user.getSeed());
    writeFileSync(file('nkey'), `# made for a test\n${seed}\n`);
    writeFileSync(file('other.nkey'), createUser().getSeed());
    writeFileSync(file('no.nkey'), 'nothing');
    const system = await start({ authorization: { users: [{ nkey: user.getPublicKey() }] } });
    await works(system, { nkeyFile: file('nkey') });
    const { urls: servers } = system;
    await assert.rejects(openNats({ servers, nkeyFile: file('other.nkey') }), { code: 'NATS_DENIED' });
    await assert.rejects(openNats({ servers, nkeyFile: file('no.nkey') }), { code: 'NATS_CONFIG_INVALID' });
    await assert.rejects(openNats({ servers, nkeyFile: file('absent') }), { code: 'FILE_UNREADABLE' });
  });

  it('is let in by a credentials file of an account that the operator signed', async () => {
    const [operator, other] = [new JwtOperator(), new JwtOperator()];
    writeFileSync(file('creds'), operator.credentials('worker'));
    writeFileSync(file('other.creds'), other.credentials('worker'));
    const system = await start(operator.config);
    await works(system, { credentialsFile: file('creds') });
    const stranger = { servers: system.urls, credentialsFile: file('other.creds') };
    await assert.rejects(openNats(stranger), { code: 'NATS_DENIED' });
  });

  it('is secured by TLS, and refuses a server that the authority did not sign, or that is another', async () => {
    const system = await start({ tls: tls('server') });
    await works(system, { tls: { caFile } });
    const { urls: servers } = system;
    await assert.rejects(openNats({ servers }), { code: 'NATS_TLS' });
    const other = { caFile: file('front-proxy-ca.crt') };
    await assert.rejects(openNats({ servers, tls: other }), { code: 'NATS_TLS' });
    const elsewhere = await start({ tls: tls('elsewhere') });
    await assert.rejects(openNats({ servers: elsewhere.urls, tls: { caFile } }), { code: 'NATS_TLS' });
  });

  it('is tried again where its line breaks as it is being secured', async () => {
    const info = { server_id: 'x', version: '2.11.0', max_payload: 1 << 20, proto: 1, tls_required: true };
    for (const handshakeFirst of [false, true]) {
      // What a proxy does whose server is about to start.
      const server = createServer((socket) => {
        if (!handshakeFirst) socket.write(`INFO ${JSON.stringify(info)}\r\n`);
        socket.on('error', () => {}).once('data', () => socket.end());
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const config = { servers: [`tls://127.0.0.1:${port}`], tls: { caFile, handshakeFirst } };
      await assert.rejects(openNats(config), { code: 'NATS_UNREACHABLE' }, `TLS first: ${handshakeFirst}`);
      server.close();
    }
  });

  it('refuses a plain server where it was told to use TLS', async () => {
    const system = await start({});
    await assert.rejects(openNats({ servers: system.urls, tls: { caFile } }), { code: 'NATS_TLS' });
    await assert.rejects(openNats({ servers: system.urls, tls: { caFile: file('absent') } }), {
      code: 'FILE_UNREADABLE',
    });
  });

  it('shows a certificate of its own where the server asks for one, TLS first too', async () => {
    const mutual = { tls: { ...tls('server'), ca_file: caFile, verify: true } };
    const own = { caFile, certFile: file('worker.crt'), keyFile: file('worker.key') };
    const system = await start(mutual);
    await works(system, { tls: own });
    const { urls: servers } = system;
    const stranger = { caFile, certFile: file('stranger.crt'), keyFile: file('stranger.key') };
    const refused = { code: 'NATS_UNREACHABLE', remedy: /client certificate/ };
    await Promise.all(
      [stranger, { caFile }].map((each) => assert.rejects(openNats({ servers, tls: each }), refused)),
    );
    const first = await start({ tls: { ...mutual.tls, handshake_first: true } });
    await works(first, { tls: { ...own, handshakeFirst: true } });
  });

  it('comes back with TLS after the server was killed, with the password that it has by then', async () => {
    writeFileSync(file('rotating'), 'old');
    const config = (password: string) => ({ tls: tls('server'), authorization: { user: 'me', password } });
    const system = await start(config('old'));
    const settings = { tls: { caFile }, user: 'me', passwordFile: file('rotating') };
    const job = await TestJob.make(system, 1 << 16, settings);
    const connection = await job.connect(settings);
    const log = await job.log(settings);
    await fill(log, 2);
    writeFileSync(file('rotating'), 'new');
    await system.kill();
    system.configure(config('new'));
    await system.start();
    await fill(log, 1, 2);
    assert.equal((await log.last())?.seq, 3);
    const { sent, received } = Link.of(connection).bytes;
    assert.ok(sent > 0 && received > 0);
    await job.close();
  });

  it('ends a tail with an error once its credentials are taken away', async () => {
    const users = (password: string) => ({ authorization: { user: 'me', password } });
    const system = await start(users('old'));
    const job = await TestJob.make(system, 1 << 16, { user: 'me', password: 'old' });
    const log = await job.log({ user: 'me', password: 'old' });
    await fill(log, 1);
    const tail = log.tail(1, new AbortController().signal)[Symbol.asyncIterator]();
    assert.equal((await tail.next()).done, false);
    const ended = tail.next();
    await system.reload(users('new'));
    await assert.rejects(ended, { code: 'NATS_DENIED' });
    await job.close();
  });

  it('reaches a stream through a leaf node, by the domain of the servers behind it', async () => {
    const hub = await NatsSystem.start({ leaves: true, jetstream: { domain: 'hub' } });
    systems.push(hub);
    for (const jetstream of [null, { domain: 'site' }]) {
      const leaf = await NatsSystem.start({ jetstream, remotes: [{ url: hub.leafUrl() }] });
      systems.push(leaf);
      const job = await TestJob.make(hub, 1 << 16);
      const near = await job.log();
      await fill(near, 2);
      const far = await job.log({ servers: leaf.urls }, { domain: 'hub' });
      const seen = (async () => {
        const all: number[] = [];
        for await (const event of far.tail(1, new AbortController().signal)) {
          if (event.type === 'entry') all.push(event.entry.seq);
          if (all.length === 4) break;
        }
        return all;
      })();
      await far.append(text('far'), { expectedLast: 2, id: 'far' });
      await fill(near, 1, 3);
      assert.deepEqual(await seen, [1, 2, 3, 4]);
      assert.equal((await collect(far.read(1))).length, 4);
      await job.close();
    }
  });

  it('goes over web sockets', async () => {
    const port = await freePort();
    const system = await start({ websocket: { listen: `127.0.0.1:${port}`, no_tls: true } });
    await works(system, { servers: [`ws://127.0.0.1:${port}`] });
  });
});
