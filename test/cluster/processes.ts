import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from './command.ts';

// The guard waits for the end of its input, which comes when its parent ends in whatever way. It moves the folder
// first: a program about to start then cannot write its pid and does not start; all others are listed.
const guardScript = `cat >/dev/null
mv "$0" "$0.dead" 2>/dev/null || exit 0
for f in "$0.dead"/pid/*; do [ -f "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null; done
[ -f "$0.dead/cleanup.sh" ] && sh "$0.dead/cleanup.sh" "$0.dead"
for i in 1 2 3 4 5; do rm -rf "$0.dead" && break; sleep 0.2; done`;

const startScript = 'echo $$ > "$0.tmp" && mv "$0.tmp" "$0" && exec "$@"';

/**
 * Programs that run on behalf of one folder: their pids are in `pid/`, their output in `log/`. With a guard they end,
 * and the folder goes, when this process ends, even by SIGKILL; without one they stay until `killAll`. What they leave
 * outside of the folder is taken away by `cleanup.sh` in it, which is given the folder, once they have been killed.
 */
export class Processes {
  readonly #folder: string;
  readonly #children = new Map<string, ChildProcess>();
  #guard: ChildProcess | undefined;

  constructor(folder: string, guarded: boolean) {
    this.#folder = folder;
    for (const name of ['pid', 'log']) mkdirSync(join(folder, name), { recursive: true });
    if (guarded) {
      this.#guard = spawn('/bin/sh', ['-c', guardScript, folder], {
        detached: true,
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      this.#guard.unref();
      (this.#guard.stdin as unknown as { unref(): void }).unref();
    }
  }

  /** Starts a program in a session of its own; its output goes to `log/NAME.log`. */
  start(name: string, program: string, args: readonly string[]): void {
    const log = openSync(join(this.#folder, 'log', `${name}.log`), 'a');
    const pidFile = this.#pidFile(name);
    const child = spawn('/bin/sh', ['-c', startScript, pidFile, program, ...args], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    child.unref();
    child.once('exit', () => void rm(pidFile, { force: true }).catch(() => undefined));
    this.#children.set(name, child);
  }

  /** Undefined where it was never started. */
  pid(name: string): number | undefined {
    return this.#children.get(name)?.pid;
  }

  /** How a program ended, undefined while it runs. */
  ended(name: string): string | undefined {
    const child = this.#children.get(name);
    if (child === undefined) return 'not started';
    if (child.exitCode !== null) return `exit code ${child.exitCode}`;
    return child.signalCode === null ? undefined : `signal ${child.signalCode}`;
  }

  /** The last lines that a program wrote. */
  lastWords(name: string, lines = 6): string {
    const text = readFileSync(join(this.#folder, 'log', `${name}.log`), 'utf8');
    return text.trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Resident memory of a program in bytes. */
  async memory(name: string): Promise<number> {
    const status = await readFile(`/proc/${this.#children.get(name)?.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  }

  /** Sends a signal without waiting, e.g. SIGSTOP. */
  signal(name: string, signal: NodeJS.Signals): void {
    this.#children.get(name)?.kill(signal);
  }

  /** Ends a program and waits until it has ended. */
  async end(name: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#children.get(name);
    if (child === undefined || this.ended(name) !== undefined) return;
    const exit = once(child, 'exit');
    child.ref();
    child.kill(signal);
    await exit;
  }

  /** Ends everything at once, removes the folder and lets the guard go. */
  async killAll(): Promise<void> {
    await Promise.all([...this.#children.keys()].map((name) => this.end(name)));
    await cleanUp(this.#folder);
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    const guard = this.#guard;
    if (guard === undefined) return;
    this.#guard = undefined;
    guard.ref();
    const exit = once(guard, 'exit');
    guard.stdin!.end();
    await exit;
  }

  #pidFile(name: string): string {
    return join(this.#folder, 'pid', name);
  }
}

/** Ends what another process started in `folder` without a guard, and removes the folder. */
export async function killFolder(folder: string): Promise<void> {
  const names = await readdir(join(folder, 'pid')).catch(() => [] as string[]);
  const pids: number[] = [];
  for (const name of names) {
    const pid = Number(await readFile(join(folder, 'pid', name), 'utf8'));
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // A pid may have been given to a stranger since: ours name the folder in their command line.
    if (command.includes(folder)) pids.push(pid);
  }
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  for (const pid of pids) while (await isAlive(pid)) await sleep(20);
  await cleanUp(folder);
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}

async function cleanUp(folder: string): Promise<void> {
  const script = join(folder, 'cleanup.sh');
  if (existsSync(script)) await command('sh', [script, folder]);
}

async function isAlive(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  // A process that ended but was not collected yet is a zombie: as good as gone.
  return status !== '' && !/^State:\s+[ZX]/m.test(status);
}
