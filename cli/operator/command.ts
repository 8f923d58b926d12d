import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { LeadershipLost } from '../../operator/kube/mod.ts';
import { operate } from '../../operator/main.ts';
import { OPERATOR_VARIABLES, operatorSettings, SettingsInvalid } from '../../operator/settings.ts';
import { OnebyteError } from '../../worker/errors.ts';
import { NATS_VARIABLES, natsSettings } from '../../worker/nats/config.ts';
import { EXIT, errorLines, exitCodeOf } from '../print.ts';
import { NatsLogs } from './nats-logs.ts';
import { type Signer, signerOf } from './user-jwt.ts';

/** Variables of the operator that concern its logs on NATS, beside those in `worker/nats/config.ts`. */
export const LOG_VARIABLES = {
  /** Where the operator finds NATS, if that is not where workers do. */
  url: 'ONEBYTE_OPERATOR_NATS_URL',
  /** Most bytes of a job's log. */
  maxBytes: 'ONEBYTE_LOG_MAX_BYTES',
  /** Bytes for a job's snapshots and artifacts; 0: it has none. */
  storeBytes: 'ONEBYTE_STORE_MAX_BYTES',
  /** A file with the seed of the account's key or of a signing key: workers then get credentials of their own. */
  accountSeedFile: 'ONEBYTE_NATS_ACCOUNT_SEED_FILE',
  /** Public key of the account, where the seed is only that of a signing key. */
  account: 'ONEBYTE_NATS_ACCOUNT',
  logLevel: 'ONEBYTE_LOG_LEVEL',
} as const;

/** Room for some hundred million probes. */
const LOG_BYTES = { default: 256 * 2 ** 20, least: 2 ** 20 };
const STORE_BYTES = { default: 128 * 2 ** 20, least: 0 };

type Environment = Readonly<Record<string, string | undefined>>;

/** `onebyte operator`: runs until it is told to stop. @returns the exit code */
export async function operatorCommand(env: Environment, version: string): Promise<number> {
  const logger = pino({ level: env[LOG_VARIABLES.logLevel] || 'info', base: null });
  try {
    const settings = settingsOf(env);
    const port = logsOf(env);
    await operate({ settings, port, logger, version });
    return EXIT.done;
  } catch (cause) {
    const error = cause instanceof LeadershipLost ? leaseLost(cause) : cause;
    logger.fatal({ error: error instanceof Error ? error.message : String(error) }, 'the operator ends');
    for (const line of errorLines(error)) process.stderr.write(`${line}\n`);
    return error instanceof OnebyteError && /_CONFIG_INVALID$/.test(error.code)
      ? EXIT.badInput
      : exitCodeOf(error);
  }
}

function leaseLost(cause: LeadershipLost): OnebyteError {
  return new OnebyteError('OPERATOR_LEASE_LOST', cause.message, {
    cause,
    remedy:
      'Start it again, as Kubernetes does. Often, and the operator lacks CPU or the API server is slow.',
  });
}

function settingsOf(env: Environment) {
  try {
    return operatorSettings(env);
  } catch (cause) {
    if (!(cause instanceof SettingsInvalid)) throw cause;
    throw new OnebyteError('OPERATOR_CONFIG_INVALID', cause.message, {
      cause,
      field: cause.field,
      remedy: 'Set these variables; the chart sets them all from its values.',
    });
  }
}

function logsOf(env: Environment): NatsLogs {
  const url = env[LOG_VARIABLES.url] || env[OPERATOR_VARIABLES.natsUrl];
  const settings = natsSettings({ ...env, [NATS_VARIABLES.url]: url });
  const signer = readSigner(env);
  return new NatsLogs({
    settings,
    maxBytes: readBytes(env, LOG_VARIABLES.maxBytes, LOG_BYTES),
    storeBytes: readBytes(env, LOG_VARIABLES.storeBytes, STORE_BYTES),
    ...(signer && { signer }),
  });
}

function readBytes(env: Environment, field: string, bounds: { default: number; least: number }): number {
  const given = env[field];
  const bytes = given ? Number(given) : bounds.default;
  if (Number.isSafeInteger(bytes) && bytes >= bounds.least) return bytes;
  throw new OnebyteError('OPERATOR_CONFIG_INVALID', `${field} is '${given}'`, {
    field,
    remedy: `Give a whole number of bytes, at least ${bounds.least}.`,
  });
}

function readSigner(env: Environment): Signer | null {
  const path = env[LOG_VARIABLES.accountSeedFile];
  if (!path) return null;
  const field = LOG_VARIABLES.accountSeedFile;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new OnebyteError('FILE_UNREADABLE', `${path} cannot be read`, { field, cause });
  }
  const signer = signerOf(text, env[LOG_VARIABLES.account] || undefined);
  if (signer === null)
    throw new OnebyteError('OPERATOR_CONFIG_INVALID', `${path} holds no seed of an account`, {
      field,
      remedy: 'It begins with SA and has 58 letters and digits: nsc describes it.',
    });
  return signer;
}
