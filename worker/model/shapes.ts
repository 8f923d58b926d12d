import { OnebyteError } from '../errors.ts';
import type { TensorView, Weights } from './tensor.ts';

const remedy = 'use a folder whose config.json and weights belong together';

/**
 * The weights, checked against the shapes that the graph reads. Tensors that it does not read are kept, so that an
 * export has them again.
 * @throws {OnebyteError} MODEL_TENSOR_MISSING, MODEL_CONFIG_INVALID
 */
export function fittingWeights(
  shapes: ReadonlyMap<string, readonly number[]>,
  weights: ReadonlyMap<string, TensorView>,
): Weights {
  for (const [name, dims] of shapes) {
    const view = weights.get(name);
    if (view === undefined) {
      throw new OnebyteError('MODEL_TENSOR_MISSING', `the weights have no tensor ${name}`, {
        field: name,
        remedy,
      });
    }
    if (view.dims.join() !== dims.join()) {
      throw new OnebyteError(
        'MODEL_CONFIG_INVALID',
        `${name} is [${view.dims}], and config.json says [${dims}]`,
        { field: name, remedy },
      );
    }
  }
  return weights;
}
