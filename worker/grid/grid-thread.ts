/** A thread of the pool in `threads.ts`. */
import { workerData } from 'node:worker_threads';
import { Control, type GridThread } from './control.ts';
import { Runner, TaskList } from './task.ts';

const { memory, thread } = workerData as GridThread;
const runner = new Runner(memory, thread);
const list = new TaskList(memory);
new Control(memory).serve(thread, (tasks, share, shares) => runner.run(list.read(tasks), share, shares));
