/** A worker of `onebyte run`: a child process that reaches the log and the bus through its parent. */
import { IpcBus } from './bus/ipc.ts';
import { failureOf } from './engine/protocol.ts';
import { ThreadedEngine } from './engine/threaded.ts';
import { type FromWorker, isControl, type LocalWorker } from './local.ts';
import { parentChannel } from './log/channel.ts';
import { IpcLog } from './log/ipc.ts';
import { MemberDriver } from './round/driver.ts';

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
