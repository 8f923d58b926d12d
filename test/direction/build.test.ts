import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { compileKernel, kernelModule } from '../../worker/direction/build.ts';

test('the committed kernels are what their source compiles to', async () => {
  const committed = await readFile(
    new URL('../../worker/direction/kernel.wasm.gen.ts', import.meta.url),
    'utf8',
  );
  assert.equal(kernelModule(await compileKernel()), committed);
});
