/** Text to token ids. */
export interface TextTokenizer {
  /**
   * Ids with the model's special tokens, at most `maxTokens` of them; `truncated` says whether some were cut (the
   * closing special token stays).
   */
  encode(text: string, maxTokens: number): { readonly ids: Int32Array; readonly truncated: boolean };
  readonly padId: number;
  readonly vocabulary: number;
}
