/** A job and its pods as kubectl shows them. */
import type { Status } from '../../crds/job.ts';
import type { Pod } from '../../operator/kube/mod.ts';
import type { Lab } from './lab.ts';
import { SYSTEM, TEAM } from './namespaces.ts';

export interface JobView {
  readonly metadata: { readonly name: string; readonly uid: string; readonly generation: number };
  readonly spec: { readonly replicas: number };
  readonly status?: Status;
}

export async function jobView(lab: Lab, name: string, namespace = TEAM): Promise<JobView> {
  return lab.read<JobView>(`/apis/onebyte.dev/v1alpha1/namespaces/${namespace}/finetunejobs/${name}`);
}

/** `True Reason` of a condition, or '' where the job has none of that type. */
export function condition(job: JobView, type: string): string {
  const found = job.status?.conditions?.find((one) => one.type === type);
  return found === undefined ? '' : `${found.status} ${found.reason}`;
}

export async function workerPods(lab: Lab, job: string, namespace = TEAM): Promise<Pod[]> {
  const selector = `onebyte.dev/job=${job},app.kubernetes.io/component=worker`;
  return podsWith(lab, namespace, selector);
}

async function podsWith(lab: Lab, namespace: string, selector: string): Promise<Pod[]> {
  const query = new URLSearchParams({ labelSelector: selector });
  return (await lab.read<{ items: Pod[] }>(`/api/v1/namespaces/${namespace}/pods?${query}`)).items;
}

export async function operatorPods(lab: Lab): Promise<Pod[]> {
  const selector = 'app.kubernetes.io/name=onebyte,app.kubernetes.io/instance=onebyte';
  return podsWith(lab, SYSTEM, selector);
}

/** The columns of `kubectl get ftj`, by their titles. */
export async function columns(lab: Lab, name: string, namespace = TEAM): Promise<Record<string, string>> {
  const [titles = '', row = ''] = (await lab.kubectl('-n', namespace, 'get', 'ftj', name)).split('\n');
  const words = row.trim().split(/\s+/);
  return Object.fromEntries(
    titles
      .trim()
      .split(/\s+/)
      .map((title, i) => [title, words[i] ?? '']),
  );
}

/** Reasons of the events on a job. */
export async function eventReasons(lab: Lab, name: string, namespace = TEAM): Promise<string[]> {
  const selector = `--field-selector=regarding.kind=FineTuneJob,regarding.name=${name}`;
  const { items } = await lab.get<{ items: { reason: string }[] }>(
    '-n',
    namespace,
    'events.events.k8s.io',
    selector,
  );
  return items.map(({ reason }) => reason);
}
