/** A child process with an end of the bus over IPC; does what the test asks over the same channel, and tells what comes. */
import { IpcBus } from '../../worker/bus/ipc.ts';
import { parentChannel } from '../../worker/log/channel.ts';
import type { RelayMessage } from './relay-message.ts';

const channel = parentChannel();
const bus = new IpcBus(channel, process.argv[2]!);
const tell = (message: RelayMessage) => channel.post(message);
bus.onMessage((from, data) => tell({ plane: 'relay', type: 'message', from, data }));
channel.onMessage((raw) => {
  const message = raw as RelayMessage;
  if (message.plane !== 'relay') return;
  if (message.type === 'send') bus.send(message.to, message.data);
  else if (message.type === 'broadcast') bus.broadcast(message.data);
  else if (message.type === 'close') void bus.close().then(() => tell({ plane: 'relay', type: 'closed' }));
});
tell({ plane: 'relay', type: 'ready' });
