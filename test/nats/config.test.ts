import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { NATS_VARIABLES, natsSettings } from '../../worker/nats/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'onebyte-nats-config-'));
after(() => rmSync(folder, { recursive: true }));
const file = (name: string, text = 'x') => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

type Settings = { [K in keyof typeof NATS_VARIABLES]?: string };
const env = (settings: Settings) =>
  Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [NATS_VARIABLES[name as keyof Settings], value]),
  );
const read = (settings: Settings) => natsSettings(env(settings));

describe('the settings for NATS in the environment', () => {
  it('need no more than a URL', () => {
    assert.deepEqual(read({ url: 'nats://nats' }), {
      config: { servers: ['nats://nats:4222'] },
      prefix: 'onebyte',
      domain: undefined,
    });
  });

  it('take several servers, of one kind of protocol', () => {
    const { servers } = read({ url: 'nats://a:1, tls://b,nats://[::1]:3' }).config;
    assert.deepEqual(servers, ['nats://a:1', 'tls://b:4222', 'nats://[::1]:3']);
    assert.deepEqual(read({ url: 'wss://a' }).config.servers, ['wss://a:443']);
  });

  it('take a user from the URL, decoded', () => {
    const { config } = read({ url: 'nats://me:p%40ss@nats' });
    assert.deepEqual(config, { servers: ['nats://nats:4222'], user: 'me', password: 'p@ss' });
  });

  it('turn TLS on for tls URLs, for an authority, for a certificate and for TLS first', () => {
    const caFile = file('ca.pem');
    const [certFile, keyFile] = [file('tls.pem'), file('key.pem')];
    assert.equal(read({ url: 'nats://a' }).config.tls, undefined);
    assert.deepEqual(read({ url: 'tls://a' }).config.tls, {});
    assert.deepEqual(read({ url: 'nats://a', caFile }).config.tls, { caFile });
    assert.deepEqual(read({ url: 'nats://a', certFile, keyFile }).config.tls, { certFile, keyFile });
    assert.deepEqual(read({ url: 'nats://a', tlsFirst: 'true' }).config.tls, { handshakeFirst: true });
  });

  it('find the files of a mounted secret by their names, behind what is said outright', () => {
    const secret = mkdtempSync(join(folder, 'secret-'));
    for (const [name, content] of [
      ['user', 'me\n'],
      ['password', 'pw'],
      ['ca.crt', 'x'],
      ['tls.crt', 'x'],
      ['tls.key', 'x'],
      ['unknown', 'x'],
    ] as const)
      writeFileSync(join(secret, name), content);
    const caFile = file('other-ca.pem');
    assert.deepEqual(read({ url: 'nats://a', secret, caFile }).config, {
      servers: ['nats://a:4222'],
      user: 'me',
      passwordFile: join(secret, 'password'),
      tls: { caFile, certFile: join(secret, 'tls.crt'), keyFile: join(secret, 'tls.key') },
    });
  });

  const present = file('present');
  const absent = join(folder, 'absent');
  const mistakes: [string, Settings, RegExp[]][] = [
    ['no URL', {}, [/ONEBYTE_NATS_URL: is missing/]],
    ['a URL of another kind', { url: 'http://a' }, [/ONEBYTE_NATS_URL: is no URL/]],
    ['a URL without its protocol', { url: 'nats:4222' }, [/ONEBYTE_NATS_URL/]],
    ['a URL with a path', { url: 'nats://a/b' }, [/has a path/]],
    ['protocols that do not mix', { url: 'nats://a,ws://b' }, [/mixes ws/]],
    ['one of several URLs', { url: 'nats://a, b' }, [/number 2 of 2 between commas is no URL/]],
    ['a bare % in a password', { url: 'nats://me:5%@a' }, [/a % .*percent-encode user and password/]],
    ['no UTF-8 in a password', { url: 'nats://me:%ff@a' }, [/percent-encode user and password/]],
    ['two users', { url: 'nats://me:pw@a', user: 'you' }, [/names a user/]],
    [
      'two ways in',
      { url: 'nats://a', token: 't', nkeyFile: present },
      [/NKEY_FILE: cannot be used together with ONEBYTE_NATS_TOKEN/],
    ],
    ['a password for nobody', { url: 'nats://a', password: 'p' }, [/USER: is missing/]],
    [
      'a password twice',
      { url: 'nats://a', user: 'u', password: 'p', passwordFile: present },
      [/PASSWORD_FILE: cannot/],
    ],
    ['a token twice', { url: 'nats://a', token: 't', tokenFile: present }, [/TOKEN_FILE: cannot/]],
    [
      'a file that is not there',
      { url: 'nats://a', credentialsFile: absent },
      [/CREDENTIALS_FILE: there is no file .*absent/],
    ],
    ['an authority that is not there', { url: 'nats://a', caFile: absent }, [/CA_FILE: there is no file/]],
    ['a certificate without its key', { url: 'nats://a', certFile: present }, [/KEY_FILE: is missing/]],
    ['a key without its certificate', { url: 'nats://a', keyFile: present }, [/CERT_FILE: is missing/]],
    ['a folder that is not there', { url: 'nats://a', secret: absent }, [/SECRET: there is no folder/]],
    ['neither yes nor no', { url: 'nats://a', tlsFirst: 'yes' }, [/TLS_FIRST: has to be true or false/]],
    ['a prefix with a dot', { url: 'nats://a', prefix: 'a.b' }, [/PREFIX/]],
    ['a domain with a dot', { url: 'nats://a', domain: 'a.b' }, [/DOMAIN/]],
    ['an inbox with a wildcard', { url: 'nats://a', inbox: '_INBOX.>' }, [/INBOX/]],
    [
      'several mistakes',
      { url: 'x', keyFile: absent, prefix: '*' },
      [/URL/, /KEY_FILE: there/, /CERT_FILE: is/, /PREFIX/],
    ],
  ];
  for (const [what, settings, patterns] of mistakes)
    it(`name the variable of each mistake: ${what}`, () => {
      assert.throws(
        () => read(settings),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'NATS_CONFIG_INVALID');
          for (const pattern of patterns) assert.match(error.message, pattern);
          return true;
        },
      );
    });

  it('do not repeat a password in what they complain of', () => {
    const passwords = [
      'secret',
      'sec/ret',
      '12/secret',
      'sec,ret',
      'sec?ret',
      'sec#ret',
      'sec%ret',
      '12,x://sec@ret',
      'sec@/ret',
    ];
    const urls = passwords.flatMap((password) => [`http://me:${password}@a`, `nats://me:${password}@a/b`]);
    for (const url of urls)
      assert.throws(
        () => read({ url }),
        (error: Error & { code: string }) => {
          assert.equal(error.code, 'NATS_CONFIG_INVALID', url);
          assert.doesNotMatch(error.message, /sec|ret|12/, url);
          assert.match(error.message, /percent-encode user and password/);
          return true;
        },
      );
  });
});
