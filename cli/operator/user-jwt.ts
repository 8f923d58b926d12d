/** Credentials of NATS users, made from the key of their account (decentralised authentication). */
import { createHash, createHmac } from 'node:crypto';
import { fromSeed, type KeyPair } from '@nats-io/nkeys';
import type { Permissions } from '../../worker/nats/permissions.ts';

/** Seed of an account's key, or of one of its signing keys. */
export interface Signer {
  readonly keys: KeyPair;
  readonly seed: string;
  /** Public key of the account, where `keys` is only a signing key of it. */
  readonly account?: string;
}

/** Reads the seed that `nsc` wrote, with or without text around it. Null where there is none. */
export function signerOf(text: string, account?: string): Signer | null {
  const [seed] = /\bSA[A-Z2-7]{56}\b/.exec(text) ?? [];
  if (seed === undefined) return null;
  const keys = fromSeed(new TextEncoder().encode(seed));
  return { keys, seed, ...(account === undefined || account === keys.getPublicKey() ? {} : { account }) };
}

/**
 * A credentials file, the same for the same arguments: keys are derived from the signer's seed and the user's name, so
 * nothing has to be kept, and a Secret that is written again does not change.
 * @param issuedAt seconds since 1970
 */
export function credentialsFile(
  signer: Signer,
  user: string,
  permissions: Permissions,
  issuedAt: number,
): string {
  const seed = userSeed(createHmac('sha256', signer.seed).update(`onebyte user ${user}`).digest());
  const keys = fromSeed(new TextEncoder().encode(seed));
  const jwt = sign(signer.keys, {
    iat: issuedAt,
    iss: signer.keys.getPublicKey(),
    name: user,
    sub: keys.getPublicKey(),
    nats: {
      type: 'user',
      version: 2,
      pub: permissions.publish,
      sub: permissions.subscribe,
      ...{ subs: -1, data: -1, payload: -1 },
      ...(signer.account !== undefined && { issuer_account: signer.account }),
    },
  });
  const block = (title: string, text: string) =>
    `-----BEGIN ${title}-----\n${text}\n------END ${title}------\n`;
  return `${block('NATS USER JWT', jwt)}\n${block('USER NKEY SEED', seed)}`;
}

function sign(issuer: KeyPair, claims: object): string {
  const jti = createHash('sha256').update(JSON.stringify(claims)).digest('base64url');
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ typ: 'JWT', alg: 'ed25519-nkey' })}.${part({ jti, ...claims })}`;
  return `${signed}.${Buffer.from(issuer.sign(new TextEncoder().encode(signed))).toString('base64url')}`;
}

/** Of the NKey format: the byte that stands for a seed (S), and the one for a user (U). */
const SEED = 18 << 3;
const USER = 20 << 3;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** 32 bytes as a user's seed: two bytes of prefix, the key, and a CRC-16 (XMODEM), in base 32. */
function userSeed(raw: Buffer): string {
  const body = Buffer.concat([Buffer.from([SEED | (USER >> 5), (USER & 31) << 3]), raw]);
  let crc = 0;
  for (const byte of body) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i++) crc = ((crc & 0x8000) !== 0 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff;
  }
  return base32(Buffer.concat([body, Buffer.from([crc & 0xff, crc >> 8])]));
}

function base32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? [])
    .map((five) => ALPHABET[Number.parseInt(five.padEnd(5, '0'), 2)])
    .join('');
}
