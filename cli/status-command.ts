import { EXIT } from './print.ts';
import { connectTo, statusJson, statusLines } from './status.ts';
import { watch } from './status-watch.ts';

interface Options {
  readonly nats?: string;
  readonly watch?: boolean;
  readonly json?: boolean;
}

/** `onebyte status`: a run over NATS, from its log's last record; with `--watch`, live until it ends. */
export async function statusCommand(
  job: string,
  options: Options,
  out: (line: string) => void,
  env: NodeJS.ProcessEnv = process.env,
): Promise<number> {
  const connected = await connectTo(job, options.nats, env);
  try {
    if (options.watch) {
      const stop = new AbortController();
      const interrupt = () => stop.abort();
      process.once('SIGINT', interrupt);
      process.once('SIGTERM', interrupt);
      const stream = options.json ? process.stderr : process.stdout;
      // Nobody watches any more.
      stream.once('error', interrupt);
      await watch(connected, stream, stop.signal);
      stream.off('error', interrupt);
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    }
    const status = await connected.status();
    for (const line of options.json ? [statusJson(status)] : statusLines(status, Date.now())) out(line);
    return EXIT.done;
  } finally {
    await connected.connection.close();
  }
}
