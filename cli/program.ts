import { Command, CommanderError, InvalidArgumentError } from 'commander';
import manifest from '../package.json' with { type: 'json' };
import { OnebyteError } from '../worker/errors.ts';
import { SPLITS, type Split } from '../worker/journal/ledger.ts';
import type { EvaluateOptions } from './evaluate.ts';
import { FORMATS, type Format } from './formats.ts';
import { EXIT, errorLines, exitCodeOf } from './print.ts';

const out = (line: string) => process.stdout.write(`${line}\n`);

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0)
    throw new InvalidArgumentError('a whole number from 0 on is allowed.');
  return value;
}

function positive(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError('a whole number from 1 on is allowed.');
  return value;
}

function format(text: string): Format {
  if ((FORMATS as readonly string[]).includes(text)) return text as Format;
  throw new InvalidArgumentError(`allowed: ${FORMATS.join(', ')}.`);
}

function splitName(text: string): Split {
  if ((SPLITS as readonly string[]).includes(text)) return text as Split;
  throw new InvalidArgumentError(`allowed: ${SPLITS.join(', ')}.`);
}

const collect = (value: string, all: readonly string[]) => [...all, value];

/** Each command loads what it needs when it is asked for: a worker keeps nothing in memory that only others use. */
export function program(): Command {
  const onebyte = new Command('onebyte')
    .description('Fine-tune language models across workers that exchange one byte per probe.')
    .version(manifest.version)
    .exitOverride()
    // Told like every other error, below.
    .configureOutput({ outputError: () => {} });

  onebyte
    .command('run')
    .description('run a job on this machine')
    .argument('<job>', 'job file (YAML)')
    .option('--nats <url>', 'keep log and bus on this NATS server (credentials from ONEBYTE_NATS_*)')
    .option('--workers <n>', 'workers, dealt out over the sources of data', positive)
    .option('--out <dir>', 'directory of the run (default: runs/NAME, or the next one that is free)')
    .option('--set <path=value>', 'change a field of the job, such as spec.seed=3', collect, [])
    .option('--json', 'print the result as the last line, progress goes to stderr')
    .action(
      async (
        file: string,
        options: { nats?: string; workers?: number; out?: string; set: string[]; json?: boolean },
      ) => {
        const { runJob } = await import('./run/run.ts');
        const finished = await runJob({
          ...options,
          file,
          stream: options.json ? process.stderr : process.stdout,
        });
        if (options.json) out(JSON.stringify(finished));
      },
    );

  onebyte
    .command('replay')
    .description('rebuild a run from its journal and hold it to every digest')
    .argument('<journal>', 'journal, or directory of a run')
    .option('--model <dir>', 'folder of the base model (default: where the run had it, or the job says)')
    .option('--to <round>', 'apply only so many rounds', wholeNumber)
    .option('--out <dir>', 'write the rebuilt model there')
    .option('--json', 'print one JSON object')
    .action(
      async (journal: string, options: { model?: string; to?: number; out?: string; json?: boolean }) => {
        const { replayCommand } = await import('./replay-command.ts');
        process.exitCode = await replayCommand(journal, options, out);
      },
    );

  onebyte
    .command('evaluate')
    .description('measure the model of a run: loss, accuracy, F1, perplexity, exact match')
    .argument('<run>', 'directory of a run, or its journal')
    .argument('<job>', 'job file whose data it is measured on')
    .option('--split <name>', SPLITS.join(', '), splitName, 'test')
    .option('--to <round>', 'the model after so many rounds; 0: the base', wholeNumber)
    .option('--set <path=value>', 'change a field of the job', collect, [])
    .option('--model <dir>', 'folder of the base model (default: where the run had it, or the job says)')
    .option('--json', 'print one JSON object')
    .action(async (run: string, job: string, options: EvaluateOptions) => {
      const { evaluateRun } = await import('./evaluate.ts');
      for (const line of await evaluateRun(run, job, options)) out(line);
    });

  onebyte
    .command('journal')
    .description('say what is in a journal')
    .argument('<journal>', 'journal, or directory of a run')
    .option('--json', 'print one JSON object')
    .action(async (journal: string, options: { json?: boolean }) => {
      const { describeJournal, journalJson } = await import('./journal.ts');
      for (const line of options.json ? [journalJson(journal)] : describeJournal(journal)) out(line);
    });

  onebyte
    .command('validate')
    .description('check a job file by the schema and the rules of the API server')
    .argument('<job>')
    .option('--set <path=value>', 'change a field of the job', collect, [])
    .action(async (file: string, options: { set: string[] }) => {
      const { validateFile } = await import('./validate.ts');
      const { code, lines } = await validateFile(file, options.set);
      for (const line of lines) out(line);
      process.exitCode = code;
    });

  onebyte
    .command('export')
    .description('write the model of a run for other tools')
    .argument('<run>', 'directory of a run, or its journal')
    .requiredOption('--format <format>', FORMATS.join(', '), format)
    .requiredOption('--out <dir>', 'folder to write to')
    .option('--model <dir>', 'folder of the base model (default: where the run had it, or the job says)')
    .action(async (run: string, options: { format: Format; out: string; model?: string }) => {
      const { exportRun } = await import('./export.ts');
      for (const line of await exportRun(run, options)) out(line);
    });

  onebyte
    .command('status')
    .description('say how a run over NATS goes, from the last record of its log')
    .argument('<job>', 'UID or name of the job, or the directory of its run')
    .option('--nats <url>', 'server (default: ONEBYTE_NATS_URL; credentials from ONEBYTE_NATS_*)')
    .option('--watch', 'show it live until the run ends')
    .option('--json', 'print one JSON object')
    .action(async (job: string, options: { nats?: string; watch?: boolean; json?: boolean }) => {
      const { statusCommand } = await import('./status-command.ts');
      process.exitCode = await statusCommand(job, options, out);
    });

  onebyte
    .command('worker')
    .description('take part in a run over NATS, as the environment says (docs/worker.md)')
    .action(async () => {
      const { workerCommand } = await import('./worker-command.ts');
      // Threads may still compute: what they find nobody waits for.
      process.exit(await workerCommand(process.env, onebyte.version() ?? ''));
    });

  onebyte
    .command('export-run')
    .description(
      'write the model of a run over NATS that has ended to the output of its job (docs/worker.md)',
    )
    .action(async () => {
      const { exportRunCommand } = await import('./export-run.ts');
      process.exit(await exportRunCommand(process.env));
    });

  onebyte
    .command('credentials')
    .description('write credentials with which one worker elsewhere takes part in a run (docs/sites.md)')
    .argument('<uid>', "the job's metadata.uid")
    .argument('<worker>', 'name of the worker, its ONEBYTE_WORKER')
    .requiredOption('--account-seed <file>', "seed of the NATS account's key, or of a signing key of it")
    .option('--account <key>', 'public key of the account, where the seed is a signing key')
    .action(async (uid: string, worker: string, options: { accountSeed: string; account?: string }) => {
      const { credentialsFor } = await import('./operator/credentials.ts');
      out(credentialsFor(uid, worker, options, process.env, Date.now()).trimEnd());
    });

  onebyte
    .command('operator')
    .description('look after the jobs of a Kubernetes cluster, as the environment says (docs/operator.md)')
    .action(async () => {
      const { operatorCommand } = await import('./operator/command.ts');
      process.exit(await operatorCommand(process.env, onebyte.version() ?? ''));
    });

  return onebyte;
}

/** Runs one command. Exit codes: 0 done, 1 failed, 2 bad input, 3 verification failed. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await program().parseAsync([...argv]);
  } catch (error) {
    if (error instanceof CommanderError && SAID.includes(error.code)) {
      process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.badInput;
      return;
    }
    const known = error instanceof CommanderError ? misused(error) : error;
    process.exitCode = exitCodeOf(known);
    for (const line of errorLines(known)) process.stderr.write(`${line}\n`);
  }
}

/** Ends of the parser that are no errors: it has printed what was asked for, or the help. */
const SAID = ['commander.help', 'commander.helpDisplayed', 'commander.version'];

function misused({ message }: CommanderError): OnebyteError {
  return new OnebyteError('COMMAND_INVALID', message.replace(/^error: /, '').replace(/\.$/, ''), {
    remedy: 'onebyte help COMMAND says what there is',
  });
}
