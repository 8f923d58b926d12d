import { createHash, randomUUID } from 'node:crypto';
import { createAccount, createOperator, createUser, type KeyPair } from '@nats-io/nkeys';
import type { Permissions } from '../../worker/nats/permissions.ts';

/** Claims as `nsc` signs them: version 2, Ed25519. */
function sign(issuer: KeyPair, subject: string, name: string, nats: object): string {
  const claims = {
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    name,
    sub: subject,
    nats: { ...nats, version: 2 },
  };
  const jti = createHash('sha256')
    .update(JSON.stringify(claims) + randomUUID())
    .digest('base64url');
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part({ jti, ...claims })}`;
  return `${signed}.${Buffer.from(issuer.sign(new TextEncoder().encode(signed))).toString('base64url')}`;
}

const UNLIMITED = { subs: -1, data: -1, payload: -1 };

/** An operator with one account, and credentials files for users of it: decentralised authentication. */
export class JwtOperator {
  readonly #account = createAccount();
  /** For the configuration of servers. */
  readonly config: object;

  constructor() {
    const operator = createOperator();
    const system = createAccount();
    const account = (keys: KeyPair, name: string, storage: object) =>
      sign(operator, keys.getPublicKey(), name, {
        type: 'account',
        limits: { ...UNLIMITED, conn: -1, leaf: -1, imports: -1, exports: -1, wildcards: true, ...storage },
        default_permissions: { pub: {}, sub: {} },
      });
    this.config = {
      operator: sign(operator, operator.getPublicKey(), 'test', {
        type: 'operator',
        system_account: system.getPublicKey(),
      }),
      system_account: system.getPublicKey(),
      resolver: 'MEMORY',
      resolver_preload: {
        [system.getPublicKey()]: account(system, 'system', {}),
        [this.#account.getPublicKey()]: account(this.#account, 'jobs', {
          disk_storage: 1 << 30,
          streams: 100,
          consumer: 100,
        }),
      },
    };
  }

  /** Seed of the account's key. */
  get accountSeed(): string {
    return new TextDecoder().decode(this.#account.getSeed());
  }

  /** The text of a credentials file. */
  credentials(name: string, permissions?: Permissions): string {
    const keys = createUser();
    const jwt = sign(this.#account, keys.getPublicKey(), name, {
      type: 'user',
      pub: permissions?.publish ?? {},
      sub: permissions?.subscribe ?? {},
      ...UNLIMITED,
    });
    const seed = new TextDecoder().decode(keys.getSeed());
    const block = (title: string, text: string) =>
      `-----BEGIN ${title}-----\n${text}\n------END ${title}------\n`;
    return `${block('NATS USER JWT', jwt)}\n${block('USER NKEY SEED', seed)}`;
  }
}
