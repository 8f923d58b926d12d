import { errors, type NatsConnection } from '@nats-io/transport-node';
import { OnebyteError } from '../errors.ts';
import { LogUnavailable } from '../log/log.ts';

/** Codes that Node gives to failures of TLS, apart from those that begin with ERR_TLS or ERR_SSL. */
const TLS_CODES = new Set([
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REJECTED',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'EPROTO',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** What says of a line that it broke, whatever was being said over it: Node tells of TLS there too. */
const BROKEN = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT']);

const CHECK = 'Check the URL, that the server runs, and what lies between: firewall, NetworkPolicy, DNS.';
const JETSTREAM =
  'Start the server with JetStream (nats-server -js), and check ONEBYTE_NATS_DOMAIN, which is for a JetStream domain alone.';

/**
 * Why a connection could not be made, or ended for good, in words of ours.
 * @param secured whether it was to be made with TLS
 */
export function connectionError(cause: unknown, servers: readonly string[], secured = false): OnebyteError {
  if (cause instanceof OnebyteError) return cause;
  const at = servers.map(withoutPassword).join(', ');
  if (isDenied(cause))
    return new OnebyteError('NATS_DENIED', `the NATS server ${at} refuses these credentials`, {
      cause,
      remedy: 'Check user, password, token, NKey or credentials file, and whether they have expired.',
    });
  const { code, message } = describe(cause);
  if (!isBroken(cause) && isOfTls(code, message))
    return new OnebyteError('NATS_TLS', `no secured connection to ${at}: ${message || code}`, {
      cause,
      remedy: 'Check the CA file, the host name in the server certificate, and the client certificate.',
    });
  // With TLS 1.3 the client is done before the server looks at its certificate, and only finds the line dead.
  const silent = cause instanceof errors.TimeoutError && secured;
  const hint =
    ' A server that wants a client certificate and sees none that it trusts does not answer either.';
  return new OnebyteError('NATS_UNREACHABLE', `no NATS server answers at ${at}: ${message || code}`, {
    cause,
    remedy: silent ? CHECK + hint : CHECK,
  });
}

/** Whether the server said that nobody is there to answer. */
export function saysNobody(error: unknown): boolean {
  return error instanceof errors.RequestError && error.isNoResponders();
}

/** No answer, or none that helps: it may come later. @param cause what the last try met */
export function unavailable(reason: string, cause?: unknown): LogUnavailable {
  return saysNobody(cause)
    ? new LogUnavailable('JetStream does not answer on this NATS server', { cause, remedy: JETSTREAM })
    : new LogUnavailable(reason, { cause, remedy: CHECK });
}

/** A request or subscription that the credentials do not allow. */
export function deniedError(cause: unknown): OnebyteError {
  const { message } = describe(cause);
  return new OnebyteError('NATS_DENIED', `the NATS server does not allow this: ${message}`, {
    cause,
    remedy: 'Use the credentials that were made for this worker and this job.',
  });
}

export function isDenied(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (
      at instanceof errors.AuthorizationError ||
      at instanceof errors.UserAuthenticationExpiredError ||
      at instanceof errors.PermissionViolationError
    )
      return true;
  return false;
}

export function isClosed(error: unknown, connection: NatsConnection): boolean {
  return (
    connection.isClosed() ||
    error instanceof errors.ClosedConnectionError ||
    error instanceof errors.DrainingConnectionError
  );
}

function isBroken(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (BROKEN.has((at as NodeJS.ErrnoException).code ?? '')) return true;
  return false;
}

function isOfTls(code: string, message: string): boolean {
  return TLS_CODES.has(code) || /^ERR_(TLS|SSL)|\bTLS\b/i.test(code) || /\btls\b|certificate/i.test(message);
}

function describe(error: unknown): { code: string; message: string } {
  if (!(error instanceof Error)) return { code: '', message: String(error ?? 'the connection was closed') };
  const own = (error as NodeJS.ErrnoException).code;
  const inner = error.cause instanceof Error ? describe(error.cause) : { code: '', message: '' };
  return { code: typeof own === 'string' ? own : inner.code, message: error.message || inner.message };
}

function withoutPassword(server: string): string {
  return server.replace(/\/\/.*@/, '//');
}
