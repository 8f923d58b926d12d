/**
 * Files of a process' own, as a container has those of its image. A page of a file that is in memory already is charged
 * to the group of whoever read it first, so a process that shares Node, the runtime and the model with others would be
 * charged for none of them. Here it sees copies in their places, whose pages are in nobody's memory when it starts.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const OTHER_SYSTEMS = /onnxruntime-node\/bin\/napi-v6\/(?!linux)/;

export class OwnFiles {
  readonly #folder = mkdtempSync(join(tmpdir(), 'onebyte-own-'));
  readonly #copies: { readonly from: string; readonly to: string }[] = [];

  /** @param paths files and folders that the process is to have copies of, besides Node, the packages and the C library */
  constructor(paths: readonly string[]) {
    const packages = realpathSync(join(import.meta.dirname, '..', '..', 'node_modules'));
    for (const name of neededPackages())
      this.#copy(join(packages, name), join(this.#folder, 'node_modules', name));
    this.#copies.push({ from: join(this.#folder, 'node_modules'), to: packages });
    const node = realpathSync(process.execPath);
    for (const path of [node, ...librariesOf(node), ...paths]) {
      const from = join(this.#folder, String(this.#copies.length));
      this.#copy(path, from);
      this.#copies.push({ from, to: path });
    }
  }

  /**
   * Writes a program that takes the place of Node: it joins a group and becomes Node with the same arguments. None of the
   * copies is in memory then.
   * @param members file that takes the numbers of a group's processes
   */
  launcher(members: string): string {
    const path = join(this.#folder, 'node.sh');
    const mounts = this.#copies.map(({ from, to }) => `mount --bind '${from}' '${to}'`);
    const inside = [...mounts, 'exec "$@"'].join(' && ');
    const lines = [
      '#!/bin/sh',
      `echo $$ > '${members}'`,
      `exec unshare --mount sh -c "${inside.replaceAll(/["$]/g, '\\$&')}" sh '${realpathSync(process.execPath)}' "$@"`,
    ];
    writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o755 });
    this.#leaveMemory();
    return path;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #copy(from: string, to: string): void {
    mkdirSync(dirname(to), { recursive: true });
    cpSync(from, to, {
      recursive: true,
      verbatimSymlinks: true,
      filter: (name) => !OTHER_SYSTEMS.test(name),
    });
  }

  /** Whoever copied or read them has brought them into memory. */
  #leaveMemory(): void {
    execFileSync('sync', ['-f', this.#folder]);
    execFileSync('find', [
      ...[this.#folder, '-type', 'f', '-exec'],
      ...['dd', 'if={}', 'iflag=nocache', 'count=0', 'status=none', ';'],
    ]);
  }
}

/** Installed packages that are not for development alone. */
function neededPackages(): string[] {
  const file = join(import.meta.dirname, '..', '..', 'package-lock.json');
  const { packages } = JSON.parse(readFileSync(file, 'utf8')) as {
    packages: Record<string, { dev?: boolean; cpu?: string[] }>;
  };
  return Object.entries(packages)
    .filter(
      ([path, { dev, cpu }]) =>
        /^node_modules\/(?!.*node_modules\/)/.test(path) &&
        !dev &&
        (cpu ?? [process.arch]).includes(process.arch),
    )
    .map(([path]) => path.slice('node_modules/'.length));
}

/** The C library and its kin, where a program's loader finds them, and the loader. */
function librariesOf(program: string): string[] {
  const found = execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/^\s*(?:\S+ => )?(\/\S+)/gm);
  return [...new Set([...found].map(([, path]) => realpathSync(path!)))];
}
