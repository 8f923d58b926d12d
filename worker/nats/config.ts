import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OnebyteError } from '../errors.ts';
import type { NatsConfig } from './connect.ts';
import { DEFAULT_PREFIX } from './names.ts';

/** Environment variables. What is secret is better given as a file: files are read again when they rotate. */
export const NATS_VARIABLES = {
  url: 'ONEBYTE_NATS_URL',
  prefix: 'ONEBYTE_NATS_PREFIX',
  domain: 'ONEBYTE_NATS_DOMAIN',
  user: 'ONEBYTE_NATS_USER',
  password: 'ONEBYTE_NATS_PASSWORD',
  passwordFile: 'ONEBYTE_NATS_PASSWORD_FILE',
  token: 'ONEBYTE_NATS_TOKEN',
  tokenFile: 'ONEBYTE_NATS_TOKEN_FILE',
  nkeyFile: 'ONEBYTE_NATS_NKEY_FILE',
  credentialsFile: 'ONEBYTE_NATS_CREDENTIALS_FILE',
  caFile: 'ONEBYTE_NATS_CA_FILE',
  certFile: 'ONEBYTE_NATS_CERT_FILE',
  keyFile: 'ONEBYTE_NATS_KEY_FILE',
  /** `true` where the server expects TLS before its first word. */
  tlsFirst: 'ONEBYTE_NATS_TLS_FIRST',
  /** Where answers may come, by what the credentials allow; by default what `inboxPrefix` makes of job and worker. */
  inbox: 'ONEBYTE_NATS_INBOX',
  /** A folder, such as a mounted Secret, with any of the files in NATS_FILES. */
  secret: 'ONEBYTE_NATS_SECRET',
} as const;

/** Files of the secret's folder, and the setting that each stands for. */
export const NATS_FILES = {
  password: 'passwordFile',
  token: 'tokenFile',
  nkey: 'nkeyFile',
  credentials: 'credentialsFile',
  'ca.crt': 'caFile',
  'tls.crt': 'certFile',
  'tls.key': 'keyFile',
} as const;
/** The one file of the secret's folder that is read at once. */
const USER_FILE = 'user';

export interface NatsSettings {
  readonly config: NatsConfig;
  readonly prefix: string;
  readonly domain: string | undefined;
}

const PORTS: Readonly<Record<string, string>> = {
  'nats:': '4222',
  'tls:': '4222',
  'ws:': '80',
  'wss:': '443',
};

type Name = keyof typeof NATS_VARIABLES;
type Values = { [K in Name]?: string };

/** The part of the environment that says how to reach NATS. @throws OnebyteError NATS_CONFIG_INVALID, naming each mistake. */
export function natsSettings(env: Readonly<Record<string, string | undefined>>): NatsSettings {
  const wrong: string[] = [];
  const complain = (name: Name, what: string) => void wrong.push(`${NATS_VARIABLES[name]}: ${what}`);
  const values = readValues(env, complain);
  const { servers, user, password } = readServers(values.url, complain);
  if (user !== undefined && (values.user ?? values.password ?? values.passwordFile) !== undefined)
    complain('url', 'names a user, and so do other settings: say it once');
  if (user !== undefined) values.user ??= user;
  if (password !== undefined) values.password ??= password;
  checkAuthentication(values, complain);
  checkTls(values, complain);
  const webSockets = servers.filter((server) => server.startsWith('ws')).length;
  if (webSockets > 0 && webSockets < servers.length) complain('url', 'mixes ws or wss with other protocols');
  const prefix = values.prefix ?? DEFAULT_PREFIX;
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(prefix)) complain('prefix', 'has to be 1 to 32 letters, digits, - and _');
  if (values.inbox !== undefined && !/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(values.inbox))
    complain('inbox', 'has to be a subject without wildcards, such as _INBOX.me');
  if (values.domain !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(values.domain))
    complain('domain', 'has to be letters, digits, - and _');
  if (wrong.length > 0)
    throw new OnebyteError(
      'NATS_CONFIG_INVALID',
      `how to reach NATS is not clear:\n  ${wrong.join('\n  ')}`,
      {
        remedy: 'Set these variables of the worker; the operator sets them from spec.nats.',
      },
    );
  return { config: configOf(values, servers), prefix, domain: values.domain };
}

type Complain = (name: Name, what: string) => void;

function readValues(env: Readonly<Record<string, string | undefined>>, complain: Complain): Values {
  const values: Values = {};
  for (const [name, variable] of Object.entries(NATS_VARIABLES) as [Name, string][]) {
    const value = env[variable];
    if (value !== undefined && value !== '') values[name] = value;
  }
  const { secret } = values;
  if (secret === undefined) return values;
  if (!existsSync(secret)) complain('secret', `there is no folder ${secret}`);
  for (const [file, name] of Object.entries(NATS_FILES)) {
    const path = join(secret, file);
    if (existsSync(path)) values[name] ??= path;
  }
  const userFile = join(secret, USER_FILE);
  if (existsSync(userFile)) values.user ??= readFileSync(userFile, 'utf8').trim();
  return values;
}

function readServers(
  text: string | undefined,
  complain: Complain,
): { servers: string[]; user?: string; password?: string } {
  if (text === undefined) {
    complain('url', 'is missing, such as nats://nats:4222');
    return { servers: [] };
  }
  const servers: string[] = [];
  let found: { user: string; password: string } | undefined;
  const parts = text.split(',').map((item) => item.trim());
  for (const [i, part] of parts.entries()) {
    // By its place alone: of what is no URL nobody can say which part is a password.
    const which = parts.length === 1 ? '' : `number ${i + 1} of ${parts.length} between commas `;
    const url = URL.canParse(part) ? new URL(part) : null;
    const account = url === null ? null : accountIn(url);
    if (url === null || !/^(nats|tls|wss?):$/.test(url.protocol) || url.hostname === '')
      complain('url', `${which}is no URL such as nats://host:4222 or tls://host:4222${encoding(text)}`);
    else if (!/^\/?$/.test(url.pathname) || url.search !== '')
      complain('url', `${which}has a path${encoding(text)}`);
    else if (account === null) complain('url', `${which}has a % that stands for nothing${encoding(text)}`);
    else {
      if (account.user !== '') found = account;
      servers.push(`${url.protocol}//${url.hostname}:${url.port || PORTS[url.protocol]}`);
    }
  }
  return { servers, ...found };
}

/** Null where its percent signs say nothing. */
function accountIn(url: URL): { user: string; password: string } | null {
  try {
    return { user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) };
  } catch {
    return null;
  }
}

/** What most often makes a URL with a password none. */
function encoding(text: string): string {
  return text.includes('@')
    ? '; percent-encode user and password, such as %2F for / and %2C for a comma'
    : '';
}

function checkAuthentication(values: Values, complain: Complain): void {
  const ways: [Name, boolean][] = [
    ['user', (values.user ?? values.password ?? values.passwordFile) !== undefined],
    ['token', (values.token ?? values.tokenFile) !== undefined],
    ['nkeyFile', values.nkeyFile !== undefined],
    ['credentialsFile', values.credentialsFile !== undefined],
  ];
  const used = ways.filter(([, isUsed]) => isUsed).map(([name]) => name);
  for (const name of used.slice(1))
    complain(name, `cannot be used together with ${NATS_VARIABLES[used[0]!]}`);
  if (values.user === undefined && (values.password ?? values.passwordFile) !== undefined)
    complain('user', 'is missing, and there is a password');
  if (values.password !== undefined && values.passwordFile !== undefined)
    complain('passwordFile', `cannot be used together with ${NATS_VARIABLES.password}`);
  if (values.token !== undefined && values.tokenFile !== undefined)
    complain('tokenFile', `cannot be used together with ${NATS_VARIABLES.token}`);
  for (const name of ['passwordFile', 'tokenFile', 'nkeyFile', 'credentialsFile'] as const)
    checkFile(values, name, complain);
}

function checkTls(values: Values, complain: Complain): void {
  for (const name of ['caFile', 'certFile', 'keyFile'] as const) checkFile(values, name, complain);
  if (values.certFile !== undefined && values.keyFile === undefined)
    complain('keyFile', `is missing, and there is ${NATS_VARIABLES.certFile}`);
  if (values.keyFile !== undefined && values.certFile === undefined)
    complain('certFile', `is missing, and there is ${NATS_VARIABLES.keyFile}`);
  if (values.tlsFirst !== undefined && !/^(true|false)$/.test(values.tlsFirst))
    complain('tlsFirst', 'has to be true or false');
}

function checkFile(values: Values, name: Name, complain: Complain): void {
  const path = values[name];
  if (path !== undefined && !existsSync(path)) complain(name, `there is no file ${path}`);
}

function configOf(values: Values, servers: readonly string[]): NatsConfig {
  const { user, password, passwordFile, token, tokenFile, nkeyFile, credentialsFile } = values;
  const { caFile, certFile, keyFile } = values;
  const first = values.tlsFirst === 'true';
  const inboxPrefix = values.inbox;
  const secured = first || servers.some((server) => server.startsWith('tls:'));
  const tls = secured || (caFile ?? certFile ?? keyFile) !== undefined;
  return {
    servers,
    ...given({ user, password, passwordFile, token, tokenFile, nkeyFile, credentialsFile, inboxPrefix }),
    ...(tls
      ? { tls: { ...given({ caFile, certFile, keyFile }), ...(first ? { handshakeFirst: true } : {}) } }
      : {}),
  };
}

/** Without what is undefined. */
function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
