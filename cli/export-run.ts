import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import { cacheFolder } from '../worker/data/cache.ts';
import { readArtifact } from '../worker/engine/artifact.ts';
import { modelOf } from '../worker/engine/job-model.ts';
import { OnebyteError } from '../worker/errors.ts';
import { JournalWriter } from '../worker/journal/file.ts';
import { follow } from '../worker/journal/follow.ts';
import { emptyLedger, type Ledger } from '../worker/journal/ledger.ts';
import type { GenesisRecord } from '../worker/journal/record.ts';
import { type Log, LogUnavailable } from '../worker/log/log.ts';
import { NatsLog } from '../worker/log/nats.ts';
import type { ApiOptions } from '../worker/nats/api.ts';
import { closedForGood, openNats } from '../worker/nats/connect.ts';
import { inboxPrefix, jobNames, token } from '../worker/nats/names.ts';
import { NatsStore } from '../worker/nats/store.ts';
import { waitForStream } from '../worker/nats/stream.ts';
import { checkJob } from '../worker/service/assignment.ts';
import { fatalOf, writeTermination } from '../worker/service/fatal.ts';
import { readAssignment, readJob } from '../worker/service/job.ts';
import { fetchArtifacts } from '../worker/service/join.ts';
import {
  DEFAULT_TERMINATION_LOG,
  SERVICE_VARIABLES,
  type ServiceSettings,
  serviceSettings,
} from '../worker/service/settings.ts';
import { FolderStore } from '../worker/store/folder.ts';
import { modelFiles, sound } from './export.ts';
import { openOutput } from './export-output.ts';
import { JOURNAL_NAME } from './journal-file.ts';
import { EXIT, errorLines, exitCodeOf } from './print.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Between two looks at a log that has not ended yet, in milliseconds. */
const PAUSE = 1_000;

/**
 * `onebyte export-run`: once a run has ended, rebuilds its model from its log, as anybody could, and writes it to the job's
 * `output`. Set up as a worker is. It may be stopped and started again at any point.
 * @returns the exit code; what went wrong is written down for Kubernetes
 */
export async function exportRunCommand(env: Environment): Promise<number> {
  const logger = pino({ level: env[SERVICE_VARIABLES.logLevel] || 'info', base: null });
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stop.abort());
  try {
    await exportEnded(env, logger, stop.signal);
    return EXIT.done;
  } catch (error) {
    if (stop.signal.aborted) return EXIT.failed;
    const fatal = fatalOf(error);
    logger.fatal({ code: fatal.code, field: fatal.field, remedy: fatal.remedy }, fatal.message);
    writeTermination(env[SERVICE_VARIABLES.terminationLog] || DEFAULT_TERMINATION_LOG, fatal);
    for (const line of errorLines(fatal)) process.stderr.write(`${line}\n`);
    return exitCodeOf(fatal);
  }
}

async function exportEnded(env: Environment, logger: Logger, signal: AbortSignal): Promise<void> {
  const settings = serviceSettings(env);
  const { uri, formats } = outputOf(settings);
  const assignment = readAssignment(settings);
  const { uid, jobFolder } = assignment;
  const output = openOutput(uri, jobFolder, env);
  const stage = join(cacheFolder(), 'exports', token(uid));
  await mkdir(stage, { recursive: true });
  const { nats, worker } = settings;
  const names = jobNames(uid, nats.prefix);
  const connection = await openNats(
    { inboxPrefix: inboxPrefix(names.uid, worker, nats.prefix), ...nats.config, name: worker },
    { wait: signal, onFailure: (error) => logger.warn({ code: error.code }, error.message) },
  );
  try {
    const { domain } = nats;
    const api: ApiOptions = domain === undefined ? {} : { domain };
    const journal = join(stage, JOURNAL_NAME);
    const copied = async () => {
      await waitForStream(connection, names, signal, api);
      logger.info('copying the journal');
      return copyJournal(new NatsLog(connection, names, api), journal, signal);
    };
    const genesis = await Promise.race([copied(), closedForGood(connection)]);
    checkJob(assignment, genesis);
    logger.info('fetching the model');
    const note = (line: string) => logger.info(line);
    const model = await modelOf(genesis.job, { folder: jobFolder, log: note });
    const store =
      settings.store === undefined
        ? await NatsStore.find(connection, names, api)
        : new FolderStore(settings.store, token(names.uid));
    if (store !== null) await fetchArtifacts(genesis, [settings.artifacts], store);
    logger.info('rebuilding the model from the journal');
    const replayed = await sound(journal, { model, log: note });
    for (const format of formats) {
      const files = await modelFiles(replayed, format);
      await output.write(format, files);
      logger.info({ format, files: files.size, output: output.name }, 'wrote the model');
    }
    for (const artifact of genesis.artifacts) {
      const bytes = await readArtifact(artifact, [settings.artifacts]);
      await output.write('artifacts', new Map([[artifact.digest, bytes]]));
    }
    // Last: an output with a journal is a whole one.
    await output.write('', new Map([[JOURNAL_NAME, await readFile(journal)]]));
    logger.info({ digest: replayed.digest, output: output.name }, 'the export is complete');
  } finally {
    await connection.close();
    await rm(stage, { recursive: true, force: true });
  }
}

function outputOf({ jobFile }: ServiceSettings) {
  const output = jobFile === undefined ? undefined : readJob(jobFile).spec.output;
  if (output !== undefined) return output;
  throw new OnebyteError('JOB_INVALID', 'the job has no output', {
    field: 'spec.output',
    remedy: 'Say in spec.output where the model is to go; the journal in the log has the run.',
  });
}

/** Writes the journal of a run that has ended, or is about to. @returns its first record */
async function copyJournal(log: Log, path: string, signal: AbortSignal): Promise<GenesisRecord> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const { genesis, end } = await copyOnce(log, path);
      if (genesis !== null && end !== null) return genesis;
    } catch (error) {
      if (!(error instanceof LogUnavailable)) throw error;
    }
    // What ended the run was seen elsewhere: this server may be a little behind.
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

async function copyOnce(log: Log, path: string): Promise<Ledger> {
  const journal = JournalWriter.create(path);
  let ledger = emptyLedger();
  try {
    for await (const entry of log.read(1)) {
      const followed = follow(ledger, entry);
      if ('ignored' in followed) continue;
      journal.append(followed);
      ledger = followed.ledger;
      if (ledger.end !== null) break;
    }
    return ledger;
  } finally {
    journal.close();
  }
}
