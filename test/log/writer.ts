/** A child process that opens the log at argv[2] itself and appends until it is killed, telling each acknowledged one. */
import { EmbeddedLog } from '../../worker/log/embedded.ts';

const log = await EmbeddedLog.open(process.argv[2]!);
const options = { size: Number(process.argv[3] ?? 100) };
process.on('disconnect', () => process.exit());
for (let last = log.length; ; last++) {
  const data = new Uint8Array(options.size).fill((last + 1) % 256);
  const seq = await log.append(data, { expectedLast: last, id: `${last}` });
  process.send!(seq);
  await new Promise(setImmediate);
}
