/** The namespaces that the operator looks after. */
export interface Scope {
  /** Undefined: all of them. */
  readonly namespaces: readonly string[] | undefined;
}

export const everywhere: Scope = { namespaces: undefined };

/** Reads a comma-separated list; empty means all namespaces. Throws for what cannot be a namespace's name. */
export function parseScope(text: string): Scope {
  const names = [...new Set(text.split(',').map((name) => name.trim()))].filter((name) => name !== '');
  if (names.length === 0) return everywhere;
  for (const name of names) {
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
      throw new Error(`"${name}" cannot be a namespace's name`);
  }
  return { namespaces: names.sort() };
}

export function isInScope(scope: Scope, namespace: string): boolean {
  return scope.namespaces?.includes(namespace) ?? true;
}
