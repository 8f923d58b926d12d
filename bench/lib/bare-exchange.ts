/**
 * The messages of a barrier and nothing else, as a process of its own: what the client, the server and the machine take for
 * them. argv: NATS URL, uid of a job whose stream is there, this worker's place, workers, rounds. Every worker sends 20
 * bytes to the one whose turn it is, and that one appends 100 bytes to the job's stream once it has all; the server says
 * them to everybody, which starts the next round. Prints the times between rounds in milliseconds and the processor time
 * in microseconds, as JSON.
 */
import { connect, headers } from '@nats-io/transport-node';
import { HEADERS, jobNames } from '../../worker/nats/names.ts';

const [url, uid, place, count, total] = process.argv.slice(2) as [string, string, string, string, string];
const [own, workers, rounds] = [place, count, total].map(Number) as [number, number, number];
const { log, tail, bus } = jobNames(uid);
const connection = await connect({ servers: url, noAsyncTraces: true });
const [contribution, record] = [new Uint8Array(20), new Uint8Array(100)];
const subjectOf = (worker: number) => `${bus}.bare.${worker}`;

let [round, have] = [-1, 0];
const times: number[] = [];
let at = 0;
let cpuAtStart = process.cpuUsage();
const done = Promise.withResolvers<void>();

function begin(): void {
  const turn = round % workers;
  if (turn === own) hear();
  else connection.publish(subjectOf(turn), contribution);
}

function hear(): void {
  if (++have < workers) return;
  have = 0;
  const expected = headers();
  expected.set(HEADERS.expectedLast, `${round + 1}`);
  connection.request(log, record, { headers: expected, timeout: 10_000 }).catch(done.reject);
}

connection.subscribe(subjectOf(own), { callback: hear });
connection.subscribe(tail, {
  callback: (_, message) => {
    const now = performance.now();
    if (at === 0) cpuAtStart = process.cpuUsage();
    else times.push(now - at);
    at = now;
    round = Number(message.headers!.get(HEADERS.sequence)) - 1;
    if (round < rounds) begin();
    else done.resolve();
  },
});
await connection.flush();
process.send!('ready');
await done.promise;
const { user, system } = process.cpuUsage(cpuAtStart);
await new Promise((resolve) => process.send!({ times, cpu: user + system }, resolve));
await connection.close();
process.exit();
