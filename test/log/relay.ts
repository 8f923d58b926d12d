/** A child process that uses its parent's log over IPC and serves it back to the test as its own. */
import { parentChannel } from '../../worker/log/channel.ts';
import { IpcLog, serveLog } from '../../worker/log/ipc.ts';

serveLog(new IpcLog(parentChannel()), parentChannel(), 'relay');
