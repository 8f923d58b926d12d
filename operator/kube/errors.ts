/** What the API server answers when it refuses a call (`metav1.Status`). */
export interface Status {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly {
      readonly reason?: string;
      readonly message?: string;
      readonly field?: string;
    }[];
  };
}

export interface ErrorContext {
  /** The call that failed, e.g. `GET /api/v1/pods`. */
  readonly call: string;
  readonly retryAfterMs?: number | undefined;
}

/** The API server refused a call. The subclass says why; `reason` is the server's own word. */
export class ApiError extends Error {
  override readonly name: string = 'ApiError';
  readonly status: number;
  readonly reason: string;
  readonly details: Status['details'];
  readonly retryAfterMs: number | undefined;
  constructor(status: number, body: Status, context: ErrorContext) {
    super(`${context.call}: ${body.message ?? `HTTP ${status}`}`);
    this.status = status;
    this.reason = body.reason ?? '';
    this.details = body.details;
    const seconds = body.details?.retryAfterSeconds;
    this.retryAfterMs = context.retryAfterMs ?? (seconds ? seconds * 1_000 : undefined);
  }
}

/** 401: no or old credentials. */
export class Unauthorized extends ApiError {
  override readonly name = 'Unauthorized';
}
/** 403: RBAC, a quota or an admission policy says no. */
export class Forbidden extends ApiError {
  override readonly name = 'Forbidden';
}
export class NotFound extends ApiError {
  override readonly name = 'NotFound';
}
/** 409 on create: the name is taken. */
export class AlreadyExists extends ApiError {
  override readonly name = 'AlreadyExists';
}
/** 409: the object changed meanwhile, a precondition does not hold, or another field manager owns a field. */
export class Conflict extends ApiError {
  override readonly name = 'Conflict';
}
/** 410: the resource version or continue token is too old; list again. */
export class Gone extends ApiError {
  override readonly name = 'Gone';
}
/** 422 or 400: the object breaks the schema or a rule. The same call will fail again. */
export class Invalid extends ApiError {
  override readonly name = 'Invalid';
}
/** 429: come back after `retryAfterMs`. */
export class TooManyRequests extends ApiError {
  override readonly name = 'TooManyRequests';
}
/** 5xx. Whether the call took effect is unknown. */
export class ServerError extends ApiError {
  override readonly name = 'ServerError';
}

/** No answer: refused, reset, cut or timed out. */
export class NetworkError extends Error {
  override readonly name: string = 'NetworkError';
  /** True when the call cannot have reached the server. */
  readonly unsent: boolean;
  constructor(message: string, unsent: boolean, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.unsent = unsent;
  }
}
export class Timeout extends NetworkError {
  override readonly name = 'Timeout';
}

/** The caller's signal ended the call. */
export class Aborted extends Error {
  override readonly name = 'Aborted';
}

const unsentCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

/** Turns what Node reports about a lost connection into a NetworkError. */
export function networkError(call: string, error: unknown): Error {
  if (error instanceof NetworkError || error instanceof Aborted) return error;
  const { code = '', message = String(error) } = error as { code?: string; message?: string };
  return new NetworkError(`${call}: ${message || code}`, unsentCodes.has(code), error);
}

/** The error class for an answer, by HTTP status and the server's reason. */
export function apiError(status: number, body: Status, context: ErrorContext): ApiError {
  return new (classFor(status, body.reason))(status, body, context);
}

function classFor(status: number, reason: string | undefined): typeof ApiError {
  if (status === 409) return reason === 'AlreadyExists' ? AlreadyExists : Conflict;
  if (status === 410 || reason === 'Expired') return Gone;
  if (status === 400 || status === 422) return Invalid;
  if (status === 401) return Unauthorized;
  if (status === 403) return Forbidden;
  if (status === 404) return NotFound;
  if (status === 429) return TooManyRequests;
  return status >= 500 ? ServerError : ApiError;
}

/**
 * Whether the same call may be sent again. A call that is safe to repeat may be after any loss; one that is not (a
 * create) only when it certainly did nothing.
 */
export function mayRetry(error: unknown, isRepeatable: boolean): boolean {
  if (error instanceof TooManyRequests) return true;
  if (error instanceof NetworkError) return isRepeatable || error.unsent;
  return error instanceof ServerError && isRepeatable;
}
