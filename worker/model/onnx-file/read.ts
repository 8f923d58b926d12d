import { closeSync, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import {
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProto_DataType,
} from 'onnx-buf';
import { OnebyteError } from '../../errors.ts';
import type { Place } from '../stored.ts';
import { type ReadAt, refuseOnnx, slimOnnx } from './slim.ts';

/** An initializer, and where its numbers lie; undefined: in the protobuf itself. */
export interface Initializer {
  readonly tensor: TensorProto;
  readonly dims: readonly number[];
  readonly place: Place | undefined;
}

export interface OnnxFile {
  readonly path: string;
  readonly model: ModelProto;
  readonly graph: GraphProto;
  /** Version of ONNX's own operators. */
  readonly opset: number;
  readonly initializers: ReadonlyMap<string, Initializer>;
  /** Other files with weights, by their path. */
  readonly external: readonly string[];
}

const IR = { least: 3, most: 13 };
/** Below 11 there is no GatherElements, which the loss is made with. */
const OPSET = { least: 11, most: 25 };
const DOMAINS: readonly string[] = ['', 'ai.onnx', 'ai.onnx.ml', 'com.microsoft'];

const WIDTH: ReadonlyMap<TensorProto_DataType, number> = new Map([
  [TensorProto_DataType.FLOAT, 4],
  [TensorProto_DataType.UINT8, 1],
  [TensorProto_DataType.INT8, 1],
  [TensorProto_DataType.UINT16, 2],
  [TensorProto_DataType.INT16, 2],
  [TensorProto_DataType.INT32, 4],
  [TensorProto_DataType.INT64, 8],
  [TensorProto_DataType.BOOL, 1],
  [TensorProto_DataType.FLOAT16, 2],
  [TensorProto_DataType.DOUBLE, 8],
  [TensorProto_DataType.UINT32, 4],
  [TensorProto_DataType.UINT64, 8],
  [TensorProto_DataType.BFLOAT16, 2],
]);

function versionOf({ irVersion, opsetImport }: ModelProto, file: string): number {
  const known = (what: string, found: unknown, all: string): never => {
    throw new OnebyteError('MODEL_TYPE_UNSUPPORTED', `${file}: ${what} ${found}; known: ${all}`, {
      field: file,
      remedy: 'export the model anew, or convert it with onnx.version_converter',
    });
  };
  const ir = Number(irVersion);
  if (!(ir >= IR.least && ir <= IR.most)) known('its IR version is', ir, `${IR.least} to ${IR.most}`);
  let opset = 0;
  for (const { domain, version } of opsetImport) {
    if (!DOMAINS.includes(domain))
      known('it uses operators of the domain', domain, DOMAINS.slice(1).join(', '));
    if (domain === '' || domain === 'ai.onnx') opset = Number(version);
  }
  if (!(opset >= OPSET.least && opset <= OPSET.most))
    known('its operator set is', opset, `${OPSET.least} to ${OPSET.most}`);
  return opset;
}

function dimsOf({ dims }: TensorProto, field: string): number[] {
  const numbers = dims.map(Number);
  const size = numbers.reduce((a, b) => a * b, 1);
  if (numbers.some((n) => !Number.isSafeInteger(n) || n < 0) || !Number.isSafeInteger(size))
    refuseOnnx(field, `has the shape [${dims}]`);
  return numbers;
}

/** A file beside the model, which may not lie anywhere else. @throws {OnebyteError} MODEL_FILE_INVALID */
function beside(folder: string, location: string, field: string): string {
  const inside = normalize(location);
  if (location === '' || isAbsolute(location) || inside === '..' || inside.startsWith(`..${sep}`))
    refuseOnnx(field, `its numbers are in ${JSON.stringify(location)}, which is not in the model's folder`);
  try {
    const path = realpathSync(join(folder, inside));
    if (path.startsWith(realpathSync(folder) + sep)) return path;
  } catch (cause) {
    throw new OnebyteError(
      'MODEL_FILE_MISSING',
      `${field}: its numbers are in ${location}, which is not there`,
      {
        field,
        cause,
        remedy: 'put all files of the model into one folder',
      },
    );
  }
  refuseOnnx(field, `its numbers are in ${JSON.stringify(location)}, which leads out of the model's folder`);
}

function externalPlace(tensor: TensorProto, folder: string, field: string, bytes: number): Place {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const path = beside(folder, entries.get('location') ?? '', field);
  const offset = Number(entries.get('offset') ?? 0);
  const length = Number(entries.get('length') ?? bytes);
  if (!Number.isSafeInteger(offset) || offset < 0 || length !== bytes)
    refuseOnnx(
      field,
      `names ${entries.get('length')} bytes from ${entries.get('offset')} on, and has ${bytes}`,
    );
  if (offset + bytes > statSync(path).size) refuseOnnx(field, `reaches beyond the end of ${basename(path)}`);
  return { path, offset, bytes };
}

/**
 * Reads an ONNX file but for its weights, and checks where those lie.
 * @throws {OnebyteError} MODEL_FILE_MISSING, MODEL_FILE_INVALID, MODEL_TYPE_UNSUPPORTED
 */
export function readOnnx(named: string): OnnxFile {
  const file = basename(named);
  let path: string;
  let fd: number;
  try {
    // Where links lead: files beside the model are looked for there.
    path = realpathSync(named);
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new OnebyteError('MODEL_FILE_MISSING', `cannot read ${named}`, {
      field: file,
      cause,
      remedy: 'point the job at the ONNX file',
    });
  }
  try {
    const readAt: ReadAt = (into, at) => readSync(fd, into, 0, into.length, at);
    return parseOnnx(readAt, fstatSync(fd).size, path, file);
  } finally {
    closeSync(fd);
  }
}

/**
 * `readOnnx` of what another one reads.
 * @param size bytes that there are
 * @param path where the file is: others with weights lie beside it
 * @param file what messages call it
 */
export function parseOnnx(readAt: ReadAt, size: number, path: string, file: string): OnnxFile {
  const slim = slimOnnx(readAt, file, size);
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, slim.bytes);
  } catch (cause) {
    refuseOnnx(file, 'is no ONNX model', cause);
  }
  const opset = versionOf(model, file);
  const { graph } = model;
  // A field of another wire type than it should have leads the reader astray.
  if (graph === undefined) refuseOnnx(file, 'is no ONNX model: it has no graph');
  if (graph.sparseInitializer.length > 0) refuseOnnx(file, 'has sparse weights');
  const initializers = new Map<string, Initializer>();
  const external = new Set<string>();
  graph.initializer.forEach((tensor, i) => {
    const field = `${file}[${tensor.name}]`;
    if (tensor.name === '' || initializers.has(tensor.name))
      refuseOnnx(field, 'is there twice, or has no name');
    const dims = dimsOf(tensor, field);
    const size = dims.reduce((a, b) => a * b, 1);
    const width = WIDTH.get(tensor.dataType);
    if (tensor.dataLocation === TensorProto_DataLocation.EXTERNAL) {
      if (width === undefined) refuseOnnx(field, `is of the unknown type ${tensor.dataType}`);
      const place = externalPlace(tensor, dirname(path), field, size * width);
      external.add(place.path);
      initializers.set(tensor.name, { tensor, dims, place });
      return;
    }
    const numbers = slim.numbers[i];
    const held = numbers?.bytes ?? (tensor.rawData.length || undefined);
    if (held !== undefined && (width === undefined || held !== size * width))
      refuseOnnx(field, `has ${held} bytes, and the shape [${dims}]`);
    if (
      held === undefined &&
      tensor.dataType === TensorProto_DataType.FLOAT &&
      tensor.floatData.length !== size
    )
      refuseOnnx(field, `has ${tensor.floatData.length} numbers, and the shape [${dims}]`);
    initializers.set(tensor.name, { tensor, dims, place: numbers && { path, ...numbers } });
  });
  return { path, model, graph, opset, initializers, external: [...external].sort() };
}
