/** HTML that cannot be broken into: a template tag that escapes every value but what it made itself. */

export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Part = Html | string | number | null | undefined | false | readonly Part[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Safe as text and within a quoted attribute. Characters that HTML does not allow at all become U+FFFD. */
export function escapeHtml(text: string): string {
  return (
    text
      .toWellFormed()
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are the characters to replace
      .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]/g, '\ufffd')
      .replace(/[&<>"']/g, (character) => ENTITIES[character]!)
  );
}

function write(part: Part): string {
  if (part instanceof Html) return part.text;
  if (part === null || part === undefined || part === false) return '';
  if (typeof part === 'object') return part.map(write).join('');
  return escapeHtml(String(part));
}

/** Markup with values escaped; arrays are joined; null, undefined and false are nothing. */
export function html(literals: TemplateStringsArray, ...values: readonly Part[]): Html {
  return new Html(literals.reduce((text, literal, i) => text + write(values[i - 1]) + literal));
}

/** Text that is markup already, such as our own style sheet. Never for anything that came from outside. */
export function trusted(text: string): Html {
  return new Html(text);
}
