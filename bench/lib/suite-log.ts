/** What `node --test` printed of one run of a suite. */
export interface Suite {
  readonly tests: number;
  readonly passed: number;
  readonly seconds: number;
  /** What each test said and how long it took, in seconds; a test that is said twice is two. */
  readonly said: readonly { readonly test: string; readonly line: string }[];
}

/** The figures of one test, each as `least / middle / most` where they differ. */
export interface Spread {
  readonly test: string;
  readonly lines: readonly string[];
}

/** Of the `spec` reporter. */
export function readSuite(log: string): Suite {
  const total = (name: string) => Number(new RegExp(`^ℹ ${name} ([\\d.]+)$`, 'm').exec(log)?.[1] ?? 0);
  const said: { test: string; line: string }[] = [];
  let test = '';
  for (const text of log.split('\n')) {
    const ended = /^\s*✔ (.*) \(([\d.]+)ms\)$/.exec(text);
    if (ended !== null) {
      test = ended[1]!;
      said.push({ test, line: `${(Number(ended[2]) / 1000).toFixed(1)} s in all` });
    }
    const line = /^\s+ℹ (.*)$/.exec(text)?.[1];
    if (line !== undefined) said.push({ test, line });
  }
  return { tests: total('tests'), passed: total('pass'), seconds: total('duration_ms') / 1000, said };
}

/** Whether there were tests, and all passed: one that was skipped did not. */
export function isWhole({ tests, passed }: Pick<Suite, 'tests' | 'passed'>): boolean {
  return tests > 0 && passed === tests;
}

/** A number by itself: not part of a name, a version or a digest. */
const NUMBER = /(?<![\w.-])\d+(?:\.\d+)?(?![\w]|[.-]\w)/g;

/** Of the lines that all runs printed the same, but for their numbers; of even many the upper one of two is the middle. */
export function spreadOf(suites: readonly Suite[]): Spread[] {
  const tests = new Map<string, Map<string, { line: string; suite: Suite }[]>>();
  for (const suite of suites) {
    for (const { test, line } of suite.said) {
      const forms = tests.get(test) ?? new Map<string, { line: string; suite: Suite }[]>();
      tests.set(test, forms);
      const form = line.replace(NUMBER, '#');
      forms.set(form, [...(forms.get(form) ?? []), { line, suite }]);
    }
  }
  return [...tests].flatMap(([test, forms]) => {
    const lines = [...forms.values()]
      .filter((found) => new Set(found.map(({ suite }) => suite)).size === suites.length)
      .map((found) => spreadLine(found.map(({ line }) => line)));
    return lines.length > 0 ? [{ test, lines }] : [];
  });
}

function spreadLine(lines: readonly string[]): string {
  const columns = lines.map((line) => [...line.matchAll(NUMBER)].map(([number]) => number));
  let column = 0;
  return lines[0]!.replace(NUMBER, () => {
    const sorted = columns.map((numbers) => numbers[column]!).sort((a, b) => Number(a) - Number(b));
    column++;
    const three = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)];
    return three[0] === three[2] ? three[0]! : three.join(' / ');
  });
}
