import { pino } from 'pino';
import { fatalOf, writeTermination } from '../worker/service/fatal.ts';
import { WorkerService, wrongEnd } from '../worker/service/service.ts';
import { DEFAULT_TERMINATION_LOG, SERVICE_VARIABLES, serviceSettings } from '../worker/service/settings.ts';
import { EXIT, errorLines, exitCodeOf } from './print.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Runs one worker until the run has ended or somebody asks it to go.
 * @returns the exit code: 0 also after SIGTERM, else that of what went wrong, which is written down for Kubernetes
 */
export async function workerCommand(env: Environment, version: string): Promise<number> {
  const logger = pino({ level: env[SERVICE_VARIABLES.logLevel] || 'info', base: null });
  try {
    const settings = serviceSettings(env);
    const service = new WorkerService({ settings, logger, version });
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => service.stop());
    // Started by a program that keeps a line to it, a worker goes when that one does.
    if (process.connected) process.on('disconnect', () => service.stop());
    const wrong = wrongEnd(await service.run());
    if (wrong !== null) throw wrong;
    return EXIT.done;
  } catch (error) {
    const fatal = fatalOf(error);
    const { code, field, remedy, message } = fatal;
    logger.fatal({ code, field, remedy }, message);
    writeTermination(env[SERVICE_VARIABLES.terminationLog] || DEFAULT_TERMINATION_LOG, fatal);
    for (const line of errorLines(fatal)) process.stderr.write(`${line}\n`);
    return exitCodeOf(fatal);
  }
}
