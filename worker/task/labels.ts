import { OnebyteError } from '../errors.ts';
import type { RowPlace } from './template.ts';

/** Maps label texts to class numbers: the order of `task.labels`. */
export class Labels {
  readonly names: readonly string[];
  readonly #index: ReadonlyMap<string, number>;

  constructor(names: readonly string[]) {
    this.names = names;
    this.#index = new Map(names.map((name, index) => [name, index]));
    if (names.length < 2 || this.#index.size !== names.length) {
      throw new OnebyteError(
        'LABELS_INVALID',
        `task.labels needs two or more different labels, got [${names.join(', ')}]`,
        {
          field: 'task.labels',
          remedy: 'list every label once, in the order of the classes',
        },
      );
    }
  }

  /** @throws OnebyteError LABEL_UNKNOWN, naming the label, its row and the labels that are allowed. */
  indexOf(text: string, place: RowPlace): number {
    const index = this.#index.get(text);
    if (index !== undefined) return index;
    throw new OnebyteError(
      'LABEL_UNKNOWN',
      `label ${JSON.stringify(text)} in row ${place.row + 1} of source '${place.source}' is not one of: ${this.names.join(', ')}`,
      { field: 'task.labels', remedy: 'add it to task.labels, or correct the row or the label template' },
    );
  }
}
