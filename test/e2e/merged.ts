/** Values of a chart over others, field by field; lists are taken whole. */
export function merged(base: object, over: object): object {
  const out: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const old = out[name];
    const both = isFields(old) && isFields(value);
    out[name] = both ? merged(old, value) : value;
  }
  return out;
}

const isFields = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
