import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { OnebyteError } from '../errors.ts';

/** What forward passes run on. The state's arithmetic is the processor's on either. */
export type Device = 'cpu' | 'cuda';

/** Takes `cpu`, `cuda` or `auto`. */
export const DEVICE_VARIABLE = 'ONEBYTE_DEVICE';

export interface Machine {
  /** Whether this program came with the runtime's library for CUDA: images built with CUDA=12 do. */
  readonly library: boolean;
  /** Whether a driver of NVIDIA shows a GPU to this process. */
  readonly gpu: boolean;
}

/**
 * The device that `wanted` says. `auto`, the default, is the GPU where there is all that it needs. A GPU that was asked
 * for and cannot be used is an error: a worker that is slow without a word costs more than one that does not start.
 * @throws OnebyteError WORKER_CONFIG_INVALID
 */
export function deviceOf(wanted: string | undefined, machine: Machine = thisMachine()): Device {
  switch (wanted || 'auto') {
    case 'cpu':
      return 'cpu';
    case 'auto':
      return machine.library && machine.gpu ? 'cuda' : 'cpu';
    case 'cuda':
      if (machine.library && machine.gpu) return 'cuda';
      throw invalid(
        machine.library ? 'there is no NVIDIA GPU here' : 'this program came without the library for CUDA',
        machine.library
          ? 'ask for nvidia.com/gpu in the worker template, or set cpu'
          : 'use the image that is built with --build-arg CUDA=12, or set cpu',
      );
    default:
      throw invalid(`'${wanted}' is no device`, 'set cpu, cuda or auto');
  }
}

function invalid(what: string, remedy: string): OnebyteError {
  return new OnebyteError('WORKER_CONFIG_INVALID', `${DEVICE_VARIABLE}: ${what}`, {
    field: DEVICE_VARIABLE,
    remedy,
  });
}

function thisMachine(): Machine {
  const runtime = dirname(createRequire(import.meta.url).resolve('onnxruntime-node'));
  const folder = join(runtime, '..', 'bin', 'napi-v6', process.platform, process.arch);
  return {
    library: existsSync(join(folder, 'libonnxruntime_providers_cuda.so')),
    // The second one is that of Windows' subsystem for Linux.
    gpu: existsSync('/dev/nvidiactl') || existsSync('/dev/dxg'),
  };
}
