/** The thread of `prepareApart`. */
import { parentPort, workerData } from 'node:worker_threads';
import { prepare } from './prepare.ts';
import type { PrepareCall, PrepareReply } from './prepare-apart.ts';
import { failureOf } from './protocol.ts';

const { modelDir, preparation } = workerData as PrepareCall;
const say = (reply: PrepareReply) => parentPort!.postMessage(reply);
const log = (line: string) => say({ type: 'log', line });

await prepare(modelDir, { ...preparation, log }, Date.now, null).then(
  (prepared) => say({ type: 'prepared', prepared }),
  (error: unknown) => say({ type: 'failed', failure: failureOf(error) }),
);
