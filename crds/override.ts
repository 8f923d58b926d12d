/** `--set path=value` on a job that has been read but not checked yet. */
import { parseDocument } from 'yaml';

const TOP = ['apiVersion', 'kind', 'metadata', 'spec'];

/**
 * `spec.plan[0].rounds` as its parts. `a.0` is read like `a[0]`.
 * @returns an empty list of a path that cannot be read
 */
export function pathParts(path: string): (string | number)[] {
  if (path === '') return [];
  const parts: (string | number)[] = [];
  for (const part of path.split('.')) {
    const match = /^([^[\]]*)((?:\[\d+\])*)$/.exec(part);
    if (!match || (match[1] === '' && match[2] === '')) return [];
    if (match[1] !== '') parts.push(/^\d+$/.test(match[1]!) ? Number(match[1]) : match[1]!);
    for (const index of match[2]!.matchAll(/\d+/g)) parts.push(Number(index[0]));
  }
  return parts;
}

/**
 * Puts one `path=value` into a job. A path that does not begin with a top field of the job is taken below `spec`.
 * The value is read as YAML, so `0.5`, `true`, `[a, b]` and `{a: 1}` mean what they mean in the file.
 * @returns what is wrong, or undefined
 */
export function override(job: unknown, text: string): string | undefined {
  const equals = text.indexOf('=');
  if (equals < 1) return `${text}: write path=value, such as stop.rounds=100`;
  const path = text.slice(0, equals);
  const parts = pathParts(path);
  if (parts.length === 0) return `${path}: not a path such as method.plan[0].rounds`;
  if (!TOP.includes(String(parts[0]))) parts.unshift('spec');
  const document = parseDocument(text.slice(equals + 1), { prettyErrors: false });
  if (document.errors[0]) return `${path}: the value is not YAML: ${document.errors[0].message}`;

  let here: unknown = job;
  for (const [i, part] of parts.entries()) {
    const last = i === parts.length - 1;
    if (Array.isArray(here)) {
      if (typeof part !== 'number' || part > here.length)
        return `${path}: ${part} is not an entry of a list of ${here.length}`;
    } else if (typeof here !== 'object' || here === null) {
      return `${path}: there is nothing to set ${part} in`;
    } else if (part === '__proto__') return `${path}: not a field`;
    const fields = here as Record<string | number, unknown>;
    if (last) fields[part] = document.toJS();
    else here = fields[part] ??= typeof parts[i + 1] === 'number' ? [] : {};
  }
  return undefined;
}
