import { join } from 'node:path';
import { trainedOf } from '../worker/engine/trained.ts';
import { OnebyteError } from '../worker/errors.ts';
import {
  exportOnnx,
  exportPeft,
  exportSafetensors,
  type Files,
  type Trained,
  writeFiles,
} from '../worker/model/export.ts';
import { journalAt } from './journal-file.ts';
import { type Replayed, replay } from './replay.ts';

export const FORMATS = ['peft', 'safetensors', 'onnx'] as const;
export type Format = (typeof FORMATS)[number];

/** `onebyte export`: rebuilds the model from the run's journal and writes it. @returns lines for people */
export async function exportRun(
  run: string,
  options: { readonly format: Format; readonly out: string; readonly model?: string },
): Promise<string[]> {
  const journal = journalAt(run);
  const replayed = await replay(journal, options);
  if (replayed.mismatch !== null)
    throw new OnebyteError(
      'JOURNAL_CORRUPT',
      `the journal fails its own digest at round ${replayed.mismatch.round}`,
      { field: journal, remedy: 'take another copy of the journal' },
    );
  const trained = trainedOf(replayed.replica, replayed.plan, replayed.basis, replayed.folder);
  const files = await filesOf(options.format, replayed, trained);
  await writeFiles(options.out, files);
  return [...files].map(([name, bytes]) => `${join(options.out, name)} (${bytes.length} bytes)`);
}

function filesOf(format: Format, { folder, replica }: Replayed, trained: Trained): Promise<Files> | Files {
  switch (format) {
    case 'safetensors':
      return exportSafetensors(folder, trained);
    case 'onnx':
      return exportOnnx(folder, trained);
    case 'peft':
      return exportPeft(trained, replica.ledger.job!.model.uri.replace(/^hf:\/\//, ''));
  }
}
