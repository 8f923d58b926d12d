import { pino } from 'pino';
import { failureOf } from '../worker/engine/protocol.ts';
import { fatalOf, writeTermination } from '../worker/service/fatal.ts';
import { tellParent } from '../worker/service/parent.ts';
import { WorkerService, wrongEnd } from '../worker/service/service.ts';
import { DEFAULT_TERMINATION_LOG, SERVICE_VARIABLES, serviceSettings } from '../worker/service/settings.ts';
import { EXIT, errorLines, exitCodeOf } from './print.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** Milliseconds between two reports of bytes to a program that started this one. */
const REPORT_MS = 500;

/**
 * Runs one worker until the run has ended or somebody asks it to go.
 * @returns the exit code: 0 also after SIGTERM, else that of what went wrong, which is written down for Kubernetes
 */
export async function workerCommand(env: Environment, version: string): Promise<number> {
  const logger = pino({ level: env[SERVICE_VARIABLES.logLevel] || 'info', base: null });
  try {
    const settings = serviceSettings(env);
    const service = new WorkerService({
      settings,
      logger,
      version,
      onOpened: (facts) => void tellParent({ plane: 'service', type: 'opened', facts }),
    });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => service.stop());
    // Started by a program that keeps a line to it, a worker goes when that one does.
    if (process.connected) process.on('disconnect', () => service.stop());
    const report = () => tellParent({ plane: 'service', type: 'bytes', bytes: service.bytes });
    const timer = setInterval(report, REPORT_MS);
    const wrong = wrongEnd(await service.run());
    clearInterval(timer);
    await report();
    if (wrong !== null) throw wrong;
    await tellParent({ plane: 'service', type: 'done' });
    return EXIT.done;
  } catch (error) {
    const fatal = fatalOf(error);
    const { code, field, remedy, message } = fatal;
    logger.fatal({ code, field, remedy }, message);
    writeTermination(env[SERVICE_VARIABLES.terminationLog] || DEFAULT_TERMINATION_LOG, fatal);
    for (const line of errorLines(fatal)) process.stderr.write(`${line}\n`);
    await tellParent({ plane: 'service', type: 'failed', failure: failureOf(fatal) });
    return exitCodeOf(fatal);
  }
}
