/** The engine's thread. ONNX Runtime blocks the thread that it runs on; here it may. */
import { parentPort, workerData } from 'node:worker_threads';
import { Engine, type EngineConfig } from './engine.ts';
import { Abandoned } from './evaluator.ts';
import { type Call, failureOf, type Reply } from './protocol.ts';

const port = parentPort!;
const config = workerData as EngineConfig;
const reply = (message: Reply) => port.postMessage(message);

async function answer(engine: Engine, { method, args, abandoned }: Call): Promise<unknown> {
  // The caller's types hold on both sides: `EnginePort` is the only caller.
  const call = (engine[method as 'commit'] as (...args: readonly unknown[]) => unknown).bind(engine);
  if (abandoned === undefined) return call(...args);
  try {
    return await call(...args, () => Atomics.load(abandoned, 0) !== 0);
  } catch (error) {
    if (error instanceof Abandoned) return null;
    throw error;
  }
}

try {
  let engine = await Engine.open(config);
  reply({ type: 'opened', facts: engine.facts });
  let queue: Promise<void> = Promise.resolve();
  port.on('message', (call: Call) => {
    queue = queue.then(async () => {
      const { id, method } = call;
      try {
        if (method === 'rebuild') {
          await engine.close();
          engine = await Engine.open(config);
        }
        const value = method === 'rebuild' ? undefined : await answer(engine, call);
        reply({ type: 'value', id, value });
        if (method === 'close') port.close();
      } catch (error) {
        reply({ type: 'failure', id, failure: failureOf(error) });
      }
    });
  });
} catch (error) {
  reply({ type: 'unopened', failure: failureOf(error) });
}
