/**
 * What runs in a thread or a process of its own, by its source. In the built program all of them lie in one folder, under
 * these names, beside the code that they share (`cli/build.ts`).
 */
export const PROGRAMS = {
  main: 'cli/main.ts',
  'local-worker': 'worker/local-worker.ts',
  'assignment-thread': 'worker/service/assignment-thread.ts',
  'prepare-thread': 'worker/engine/prepare-thread.ts',
  'engine-thread': 'worker/engine/engine-thread.ts',
  'grid-thread': 'worker/grid/grid-thread.ts',
} as const;

/** Whether this process runs sources, not what was built from them. */
export const RUNS_SOURCES = import.meta.filename.endsWith('.ts');

export function programUrl(name: keyof typeof PROGRAMS): URL {
  return new URL(RUNS_SOURCES ? `../${PROGRAMS[name]}` : `./${name}.js`, import.meta.url);
}
