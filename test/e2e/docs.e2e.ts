/** What the pages for users say is what happens: every block marked `sh` of docs/install.md, in order, on real nodes. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { PUBLISHED_NATS } from '../cluster/nats-image.ts';
import { run } from '../operator/chart/helm.ts';
import { tool } from '../tools/tool.ts';
import { Lab, labMissing } from './lab.ts';

const skip = await labMissing();
const root = join(import.meta.dirname, '..', '..');

/** Blocks of a page that say what language they are in, `sh`. */
function commandsOf(page: string): string[] {
  return [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!);
}

describe('docs/install.md', { skip }, () => {
  let lab: Lab;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'onebyte-docs-'));
    // Images by the names that they have in the world, for no registry is at hand.
    const bare = {
      repository: 'docker.io/library/onebyte',
      tag: '0.1.0',
      nats: PUBLISHED_NATS,
      natsClaim: 'onebyte-nats-server-js-onebyte-nats-server-0',
    };
    lab = await Lab.start({ nodes: 2, bare }, (line) => console.log(line));
  });
  after(async () => {
    await lab?.down();
    await rm(folder, { recursive: true, force: true });
  });

  test('each command does what the page says', async (t) => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    await symlink(join(lab.reach.folder, 'bin', 'kubectl'), join(bin, 'kubectl'));
    // The one thing that differs: the sidecar that watches the configuration of NATS has an image that is not here.
    const extra = join(folder, 'values.yaml');
    await writeFile(extra, stringify({ 'nats-server': { reloader: { enabled: false } } }));
    const script = `#!/bin/sh\ncase $1 in install | upgrade) set -- "$@" --values ${extra} ;; esac\nexec ${await tool('helm')} "$@"\n`;
    await writeFile(join(bin, 'helm'), script, { mode: 0o755 });
    // The page changes the namespace of its context.
    const kubeconfig = join(folder, 'kubeconfig');
    await copyFile(lab.reach.kubeconfig, kubeconfig);
    const env = {
      PATH: `${bin}:${process.env.PATH}`,
      HOME: folder,
      KUBECONFIG: kubeconfig,
    };
    const blocks = commandsOf(readFileSync(join(root, 'docs', 'install.md'), 'utf8'));
    assert.ok(blocks.length >= 5);
    for (const block of blocks) {
      const began = performance.now();
      const { code, stdout, stderr } = await run('bash', ['-euc', `cd ${root}\n${block}`], env);
      const first = block.split('\n')[0]!;
      assert.equal(code, 0, `${block}\n${stdout}\n${stderr}\n${await lab.describe()}`);
      t.diagnostic(`${((performance.now() - began) / 1000).toFixed(0)} s: ${first}`);
    }
    const exported = lab.volume(join('output', 'sentiment'));
    assert.ok(existsSync(join(exported, 'journal.onebyte')));
    assert.ok(existsSync(join(exported, 'safetensors', 'model.safetensors')));
  });
});
