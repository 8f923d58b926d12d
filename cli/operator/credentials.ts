import { readFileSync } from 'node:fs';
import { OnebyteError } from '../../worker/errors.ts';
import { NATS_VARIABLES } from '../../worker/nats/config.ts';
import { DEFAULT_PREFIX, jobNames } from '../../worker/nats/names.ts';
import { workerPermissions } from '../../worker/nats/permissions.ts';
import { credentialsFile, signerOf } from './user-jwt.ts';

export interface CredentialsOptions {
  /** File with the seed of the NATS account's key, or of a signing key of it. */
  readonly accountSeed: string;
  /** Public key of the account, where the seed is a signing key's. */
  readonly account?: string;
}

/**
 * `onebyte credentials`: a credentials file for one worker of one run, that another cluster or a machine without any takes
 * part with. Good for the log of that run alone; the same that the operator gives its own workers.
 * @param now milliseconds since the epoch
 */
export function credentialsFor(
  uid: string,
  worker: string,
  options: CredentialsOptions,
  env: Readonly<Record<string, string | undefined>>,
  now: number,
): string {
  let text: string;
  try {
    text = readFileSync(options.accountSeed, 'utf8');
  } catch (cause) {
    throw new OnebyteError('FILE_UNREADABLE', `${options.accountSeed} cannot be read`, {
      field: '--account-seed',
      cause,
    });
  }
  const signer = signerOf(text, options.account);
  if (signer === null)
    throw new OnebyteError('COMMAND_INVALID', `${options.accountSeed} holds no seed of an account`, {
      field: '--account-seed',
      remedy: 'It begins with SA and has 58 letters and digits: nsc describes it.',
    });
  const prefix = env[NATS_VARIABLES.prefix] || DEFAULT_PREFIX;
  const domain = env[NATS_VARIABLES.domain] || undefined;
  const scope = { names: jobNames(uid, prefix), prefix, ...(domain !== undefined && { domain }) };
  const permissions = workerPermissions(scope, worker);
  return credentialsFile(signer, `${uid}/${worker}`, permissions, Math.floor(now / 1000));
}
