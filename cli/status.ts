import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { follow, isNoise } from '../worker/journal/follow.ts';
import {
  decodeBody,
  decodeProgress,
  type EndRecord,
  emptyLedger,
  openEnvelope,
  type Progress,
  type SplitProgress,
} from '../worker/journal/index.ts';
import type { LogEntry } from '../worker/log/log.ts';
import { NatsLog } from '../worker/log/nats.ts';
import type { ApiOptions } from '../worker/nats/api.ts';
import { NATS_VARIABLES, natsSettings } from '../worker/nats/config.ts';
import { openNats } from '../worker/nats/connect.ts';
import { findRun } from '../worker/nats/find.ts';
import type { JobNames } from '../worker/nats/names.ts';
import { genesisIn } from '../worker/service/genesis.ts';
import { bytes, count, duration, loss, metric, percent, plural } from './view/format.ts';

/** In the directory of a run over NATS: where its log is. */
export const NATS_NAME = 'nats.json';

/** What `NATS_NAME` holds. */
export interface NatsPlace {
  readonly uid: string;
  readonly prefix: string;
}

/** What is known of a run from its stream's state and the last record alone. */
export interface RunStatus {
  readonly uid: string;
  readonly stream: string;
  readonly entries: number;
  readonly bytes: number;
  /** When the last entry came, in milliseconds since the epoch; null of an empty log. */
  readonly lastAt: number | null;
  /** Null before the first record. */
  readonly progress: Progress | null;
  readonly end: EndRecord | null;
}

/** Entries at the end of a log that may be noise before the last record. */
const NOISE = 16;
const SPLITS = ['train', 'validation', 'test'] as const;

export interface Connected {
  readonly connection: NatsConnection;
  readonly log: NatsLog;
  readonly names: JobNames;
  readonly status: () => Promise<RunStatus>;
}

/**
 * Finds the run that a person means and connects to it. Credentials come from the environment, as those of a worker.
 * @param job a UID, the name of a job, or the directory of a run of `onebyte run --nats`
 */
export async function connectTo(
  job: string,
  url: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<Connected> {
  const place = placeOf(job);
  const settings = natsSettings({ ...env, ...(url === undefined ? {} : { [NATS_VARIABLES.url]: url }) });
  const { domain } = settings;
  const prefix = place?.prefix ?? settings.prefix;
  const api: ApiOptions = domain === undefined ? {} : { domain };
  const connection = await openNats({ ...settings.config, name: 'onebyte status' });
  try {
    const describe = async (log: NatsLog) => {
      const { genesis } = await genesisIn(log);
      return genesis === null
        ? null
        : { name: (JSON.parse(genesis.job) as { name: string }).name, at: genesis.at };
    };
    const find = () => findRun(connection, place?.uid ?? job, { ...api, prefix, describe });
    const { names } = await find();
    const log = new NatsLog(connection, names, api);
    const status = async (): Promise<RunStatus> => {
      const { info } = await findRun(connection, names.uid, { ...api, prefix, describe });
      const { messages, last_ts } = info.state;
      const last = await lastRecord(log);
      return {
        uid: names.uid,
        stream: names.stream,
        entries: messages,
        bytes: info.state.bytes,
        lastAt: messages === 0 ? null : Date.parse(last_ts),
        ...last,
      };
    };
    return { connection, log, names, status };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** Where the directory of a run says that its log is; null for what is no such directory. */
export function placeOf(path: string): NatsPlace | null {
  const file = join(path, NATS_NAME);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as NatsPlace) : null;
}

/**
 * What the last record says; entries that are none of a run's are passed over.
 * @throws OnebyteError RECORD_VERSION, RECORD_UNKNOWN_KIND for a run of another version
 */
export async function lastRecord(log: NatsLog): Promise<Pick<RunStatus, 'progress' | 'end'>> {
  const last = await log.last();
  if (last === null) return { progress: null, end: null };
  const direct = recordIn(last);
  if (direct !== null) return direct;
  const entries: LogEntry[] = [];
  for await (const entry of log.read(Math.max(1, last.seq - NOISE), last.seq)) entries.push(entry);
  for (const entry of entries.reverse()) {
    const found = recordIn(entry);
    if (found !== null) return found;
  }
  // A run of another version is one from its first entry on.
  for await (const first of log.read(1, 1)) follow(emptyLedger(), first);
  return { progress: null, end: null };
}

function recordIn({ data }: LogEntry): Pick<RunStatus, 'progress' | 'end'> | null {
  try {
    const { summaryBytes, body } = openEnvelope(data);
    const summary = decodeProgress(summaryBytes);
    if (summary.end === null) return { progress: summary, end: null };
    const record = decodeBody(body, emptyLedger());
    return { progress: summary, end: record.kind === 'end' ? record : null };
  } catch (error) {
    if (isNoise(error, true)) return null;
    throw error;
  }
}

/** One JSON object; numbers that nobody measured are null. */
export function statusJson(status: RunStatus): string {
  return JSON.stringify(status);
}

/** @param now milliseconds since the epoch */
export function statusLines(status: RunStatus, now: number): string[] {
  const { progress, end, uid, stream, entries } = status;
  const lines = [
    `run        ${uid}`,
    `log        ${stream}, ${plural(entries, 'entry').replace('entrys', 'entries')}, ${bytes(status.bytes)}`,
  ];
  if (progress === null)
    return [...lines, 'state      nothing is in the log yet: no worker has begun the run'];
  const { round, rounds, totals, members } = progress;
  lines.push(`state      ${stateOf(progress)}`);
  const share = rounds > 0 ? `, ${percent(totals.rounds / rounds)}` : '';
  lines.push(`round      ${count(round)} of ${count(rounds)}${share}`);
  lines.push(`workers    ${count(members)}`);
  lines.push(`loss       ${loss(progress.loss)}`);
  for (const split of SPLITS) {
    const history = progress.evaluations[split];
    if (history !== null) lines.push(`${split.padEnd(10)} ${evaluation(history)}`);
  }
  lines.push(
    `probes     ${count(totals.probes)}, ${bytes(totals.payloadBytes)} of payload; ${count(totals.forwards)} forwards, ${count(totals.exampleForwards)} examples`,
  );
  if (totals.disputes > 0) lines.push(`disputes   ${count(totals.disputes)}`);
  const seconds = totals.elapsed / 1000;
  const left =
    progress.end === null && totals.rounds > 0 ? (seconds / totals.rounds) * (rounds - totals.rounds) : 0;
  lines.push(`time       ${duration(seconds)}${left > 0 ? `, about ${duration(left)} left` : ''}`);
  if (status.lastAt !== null) lines.push(`last entry ${duration((now - status.lastAt) / 1000)} ago`);
  if (end !== null) lines.push(`digest     ${end.digest}`);
  return lines;
}

function stateOf({ end, complete, members, totals }: Progress): string {
  if (end === 'cancelled') return `cancelled after ${plural(totals.rounds, 'round')}`;
  if (end !== null) return `ended, by ${end}`;
  if (complete !== null) return `all rounds are done (${complete}): evaluating`;
  return members === 0 ? 'waiting for workers' : 'running';
}

function evaluation({ first, last }: SplitProgress): string {
  const point = (e: SplitProgress['first']) => `loss ${loss(e.loss)} accuracy ${metric(e.accuracy)}`;
  return `${point(first)}  ->  ${point(last)}  (round ${count(last.round)}, ${plural(last.count, 'example')})`;
}
