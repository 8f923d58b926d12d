/** What watches a cluster, as whoever installs the chart sets it up. */

/** What the chart's ServiceMonitor and PodMonitor come to, as the Prometheus operator writes it. */
export function scrapes(kubeconfig: string): object[] {
  const keep = (label: string, regex: string) => ({
    action: 'keep',
    source_labels: [`__meta_kubernetes_pod_${label}`],
    regex,
  });
  const take = (source: string, target_label: string) => ({
    source_labels: [`__meta_kubernetes_${source}`],
    target_label,
  });
  const discovery = { kubernetes_sd_configs: [{ role: 'pod', kubeconfig_file: kubeconfig }] };
  const where = [
    take('namespace', 'namespace'),
    take('pod_name', 'pod'),
    take('pod_container_name', 'container'),
  ];
  return [
    {
      job_name: 'onebyte-operator',
      honor_labels: true,
      ...discovery,
      relabel_configs: [
        keep('label_app_kubernetes_io_component', 'operator'),
        keep('container_port_name', 'metrics'),
        ...where,
      ],
    },
    {
      job_name: 'onebyte-workers',
      ...discovery,
      relabel_configs: [
        keep('label_app_kubernetes_io_managed_by', 'onebyte-operator'),
        keep('label_app_kubernetes_io_component', 'worker'),
        keep('container_port_name', 'metrics'),
        ...where,
        take('pod_label_onebyte_dev_job', 'finetunejob'),
        take('pod_label_onebyte_dev_group', 'group'),
      ],
    },
  ];
}

/** The chart's rules with seconds for minutes: nobody waits a quarter of an hour here. What they look at stays. */
export function hastened(rules: string): string {
  return rules
    .replaceAll(/for: \d+m/g, 'for: 2s')
    .replaceAll(/\[\d+[mh]\]/g, '[8s]')
    .replaceAll('> 1800', '> 8')
    .replaceAll('> 600', '> 8');
}
