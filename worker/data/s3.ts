import { createHash, createHmac } from 'node:crypto';
import { OnebyteError } from '../errors.ts';

/** How S3, or what speaks its protocol, is reached. */
export interface S3Settings {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  readonly region: string;
  /** Of another service than Amazon's; buckets are then the first part of the path. */
  readonly endpoint?: string | undefined;
}

export interface S3Request {
  readonly method: string;
  readonly url: URL;
  /** In lower case; `host` and those of the signature are added. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** Milliseconds since 1970. */
  readonly now: number;
}

const TRIES = 4;
const FIRST_PAUSE = 500;
const MAX_BYTES = 5 * 2 ** 30;

/** Credentials as every S3 program takes them from its environment. @throws OnebyteError WORKER_CONFIG_INVALID */
export function s3Settings(env: Readonly<Record<string, string | undefined>>): S3Settings {
  const required = (name: string): string => {
    const value = env[name];
    if (value) return value;
    throw new OnebyteError('WORKER_CONFIG_INVALID', `${name} is missing, which s3:// needs`, {
      field: name,
      remedy:
        'Name a Secret in spec.output.credentialsSecret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and AWS_ENDPOINT_URL where the service is not Amazon.',
    });
  };
  return {
    accessKeyId: required('AWS_ACCESS_KEY_ID'),
    secretAccessKey: required('AWS_SECRET_ACCESS_KEY'),
    sessionToken: env.AWS_SESSION_TOKEN || undefined,
    region: env.AWS_REGION || env.AWS_DEFAULT_REGION || 'us-east-1',
    endpoint: env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined,
  };
}

/** Where an object is. @param place `s3://BUCKET/KEY` */
export function objectUrl({ region, endpoint }: S3Settings, place: string): URL {
  const [, bucket, key = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(place) ?? [];
  if (bucket === undefined)
    throw new OnebyteError('URI_UNSUPPORTED', `${place} is not s3://BUCKET/PREFIX`, { field: place });
  const path = key.split('/').map(encoded).join('/');
  return endpoint === undefined
    ? new URL(`https://${bucket}.s3.${region}.amazonaws.com/${path}`)
    : new URL(`${endpoint.replace(/\/$/, '')}/${bucket}/${path}`);
}

/**
 * Headers of a request with its signature, by AWS Signature Version 4 ("Authenticating Requests: Using the Authorization
 * Header" of the Amazon S3 API reference), the whole body signed in one chunk.
 */
export function signed(
  { accessKeyId, secretAccessKey, sessionToken, region }: S3Settings,
  { method, url, headers = {}, body, now }: S3Request,
): Record<string, string> {
  const time = new Date(now).toISOString().replace(/[-:]|\.\d+/g, '');
  const day = time.slice(0, 8);
  const payload = sha256(body);
  const all: Record<string, string> = {
    ...headers,
    host: url.host,
    'x-amz-content-sha256': payload,
    'x-amz-date': time,
    ...(sessionToken && { 'x-amz-security-token': sessionToken }),
  };
  const names = Object.keys(all).sort();
  const lines = names.map((name) => `${name}:${all[name]!.trim()}\n`).join('');
  const canonical = [method, url.pathname, '', lines, names.join(';'), payload].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
  const key = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secretAccessKey}`);
  const signature = hmac(key, text).toString('hex');
  const { host: _, ...sent } = all;
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope},SignedHeaders=${names.join(';')},Signature=${signature}`;
  return { ...sent, authorization };
}

/** Writes an object, whole or not at all. @param place `s3://BUCKET/KEY` @throws OnebyteError FILE_UNWRITABLE */
export async function putObject(
  settings: S3Settings,
  place: string,
  body: Uint8Array,
  now: () => number = Date.now,
): Promise<void> {
  if (body.length > MAX_BYTES) throw unwritable(place, 'one object holds 5 GiB at most');
  const url = objectUrl(settings, place);
  for (let attempt = 1; ; attempt++) {
    const headers = signed(settings, { method: 'PUT', url, body, now: now() });
    let why: string;
    try {
      const response = await fetch(url, { method: 'PUT', headers, body });
      const text = await response.text();
      if (response.ok) return;
      why = `HTTP ${response.status} ${/<Message>([^<]*)/.exec(text)?.[1] ?? ''}`.trim();
      if (response.status < 500 && response.status !== 429) throw unwritable(place, why);
    } catch (error) {
      if (error instanceof OnebyteError) throw error;
      const { cause, message } = error as Error;
      why = cause instanceof Error ? cause.message : message;
    }
    if (attempt === TRIES) throw unwritable(place, why);
    await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE * 2 ** attempt));
  }
}

function unwritable(place: string, why: string): OnebyteError {
  return new OnebyteError('FILE_UNWRITABLE', `${place} cannot be written: ${why}`, {
    field: place,
    remedy: 'check the bucket, the credentials and the region in the Secret of spec.output.credentialsSecret',
  });
}

/** As signatures want it: everything but letters, digits and -._~ is escaped. */
function encoded(part: string): string {
  return encodeURIComponent(part).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
