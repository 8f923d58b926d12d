#!/usr/bin/env node
/** The command line. What must be so before anything else is loaded comes first. */

// ONNX Runtime reads this when it is loaded, here and in the processes that are started.
process.env.ORT_DISABLE_TELEMETRY ??= '1';

// A reader that goes (`| head`) leaves the command unheard, and neither ends it nor changes its exit code.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

/** What a shell says of a program that this signal ended. */
const TERMINATED = 128 + 15;

// The kernel gives a container's first process no signal that it does not listen to, so one that comes before a command does so
// would be lost, and the container hold up its pod until it is killed, a minute later.
if (process.pid === 1)
  process.on('SIGTERM', () => {
    if (process.listenerCount('SIGTERM') === 1) process.exit(TERMINATED);
  });

const { main } = await import('./program.ts');
await main(process.argv);
