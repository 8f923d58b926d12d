import type { Model } from './family.ts';
import type { TextTokenizer } from './tokenizer.ts';

/** A Hugging Face model folder, read and checked. */
export interface ModelFolder {
  readonly dir: string;
  readonly model: Model;
  readonly tokenizer: TextTokenizer;
  /** Lower-case hex SHA-256 of the weights file and of tokenizer.json. */
  readonly digests: { readonly weights: string; readonly tokenizer: string };
}

export type OpenModelFolder = (dir: string) => Promise<ModelFolder>;
