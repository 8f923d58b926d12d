/** Volumes on a folder of this machine, which all nodes see: what network storage is to a real cluster. */
/** Nobody counts: enough for any claim of the tests, and for the chart's own. */
const capacity = { storage: '20Gi' };
const size = { storage: '1Gi' };
const accessModes = ['ReadWriteMany', 'ReadWriteOnce'];

/** A volume that waits for the claim of that name. */
export function volumeObject(namespace: string, name: string, path: string): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: `${namespace}-${name}` },
    spec: {
      capacity,
      accessModes,
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: '',
      hostPath: { path },
      claimRef: { namespace, name },
    },
  };
}

/** A claim that such a volume waits for. */
export function claimObject(namespace: string, name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace },
    spec: { accessModes: ['ReadWriteMany'], storageClassName: '', resources: { requests: size } },
  };
}
