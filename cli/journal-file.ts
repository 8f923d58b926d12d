import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { JournalEntry, JournalOutcome } from '../worker/journal/file.ts';
import { readJournal } from '../worker/journal/file.ts';
import { unreadable } from '../worker/system-error.ts';
import { inFile } from './print.ts';

/** The journal's file in the directory of a run. */
export const JOURNAL_NAME = 'journal.onebyte';

/** The journal that a path means: the file itself, or the one in the directory of a run. @throws OnebyteError FILE_UNREADABLE */
export function journalAt(path: string): string {
  try {
    return statSync(path).isDirectory() ? join(path, JOURNAL_NAME) : path;
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** Reads a journal record by record. @throws OnebyteError that names the file */
export function* entriesOf(path: string): Generator<JournalEntry, JournalOutcome> {
  try {
    return yield* readJournal(path);
  } catch (error) {
    throw inFile(path, error);
  }
}
