import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface LinkQuality {
  /** Bits a second, each way. */
  readonly rate: number;
  /** Milliseconds one way. */
  readonly delay: number;
  /** Share of packets lost, each way. */
  readonly loss: number;
}

/** What it takes: root, namespaces, TUN devices and Python. @returns why there are none here, or null */
export function slowLinksMissing(): string | null {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  if (!existsSync('/dev/net/tun')) return 'no TUN devices here';
  for (const [program, argument] of [
    ['ip', '-V'],
    ['python3', '-V'],
  ] as const)
    if (spawnSync(program, [argument]).status !== 0) return `no ${program} here`;
  return null;
}

/**
 * Network namespaces that reach this machine over slow, lossy links of their own, at the level of packets: TCP sees
 * what it would see on such a line.
 */
export class SlowLinks {
  readonly #count: number;
  readonly #relay: ChildProcess;

  private constructor(count: number, relay: ChildProcess) {
    this.#count = count;
    this.#relay = relay;
  }

  static async make(count: number, { rate, delay, loss }: LinkQuality, seed = 1): Promise<SlowLinks> {
    const script = join(import.meta.dirname, 'slow-links.py');
    const relay = spawn('python3', [script, ...[count, rate, delay, loss, seed].map(String)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const links = new SlowLinks(count, relay);
    await once(relay.stdout, 'data');
    for (let i = 0; i < count; i++) {
      ip(['netns', 'add', links.namespace(i)]);
      ip(['link', 'set', `obw${i}`, 'netns', links.namespace(i)]);
      ip(['addr', 'add', `${links.host(i)}/30`, 'dev', `obs${i}`]);
      ip(['link', 'set', `obs${i}`, 'up']);
      ip(['-n', links.namespace(i), 'addr', 'add', `10.77.${i}.2/30`, 'dev', `obw${i}`]);
      ip(['-n', links.namespace(i), 'link', 'set', `obw${i}`, 'up']);
      ip(['-n', links.namespace(i), 'link', 'set', 'lo', 'up']);
    }
    return links;
  }

  namespace(i: number): string {
    return `onebyte-w${i}`;
  }

  /** This machine's address as namespace `i` sees it. */
  host(i: number): string {
    return `10.77.${i}.1`;
  }

  /** What to put before a command so that it runs in namespace `i`. */
  inside(i: number): string[] {
    return ['ip', 'netns', 'exec', this.namespace(i)];
  }

  async end(): Promise<void> {
    const exit = once(this.#relay, 'exit');
    this.#relay.stdin!.end();
    await exit;
    for (let i = 0; i < this.#count; i++) ip(['netns', 'del', this.namespace(i)]);
  }
}

function ip(args: readonly string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`);
}
