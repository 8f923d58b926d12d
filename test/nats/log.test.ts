import { after, describe } from 'node:test';
import { checkStream } from '../../worker/nats/stream.ts';
import { fill, logContract } from '../log/contract.ts';
import { missing } from '../tools/tool.ts';
import { TestJob } from './job.ts';
import { NatsSystem } from './server.ts';
import { cutStore } from './store.ts';

const skip = await missing('nats-server');
const LIMIT = 64;

function contractOn(count: 1 | 3): void {
  let system: NatsSystem | null = null;
  let maxBytes: number | null = null;
  after(() => system?.end());

  /** Room for the entries `e1`, `e2`, .. of the contract. */
  async function measure(): Promise<number> {
    const job = await TestJob.make(system!, 1 << 20);
    await fill(await job.log(), LIMIT);
    const { state } = await checkStream(await job.connect(), job.names);
    await job.close();
    return state.bytes;
  }

  logContract(
    `the log on ${count === 1 ? 'one server' : 'three servers'}`,
    async () => {
      system ??= await NatsSystem.start({ count });
      maxBytes ??= await measure();
      const servers = system;
      const job = await TestJob.make(servers, maxBytes);
      return {
        limit: LIMIT,
        connect: () => job.log(),
        reopen: async () => {
          for (let i = 0; i < count; i++) await servers.kill(i);
          await Promise.all(Array.from({ length: count }, (_, i) => servers.start(i)));
          await job.led();
        },
        loseTail: async (lost) => {
          await servers.kill();
          await cutStore(servers, job.names.stream, lost);
          await servers.start();
        },
        close: () => job.close(),
      };
    },
    count === 1,
  );
}

describe('the log on real servers', { skip }, () => {
  contractOn(1);
  contractOn(3);
});
