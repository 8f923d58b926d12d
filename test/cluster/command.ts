import { execFile } from 'node:child_process';

/** Runs a program and gives what it printed. @throws Error with the program's own words */
export function command(program: string, args: readonly string[], stdin = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      if (error)
        reject(
          new Error(
            `${program.split('/').at(-1)} ${args.slice(0, 2).join(' ')}: ${stderr.trim() || error.message}`,
          ),
        );
      else resolve(stdout);
    });
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });
}
