import { OnebyteError } from '../errors.ts';

/** One row of a source: field names to values. */
export type Row = Readonly<Record<string, unknown>>;

/** Where a row comes from, for messages. */
export interface RowPlace {
  readonly source: string;
  /** 0 for the source's first row. */
  readonly row: number;
}

/** Text over the fields of a row: `{title}: {text}`; `{{` and `}}` stand for the braces themselves. */
export interface Template {
  /** What the template is for, such as `task.text`: the field to change when it is wrong. */
  readonly name: string;
  readonly fields: readonly string[];
  /** @throws OnebyteError ROW_FIELD_MISSING when the row lacks a field, or it holds no text, number or boolean. */
  render(row: Row, place: RowPlace): string;
}

type Part = { readonly literal: string } | { readonly field: string };

/** @throws OnebyteError TEMPLATE_INVALID for a brace without its partner or an empty field name. */
export function compileTemplate(name: string, text: string): Template {
  const parts = parse(name, text);
  const fields = parts.flatMap((part) => ('field' in part ? [part.field] : []));
  const render = (row: Row, place: RowPlace) =>
    parts
      .map((part) => ('literal' in part ? part.literal : fieldText(name, part.field, row, place)))
      .join('');
  return { name, fields: [...new Set(fields)], render };
}

function parse(name: string, text: string): Part[] {
  const parts: Part[] = [];
  let literal = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if ((c === '{' || c === '}') && text[i + 1] === c) {
      literal += c;
      i++;
    } else if (c === '{') {
      const end = text.indexOf('}', i);
      const field = end < 0 ? '' : text.slice(i + 1, end).trim();
      if (field === '' || field.includes('{'))
        throw malformed(name, text, i, "a '{' without a field and its '}'");
      if (literal !== '') parts.push({ literal });
      literal = '';
      parts.push({ field });
      i = end;
    } else if (c === '}') {
      throw malformed(name, text, i, "a '}' without its '{'");
    } else {
      literal += c;
    }
  }
  if (literal !== '') parts.push({ literal });
  return parts;
}

function malformed(name: string, text: string, at: number, what: string): OnebyteError {
  return new OnebyteError(
    'TEMPLATE_INVALID',
    `${name}: ${what} at character ${at + 1} of ${JSON.stringify(text)}`,
    {
      field: name,
      remedy: 'write fields as {name}; write {{ and }} for the braces themselves',
    },
  );
}

function fieldText(name: string, field: string, row: Row, place: RowPlace): string {
  const value = Object.hasOwn(row, field) ? row[field] : undefined;
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'boolean':
    case 'bigint':
      return String(value);
  }
  const found = Object.keys(row).join(', ') || 'no fields';
  const what =
    value === undefined || value === null
      ? 'is missing'
      : `holds ${Array.isArray(value) ? 'a list' : `a ${typeof value}`}`;
  throw new OnebyteError(
    'ROW_FIELD_MISSING',
    `${name}: field '${field}' ${what} in row ${place.row + 1} of source '${place.source}' (it has: ${found})`,
    { field: name, remedy: `name a field that every row has, or give the source its own template` },
  );
}
