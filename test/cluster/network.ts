/** Addresses of a cluster with nodes. Each cluster takes a /16 of its own; the bridge by its name is the lock on it. */
import { command } from './command.ts';

const FIRST = 60;
const COUNT = 64;

export interface Network {
  /** Bridge on this machine that all nodes hang on. */
  readonly bridge: string;
  /** This machine, as nodes and pods see it. */
  readonly host: string;
  readonly pods: string;
  readonly services: string;
  readonly dns: string;
  /** The API server's address as a service. */
  readonly apiService: string;
}

export interface NodeAddress {
  /** End of the node's cable in this machine. */
  readonly link: string;
  readonly address: string;
  readonly pods: string;
}

export const MAX_NODES = 60;

export function networkOf(slot: number): Network {
  const net = `10.${FIRST + slot}`;
  return {
    bridge: `obx${slot}`,
    host: `${net}.0.1`,
    // Node i has 10.x.(64 + i).0/24 of it. This machine is not in it: kube-proxy has to answer for services it calls.
    pods: `${net}.64.0/18`,
    services: `${net}.128.0/17`,
    dns: `${net}.128.53`,
    apiService: `${net}.128.1`,
  };
}

/** @param index of the node, from 1 to MAX_NODES */
export function nodeAddress({ bridge, host }: Network, index: number): NodeAddress {
  const net = host.split('.').slice(0, 2).join('.');
  return {
    link: `${bridge}n${index}`,
    address: `${net}.0.${100 + index}`,
    pods: `${net}.${64 + index}.0/24`,
  };
}

/** Makes the bridge of the first network that nobody has, and gives that network. */
export async function claimNetwork(): Promise<Network> {
  for (let slot = 0; slot < COUNT; slot++) {
    const network = networkOf(slot);
    const made = await command('ip', ['link', 'add', network.bridge, 'type', 'bridge']).then(
      () => true,
      (error: Error) => {
        if (/exists/.test(error.message)) return false;
        throw error;
      },
    );
    if (!made) continue;
    await command('ip', ['address', 'add', `${network.host}/24`, 'dev', network.bridge]);
    await command('ip', ['link', 'set', network.bridge, 'up']);
    return network;
  }
  throw new Error(`all ${COUNT} networks are taken: ip link shows bridges obx0 to obx${COUNT - 1}`);
}
