import type { PodSettings } from './jobs/pod.ts';
import { everywhere, parseScope, type Scope } from './kube/mod.ts';

/** Environment variables of the operator. The chart sets them; `docs/operator.md` lists the same. */
export const OPERATOR_VARIABLES = {
  /** Image of workers, with its tag or digest. */
  image: 'ONEBYTE_IMAGE',
  imagePullPolicy: 'ONEBYTE_IMAGE_PULL_POLICY',
  /** Names of Secrets in the job's namespace, with commas between. */
  imagePullSecrets: 'ONEBYTE_IMAGE_PULL_SECRETS',
  /** Where workers find NATS, unless a job says otherwise. */
  natsUrl: 'ONEBYTE_NATS_URL',
  /** A Secret of this name in the job's namespace holds the workers' way into NATS. */
  natsWorkerSecret: 'ONEBYTE_NATS_WORKER_SECRET',
  natsPrefix: 'ONEBYTE_NATS_PREFIX',
  /** JetStream domain of that NATS, and whether it expects TLS before its first word: workers are told. */
  natsDomain: 'ONEBYTE_NATS_DOMAIN',
  natsTlsFirst: 'ONEBYTE_NATS_TLS_FIRST',
  /** Namespaces to look after, with commas between; none: all. */
  namespaces: 'ONEBYTE_WATCH_NAMESPACES',
  /** Namespace of the lease; default, that of the pod. */
  namespace: 'ONEBYTE_NAMESPACE',
  /** Who holds the lease; default, the host's name. */
  identity: 'ONEBYTE_POD_NAME',
  leaderElection: 'ONEBYTE_LEADER_ELECTION',
  port: 'ONEBYTE_PORT',
  host: 'ONEBYTE_HOST',
  /** Jobs looked at, and calls to the API server, at once. */
  concurrency: 'ONEBYTE_CONCURRENCY',
  callsAtOnce: 'ONEBYTE_CALLS_AT_ONCE',
  /** Where the pod finds its token, if not where Kubernetes puts it. */
  accountFolder: 'ONEBYTE_ACCOUNT_FOLDER',
  /** Seconds between two looks at a running job's log. */
  pollSeconds: 'ONEBYTE_POLL_SECONDS',
} as const;

export interface OperatorSettings {
  readonly pods: PodSettings;
  readonly scope: Scope;
  readonly namespace: string | undefined;
  readonly identity: string | undefined;
  readonly accountFolder: string | undefined;
  readonly elects: boolean;
  readonly lease: { readonly leaseMs?: number; readonly renewMs?: number; readonly retryMs?: number };
  readonly port: number;
  readonly host: string | undefined;
  readonly concurrency: number;
  readonly callsAtOnce: number;
  readonly pollMs: number;
}

const DEFAULT_PORT = 8080;

type Name = keyof typeof OPERATOR_VARIABLES;

/** The environment is wrong; the message names every mistake, `field` the first variable. */
export class SettingsInvalid extends Error {
  override readonly name = 'SettingsInvalid';
  readonly field: string;
  constructor(mistakes: readonly string[]) {
    super(`the operator is not set up right:\n  ${mistakes.join('\n  ')}`);
    this.field = mistakes[0]!.split(':')[0]!;
  }
}

/** Reads the operator's environment. @throws SettingsInvalid */
export function operatorSettings(env: Readonly<Record<string, string | undefined>>): OperatorSettings {
  const wrong: string[] = [];
  const complain = (name: Name, what: string) => void wrong.push(`${OPERATOR_VARIABLES[name]}: ${what}`);
  const text = (name: Name) => env[OPERATOR_VARIABLES[name]] || undefined;
  const required = (name: Name, example: string) => {
    const value = text(name);
    if (value === undefined) complain(name, `is missing, such as ${example}`);
    return value ?? '';
  };
  const number = (name: Name, fallback: number, min: number, max: number) => {
    const value = Number(text(name) ?? fallback);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    complain(name, `has to be a whole number from ${min} to ${max}, and is '${text(name)}'`);
    return fallback;
  };
  const scope = (): Scope => {
    try {
      return parseScope(text('namespaces') ?? '');
    } catch (error) {
      complain('namespaces', (error as Error).message);
      return everywhere;
    }
  };
  const flag = (name: Name, fallback: boolean) => {
    const value = text(name) ?? String(fallback);
    if (!/^(true|false)$/.test(value)) complain(name, 'has to be true or false');
    return value === 'true';
  };
  const [pullPolicy, workerSecret, prefix, domain] = [
    text('imagePullPolicy'),
    text('natsWorkerSecret'),
    text('natsPrefix'),
    text('natsDomain'),
  ];
  const pullSecrets = (text('imagePullSecrets') ?? '').split(',').filter((name) => name !== '');
  const settings: OperatorSettings = {
    pods: {
      image: required('image', 'ghcr.io/onebyte/onebyte:0.1.0'),
      natsUrl: required('natsUrl', 'nats://nats.nats.svc:4222'),
      ...(pullPolicy !== undefined && { imagePullPolicy: pullPolicy }),
      ...(pullSecrets.length > 0 && { imagePullSecrets: pullSecrets }),
      ...(workerSecret !== undefined && { natsSecret: workerSecret }),
      ...(prefix !== undefined && { natsPrefix: prefix }),
      ...(domain !== undefined && { natsDomain: domain }),
      natsTlsFirst: flag('natsTlsFirst', false),
    },
    scope: scope(),
    namespace: text('namespace'),
    identity: text('identity'),
    accountFolder: text('accountFolder'),
    elects: flag('leaderElection', true),
    lease: {},
    port: number('port', DEFAULT_PORT, 0, 65_535),
    host: text('host'),
    concurrency: number('concurrency', 8, 1, 256),
    callsAtOnce: number('callsAtOnce', 16, 1, 256),
    pollMs: 1_000 * number('pollSeconds', 5, 1, 3_600),
  };
  if (wrong.length > 0) throw new SettingsInvalid(wrong);
  return settings;
}
