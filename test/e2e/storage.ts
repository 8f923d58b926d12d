/** Volumes on a folder of this machine, which all nodes see: what network storage is to a real cluster. */
export function claimObjects(namespace: string, name: string, path: string): object[] {
  const size = { storage: '1Gi' };
  const accessModes = ['ReadWriteMany'];
  const volume = `${namespace}-${name}`;
  return [
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: volume },
      spec: {
        capacity: size,
        accessModes,
        persistentVolumeReclaimPolicy: 'Retain',
        storageClassName: '',
        hostPath: { path },
        claimRef: { namespace, name },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name, namespace },
      spec: { accessModes, storageClassName: '', volumeName: volume, resources: { requests: size } },
    },
  ];
}
