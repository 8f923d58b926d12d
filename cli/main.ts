#!/usr/bin/env node
/** The command line. What must be so before anything else is loaded comes first. */
import { listenAsFirst } from './first-process.ts';

// ONNX Runtime reads this when it is loaded, here and in the processes that are started.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

// A reader that goes (`| head`) leaves the command unheard, and neither ends it nor changes its exit code.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

// One that comes before a command listens itself would be lost.
listenAsFirst();

const { main } = await import('./program.ts');
await main(process.argv);
