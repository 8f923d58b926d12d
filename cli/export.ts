import { join } from 'node:path';
import { hubName } from '../worker/data/origin.ts';
import { trainedOf } from '../worker/engine/trained.ts';
import { OnebyteError } from '../worker/errors.ts';
import {
  exportOnnx,
  exportPeft,
  exportSafetensors,
  type Files,
  type PeftBase,
  writeFiles,
} from '../worker/model/export.ts';
import { exportGguf } from '../worker/model/gguf/export.ts';
import type { Format } from './formats.ts';
import { journalAt } from './journal-file.ts';
import { type Replayed, type ReplayOptions, replay } from './replay.ts';

/** `onebyte export`: rebuilds the model from the run's journal and writes it. @returns lines for people */
export async function exportRun(
  run: string,
  options: { readonly format: Format; readonly out: string; readonly model?: string },
): Promise<string[]> {
  const journal = journalAt(run);
  const files = await modelFiles(await sound(journal, options), options.format);
  await writeFiles(options.out, files);
  return [...files].map(([name, bytes]) => `${join(options.out, name)} (${bytes.length} bytes)`);
}

/** Replays a journal. @throws OnebyteError JOURNAL_CORRUPT where it does not give the digests in it */
export async function sound(journal: string, options: ReplayOptions): Promise<Replayed> {
  const replayed = await replay(journal, options);
  if (replayed.mismatch === null) return replayed;
  throw new OnebyteError(
    'JOURNAL_CORRUPT',
    `the journal fails its own digest at round ${replayed.mismatch.round}`,
    { field: journal, remedy: 'take another copy of the journal' },
  );
}

/** The model that a journal gives, as the files of a format. */
export async function modelFiles(replayed: Replayed, format: Format): Promise<Files> {
  const { folder, replica, plan, basis } = replayed;
  const trained = trainedOf(replica, plan, basis, folder);
  switch (format) {
    case 'safetensors':
      return exportSafetensors(folder, trained);
    case 'onnx':
      return exportOnnx(folder, trained);
    case 'gguf':
      return exportGguf(folder, trained, 'F16');
    case 'gguf-f32':
      return exportGguf(folder, trained, 'F32');
    case 'peft':
      return exportPeft(folder, trained, peftBase(replica.ledger.job!.model.uri));
  }
}

/** A model's address in the words of PEFT, which knows repositories of the hub, with a revision beside them, and folders. */
export function peftBase(uri: string): PeftBase {
  const { name, revision } = hubName(uri) ?? { name: uri };
  return { name, ...(revision !== undefined && revision !== 'main' && { revision }) };
}
