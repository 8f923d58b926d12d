import { createHash } from 'node:crypto';
import { AwsClient } from 'aws4fetch';
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

const RETRIES = 4;
const MAX_BYTES = 5 * 2 ** 30;

/** Credentials as every S3 program takes them from its environment. @throws OnebyteError WORKER_CONFIG_INVALID */
export function s3Settings(env: Readonly<Record<string, string | undefined>>): S3Settings {
  const required = (name: string): string => {
    const value = env[name];
    if (value) return value;
    throw new OnebyteError('WORKER_CONFIG_INVALID', `${name} is missing, which s3:// needs`, {
      field: name,
      remedy:
        'Give AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and AWS_ENDPOINT_URL where the service is not Amazon: for an output by the Secret spec.output.credentialsSecret, for sources by the environment of the workers.',
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

/** Writes an object, whole or not at all. @param place `s3://BUCKET/KEY` @throws OnebyteError FILE_UNWRITABLE */
export async function putObject(settings: S3Settings, place: string, body: Uint8Array): Promise<void> {
  if (body.length > MAX_BYTES) throw unwritable(place, 'one object holds 5 GiB at most');
  const client = clientOf(settings);
  const url = objectUrl(settings, place);
  // The bytes are signed too, so that a service without TLS cannot be given others.
  const headers = { 'x-amz-content-sha256': createHash('sha256').update(body).digest('hex') };
  let response: Response;
  try {
    response = await client.fetch(url, { method: 'PUT', headers, body });
  } catch (error) {
    const { cause, message } = error as Error;
    throw unwritable(place, cause instanceof Error ? cause.message : message);
  }
  const text = await response.text();
  if (!response.ok)
    throw unwritable(place, `HTTP ${response.status} ${/<Message>([^<]*)/.exec(text)?.[1] ?? ''}`.trim());
}

/**
 * Where anybody may read an object for a day, as the owner of the credentials: an ordinary address, that is read like any
 * other. It is a secret. @param place `s3://BUCKET/KEY`
 */
export async function signedUrl(settings: S3Settings, place: string): Promise<string> {
  const signed = await clientOf(settings).sign(objectUrl(settings, place), { aws: { signQuery: true } });
  return signed.url;
}

function clientOf({ sessionToken, region, accessKeyId, secretAccessKey }: S3Settings): AwsClient {
  return new AwsClient({
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
    region,
    service: 's3',
    retries: RETRIES,
  });
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
