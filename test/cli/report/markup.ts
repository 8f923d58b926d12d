/** A small, strict reader of the HTML that we write: no parser forgives as little. */

const VOID = new Set(['meta', 'br', 'img', 'input', 'link', 'hr']);
const RAW = new Set(['style', 'script']);
const TAG = /^<(\/?)([a-z][a-z0-9]*)((?: [a-zA-Z-]+(?:="[^"<>]*")?)*)(\/?)>/;

export interface Outline {
  /** Every opening tag with the names of its attributes, in order. */
  readonly tags: readonly string[];
  /** All text outside of style and script, entities resolved. */
  readonly text: string;
  /** All attribute values, entities resolved. */
  readonly values: readonly string[];
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };

function resolved(text: string): string {
  return text.replace(/&([^;\s]*);?/g, (whole, name: string) => {
    const character = ENTITIES[name];
    if (character === undefined || !whole.endsWith(';')) throw new Error(`bare ampersand: ${whole}`);
    return character;
  });
}

/** @throws Error on anything but balanced tags, quoted attributes and escaped text. */
export function outline(page: string): Outline {
  const tags: string[] = [];
  const values: string[] = [];
  const open: string[] = [];
  let text = '';
  let rest = page.replace(/^<!doctype html>\n/, '');
  if (rest === page) throw new Error('no doctype');
  while (rest !== '') {
    const next = rest.indexOf('<');
    const run = next < 0 ? rest : rest.slice(0, next);
    if (run.includes('>')) throw new Error(`unescaped '>' in: ${run}`);
    text += resolved(run);
    if (next < 0) break;
    rest = rest.slice(next);
    const match = rest.match(TAG);
    if (match === null) throw new Error(`no tag: ${rest.slice(0, 80)}`);
    const [whole, closing, name, attributes, selfClosing] = match as unknown as [
      string,
      string,
      string,
      string,
      string,
    ];
    rest = rest.slice(whole.length);
    if (closing === '/') {
      if (open.pop() !== name) throw new Error(`</${name}> closes nothing`);
      continue;
    }
    const parts = [...attributes.matchAll(/ ([a-zA-Z-]+)(?:="([^"]*)")?/g)];
    tags.push([name, ...parts.map((part) => part[1])].join(' '));
    for (const part of parts) if (part[2] !== undefined) values.push(resolved(part[2]));
    if (selfClosing === '/' || VOID.has(name)) continue;
    open.push(name);
    if (RAW.has(name)) {
      const end = rest.indexOf(`</${name}>`);
      if (end < 0) throw new Error(`<${name}> never ends`);
      rest = rest.slice(end);
    }
  }
  if (open.length > 0) throw new Error(`never closed: ${open.join(', ')}`);
  return { tags, text, values };
}
