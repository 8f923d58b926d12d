/** A worker of `onebyte run`: a child process that reaches the log and the bus through its parent. */
import { IpcBus } from './bus/ipc.ts';
import type { EngineConfig, EngineFacts } from './engine/engine.ts';
import { type Failure, failureOf } from './engine/protocol.ts';
import { ThreadedEngine } from './engine/threaded.ts';
import { parentChannel } from './log/channel.ts';
import { IpcLog } from './log/ipc.ts';
import { MemberDriver, type Outcome } from './round/driver.ts';

export interface LocalWorker {
  /** Its member's id: one worker's for the whole run, whichever process it is. 16 hex digits. */
  readonly id: string;
  /** Whether a process before this one had the id. */
  readonly heir: boolean;
  readonly name: string;
  readonly group: string;
  readonly engine: EngineConfig;
  /** Members that the run begins with. */
  readonly expected: number;
}

/** What the parent says. */
export type ToWorker =
  | { readonly plane: 'control'; readonly type: 'start'; readonly worker: LocalWorker }
  | { readonly plane: 'control'; readonly type: 'leave' }
  | { readonly plane: 'control'; readonly type: 'cancel' };

/** What the worker says. */
export type FromWorker =
  | { readonly plane: 'control'; readonly type: 'opened'; readonly facts: EngineFacts }
  | { readonly plane: 'control'; readonly type: 'outcome'; readonly outcome: Outcome }
  | { readonly plane: 'control'; readonly type: 'failed'; readonly failure: Failure };

export function isControl(message: unknown): message is ToWorker | FromWorker {
  return (message as { plane?: unknown } | null)?.plane === 'control';
}

async function main(): Promise<void> {
  const channel = parentChannel();
  const say = (message: FromWorker) => channel.post(message);
  // A worker without its parent has no log: there is nothing left to do.
  channel.onClose(() => process.exit(0));
  // Whoever interrupts the terminal interrupts the whole group; the parent decides what becomes of its workers.
  process.on('SIGINT', () => {});
  const started = Promise.withResolvers<LocalWorker>();
  let driver: MemberDriver | null = null;
  channel.onMessage((message) => {
    if (!isControl(message)) return;
    if (message.type === 'start') started.resolve(message.worker);
    else if (message.type === 'leave') driver?.leave();
    else if (message.type === 'cancel') driver?.cancel();
  });
  try {
    const { id, heir, name, group, engine: config, expected } = await started.promise;
    const engine = await ThreadedEngine.open(config);
    say({ plane: 'control', type: 'opened', facts: engine.facts });
    const ports = { log: new IpcLog(channel), bus: new IpcBus(channel, id), engine };
    driver = new MemberDriver({ id, name, group, examples: engine.facts.rows.train }, ports, {
      expected,
      heir,
    });
    process.on('SIGTERM', () => driver?.leave());
    const outcome = await driver.done;
    await engine.close();
    say({ plane: 'control', type: 'outcome', outcome });
  } catch (error) {
    say({ plane: 'control', type: 'failed', failure: failureOf(error) });
  }
  process.disconnect();
}

if (process.argv[1] !== undefined && import.meta.filename === process.argv[1]) await main();
