import { create } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type NodeProto,
  NodeProtoSchema,
} from 'onnx-buf';

export type Rename = (name: string) => string;

/** Nodes with all their values renamed, in the graphs within them, too. */
export function renameNodes(nodes: readonly NodeProto[], rename: Rename): NodeProto[] {
  const value = (name: string) => (name === '' ? '' : rename(name));
  return nodes.map((node) =>
    create(NodeProtoSchema, {
      ...node,
      name: value(node.name),
      input: node.input.map(value),
      output: node.output.map(value),
      attribute: node.attribute.map((attribute) => renameAttribute(attribute, rename)),
    }),
  );
}

function renameAttribute(attribute: AttributeProto, rename: Rename): AttributeProto {
  if (attribute.g === undefined && attribute.graphs.length === 0) return attribute;
  return create(AttributeProtoSchema, {
    ...attribute,
    ...(attribute.g && { g: renameGraph(attribute.g, rename) }),
    graphs: attribute.graphs.map((graph) => renameGraph(graph, rename)),
  });
}

function renameGraph(graph: GraphProto, rename: Rename): GraphProto {
  const named = <T extends { name: string }>(things: readonly T[]): T[] =>
    things.map((thing) => ({ ...thing, name: rename(thing.name) }));
  return create(GraphProtoSchema, {
    ...graph,
    node: renameNodes(graph.node, rename),
    initializer: named(graph.initializer),
    input: named(graph.input),
    output: named(graph.output),
    valueInfo: [],
  });
}
