import { Worker } from 'node:worker_threads';
import { OnebyteError } from '../errors.ts';
import { programUrl } from '../programs.ts';
import { guardExit } from './exit-gate.ts';
import type { Preparation, Prepared } from './prepare.ts';
import { errorOf, type Failure } from './protocol.ts';

/** What the preparing thread is given, and what it says. */
export interface PrepareCall {
  readonly modelDir: string;
  readonly preparation: Omit<Preparation, 'log'>;
}
export type PrepareReply =
  | { readonly type: 'log'; readonly line: string }
  | { readonly type: 'prepared'; readonly prepared: Prepared }
  | { readonly type: 'failed'; readonly failure: Failure };

/** `prepare` for a new run, in a thread of its own: it computes for long, and this thread has others to answer. */
export async function prepareApart(modelDir: string, preparation: Preparation): Promise<Prepared> {
  const { log, ...rest } = preparation;
  guardExit();
  const thread = new Worker(programUrl('prepare-thread'), {
    workerData: { modelDir, preparation: rest } satisfies PrepareCall,
  });
  try {
    return await new Promise((resolve, reject) => {
      thread.on('message', (reply: PrepareReply) => {
        if (reply.type === 'log') log(reply.line);
        else if (reply.type === 'prepared') resolve(reply.prepared);
        else reject(errorOf(reply.failure));
      });
      thread.once('error', reject);
      thread.once('exit', () => reject(new OnebyteError('ENGINE_FAILED', 'the preparing thread has ended')));
    });
  } finally {
    await thread.terminate();
  }
}
