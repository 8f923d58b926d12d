import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Device, deviceOf } from '../../worker/engine/device.ts';
import type { OnebyteError } from '../../worker/errors.ts';

const cases: readonly [wanted: string | undefined, library: boolean, gpu: boolean, Device | RegExp][] = [
  [undefined, false, false, 'cpu'],
  [undefined, true, false, 'cpu'],
  [undefined, false, true, 'cpu'],
  [undefined, true, true, 'cuda'],
  ['', true, true, 'cuda'],
  ['auto', true, true, 'cuda'],
  ['cpu', true, true, 'cpu'],
  ['cuda', true, true, 'cuda'],
  ['cuda', true, false, /no NVIDIA GPU here.*nvidia\.com\/gpu/],
  ['cuda', false, true, /without the library for CUDA.*--build-arg CUDA=12/],
  ['gpu', true, true, /'gpu' is no device.*cpu, cuda or auto/],
];

for (const [wanted, library, gpu, expected] of cases) {
  const what = `${wanted ?? 'nothing'} where there is ${library ? 'a' : 'no'} library and ${gpu ? 'a' : 'no'} GPU`;
  test(`${what}: ${expected}`, () => {
    if (typeof expected === 'string') assert.equal(deviceOf(wanted, { library, gpu }), expected);
    else
      assert.throws(
        () => deviceOf(wanted, { library, gpu }),
        ({ code, field, message, remedy }: OnebyteError) => {
          assert.deepEqual([code, field], ['WORKER_CONFIG_INVALID', 'ONEBYTE_DEVICE']);
          assert.match(`${message} ${remedy}`, expected);
          return true;
        },
      );
  });
}
