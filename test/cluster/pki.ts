import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Leaf {
  readonly name: string;
  readonly ca: 'ca' | 'front-proxy-ca';
  /** Subject as openssl writes it, e.g. `/O=system:masters/CN=admin`. */
  readonly subject: string;
  readonly usage: 'serverAuth' | 'clientAuth';
  /** Subject alternative names, e.g. `IP:127.0.0.1`. */
  readonly names?: readonly string[];
}

export const adminUser: Leaf = {
  name: 'admin',
  ca: 'ca',
  subject: '/O=system:masters/CN=admin',
  usage: 'clientAuth',
};

/** The certificates of one control plane. */
export function controlPlaneLeaves(serverNames: readonly string[]): Leaf[] {
  return [
    { name: 'apiserver', ca: 'ca', subject: '/CN=kube-apiserver', usage: 'serverAuth', names: serverNames },
    {
      name: 'apiserver-kubelet-client',
      ca: 'ca',
      subject: '/O=kube:kubelet-clients/CN=kube-apiserver-kubelet-client',
      usage: 'clientAuth',
    },
    {
      name: 'front-proxy-client',
      ca: 'front-proxy-ca',
      subject: '/CN=front-proxy-client',
      usage: 'clientAuth',
    },
    adminUser,
    {
      name: 'controller-manager',
      ca: 'ca',
      subject: '/CN=system:kube-controller-manager',
      usage: 'clientAuth',
    },
    { name: 'scheduler', ca: 'ca', subject: '/CN=system:kube-scheduler', usage: 'clientAuth' },
  ];
}

/** Makes both authorities, the service account key pair and the leaves (EC P-256) in `folder`. */
export async function makePki(folder: string, leaves: readonly Leaf[]): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await Promise.all([
    authority(folder, 'ca'),
    authority(folder, 'front-proxy-ca'),
    serviceAccountKeys(folder),
  ]);
  await Promise.all(leaves.map((leaf) => makeLeaf(folder, leaf)));
}

async function key(folder: string, name: string): Promise<void> {
  await openssl(folder, ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`]);
}

async function authority(folder: string, name: string): Promise<void> {
  await key(folder, name);
  const usage = ['-addext', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'];
  const constraints = ['-addext', 'basicConstraints=critical,CA:TRUE'];
  const request = [
    'req',
    '-x509',
    '-new',
    '-key',
    `${name}.key`,
    '-sha256',
    '-days',
    '3650',
    '-subj',
    `/CN=${name}`,
  ];
  await openssl(folder, [...request, '-out', `${name}.crt`, ...usage, ...constraints]);
}

async function serviceAccountKeys(folder: string): Promise<void> {
  await key(folder, 'service-account');
  await openssl(folder, ['ec', '-in', 'service-account.key', '-pubout', '-out', 'service-account.pub']);
}

/** Makes one more key and certificate, signed by an authority that is already in `folder`. */
export async function makeLeaf(folder: string, leaf: Leaf): Promise<void> {
  const { name, ca, subject, usage, names = [] } = leaf;
  const extensions = ['basicConstraints=CA:FALSE', 'keyUsage=digitalSignature', `extendedKeyUsage=${usage}`];
  if (names.length > 0) extensions.push(`subjectAltName=${names.join(',')}`);
  await writeFile(join(folder, `${name}.ext`), `${extensions.join('\n')}\n`);
  await key(folder, name);
  await openssl(folder, ['req', '-new', '-key', `${name}.key`, '-subj', subject, '-out', `${name}.csr`]);
  const signer = ['-CA', `${ca}.crt`, '-CAkey', `${ca}.key`, '-set_serial', `0x${serial()}`];
  const signing = ['x509', '-req', '-in', `${name}.csr`, ...signer, '-sha256', '-days', '3650'];
  await openssl(folder, [...signing, '-extfile', `${name}.ext`, '-out', `${name}.crt`]);
  await Promise.all(['csr', 'ext'].map((end) => rm(join(folder, `${name}.${end}`))));
}

function serial(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex');
}

async function openssl(cwd: string, args: string[]): Promise<void> {
  await run('openssl', args, { cwd });
}

/** A kubeconfig with everything inside, for the user whose leaf is in `folder`. */
export async function kubeconfigFor(folder: string, user: string, server: string): Promise<string> {
  const [ca, certificate, privateKey] = await Promise.all(
    ['ca.crt', `${user}.crt`, `${user}.key`].map((file) => readFile(join(folder, file), 'base64')),
  );
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'onebyte', cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: user, user: { 'client-certificate-data': certificate, 'client-key-data': privateKey } }],
    contexts: [{ name: 'onebyte', context: { cluster: 'onebyte', user } }],
    'current-context': 'onebyte',
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
