import { isMap, isScalar, isSeq, parseDocument, visit } from 'yaml';

/** The subset of OpenAPI v3 that Kubernetes calls a structural schema, as far as our CRD uses it. */
export interface Schema {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly description?: string;
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly (string | number)[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly required?: readonly string[];
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean;
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly Validation[];
}

/** A CEL rule of the CRD; `id` comes from the comment above it. */
export interface Validation {
  readonly id: string;
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

/**
 * The schema of a CRD's only version, with the id of every rule put into the rule.
 * @throws Error of a CRD without the schema, or with a rule that has no `# rule ID` comment above it
 */
export function schemaOf(crd: string): Schema {
  const document = parseDocument(crd);
  if (document.errors.length > 0) throw document.errors[0];
  visit(document, {
    Pair(_, pair) {
      if (!isScalar(pair.key) || pair.key.value !== 'x-kubernetes-validations' || !isSeq(pair.value)) return;
      for (const item of pair.value.items) {
        const range = isMap(item) ? item.range : null;
        if (!isMap(item) || !range) throw new Error('a rule is not a mapping');
        const id = /# rule ([a-z0-9-]+)[^\n]*\n\s*(- )?$/.exec(crd.slice(0, range[0]))?.[1];
        if (!id)
          throw new Error(`the rule ${String(item.get('rule'))} has no id: write "# rule ID" above it`);
        item.set('id', id);
      }
    },
  });
  const schema: Schema | undefined = document.toJS().spec?.versions?.[0]?.schema?.openAPIV3Schema;
  if (!schema) throw new Error('the CRD has no schema at spec.versions[0].schema.openAPIV3Schema');
  return schema;
}

/** Every rule below a schema, in document order; one that stands in several places comes once. */
export function validationsOf(schema: Schema): Validation[] {
  const found = new Map<string, Validation>();
  const walk = (s: Schema): void => {
    for (const v of s['x-kubernetes-validations'] ?? []) found.set(v.id, v);
    for (const child of Object.values(s.properties ?? {})) walk(child);
    if (s.items) walk(s.items);
    if (s.additionalProperties) walk(s.additionalProperties);
  };
  walk(schema);
  return [...found.values()];
}
