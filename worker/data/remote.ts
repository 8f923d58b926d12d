import { s3Settings, signedUrl } from './s3.ts';

/** Whether what a URI names is read over the network. */
export function isRemote(uri: string): boolean {
  return /^(https?|s3):/.test(uri);
}

/** The address to download `uri` from. @throws OnebyteError WORKER_CONFIG_INVALID where s3:// has no credentials */
export function addressOf(
  uri: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string> | string {
  return uri.startsWith('s3:') ? signedUrl(s3Settings(env), uri) : uri;
}
