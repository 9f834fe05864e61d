# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes a deep model from a shallow one: repeats its last layer until the graph has the wanted number of nodes.

    repeat_layers.py MODEL.onnx OUT.onnx (--nodes N | --layers N) [--no-weights]

Names of a layer's own nodes and values hold its number, as exporters write them (`/model/layers.1/mlp/Mul`). All weights are
moved to OUT.onnx.data, a sparse file of zeros that takes no space; --no-weights leaves it out.
"""
import argparse
import collections
import os
import re

import numpy as np
import onnx


def layer_of(name):
    found = re.search(r"(?:^|[./])(?:layers|layer|h|block|past_key_values|present)\.(\d+)(?:[./]|$)", name)
    return int(found.group(1)) if found else None


def own_names(graph, layer):
    """Everything that only `layer` uses or makes: values, weights, constants without a telling name, cache inputs and outputs."""
    nodes = [node for node in graph.node if layer_of(node.name) == layer]
    users = collections.defaultdict(set)
    for node in graph.node:
        for value in node.input:
            users[value].add(node.name)
    inside = {node.name for node in nodes}
    for node in graph.node:
        if node.name not in inside and not node.input and all(users[value] <= inside for value in node.output):
            inside.add(node.name)
    nodes = [node for node in graph.node if node.name in inside]
    names = {value for node in nodes for value in node.output if value}
    names |= {tensor.name for tensor in graph.initializer if users[tensor.name] <= inside}
    names |= {info.name for info in graph.input if users[info.name] and users[info.name] <= inside}
    return nodes, names


def last_layer(graph):
    """The last layer that is whole: some exporters count the final norm as one more."""
    sizes = collections.Counter(layer_of(node.name) for node in graph.node)
    del sizes[None]
    return max(number for number, size in sizes.items() if 2 * size > max(sizes.values()))


def renumbered(name, old, new):
    changed = re.sub(rf"(?<=[.a-z])\.{old}(?=[./])", f".{new}", name, count=1)
    return changed if changed != name else f"{name}.{new}"


def repeat(graph, copies):
    layer = last_layer(graph)
    nodes, names = own_names(graph, layer)
    inside = {node.name for node in nodes}
    outputs = {info.name for info in graph.output}
    read_outside = {value for node in graph.node if node.name not in inside for value in node.input}
    ends = [value for node in nodes for value in node.output if value and value in read_outside and value not in outputs]
    streams = {renumbered(value, layer, layer - 1): value for value in ends}  # what a layer reads: what the one before made
    read = {value for node in nodes for value in node.input}
    assert read >= set(streams), f"layer {layer} does not read {set(streams) - read}"

    last = max(i for i, node in enumerate(graph.node) if node.name in inside)
    added = []
    for copy in range(layer + 1, layer + 1 + copies):

        def rename(name):
            return streams[name] if name in streams else renumbered(name, layer, copy) if name in names else name

        for node in nodes:
            clone = onnx.NodeProto()
            clone.CopyFrom(node)
            clone.name = renumbered(node.name, layer, copy) if layer_of(node.name) else f"{node.name}.{copy}"
            clone.input[:] = [rename(value) for value in node.input]
            clone.output[:] = [rename(value) for value in node.output]
            added.append(clone)
        for field in (graph.initializer, graph.input, graph.output, graph.value_info):
            for item in [item for item in field if item.name in names]:
                clone = field.add()
                clone.CopyFrom(item)
                clone.name = rename(item.name)
        streams = {start: rename(end) for start, end in zip(streams, ends)}
    final = dict(zip(ends, streams.values()))
    rest = list(graph.node)[last + 1:]
    for node in rest:
        node.input[:] = [final.get(value, value) for value in node.input]
    ordered = list(graph.node)[:last + 1] + added + rest
    del graph.node[:]
    graph.node.extend(ordered)


def move_weights(graph, location):
    """Weights above 64 elements: bytes that are never written."""
    offset = 0
    for tensor in graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) <= 64:
            continue
        size = int(np.prod(tensor.dims, dtype=np.int64)) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for field in ("raw_data", "float_data", "int32_data", "int64_data", "external_data"):
            tensor.ClearField(field)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        offset += -(-size // 4096) * 4096
    return offset


def make(path, out, nodes=None, layers=None, weights=True):
    """Writes the repeated model and returns its numbers of nodes and layers."""
    model = onnx.load(path, load_external_data=False)
    present = 1 + last_layer(model.graph)
    per_layer = len(own_names(model.graph, present - 1)[0])
    copies = layers - present if layers else -(-(nodes - len(model.graph.node)) // per_layer)
    if copies < 0:
        raise ValueError("the model is larger than that already")
    repeat(model.graph, copies)
    location = f"{os.path.basename(out)}.data"
    total = move_weights(model.graph, location)
    onnx.save(model, out)
    data = os.path.join(os.path.dirname(out), location)
    if os.path.exists(data):
        os.remove(data)
    if weights:
        with open(data, "wb") as file:
            file.truncate(total)
    return len(model.graph.node), present + copies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--nodes", type=int)
    size.add_argument("--layers", type=int)
    parser.add_argument("--no-weights", action="store_true")
    args = parser.parse_args()
    nodes, layers = make(args.model, args.out, args.nodes, args.layers, not args.no_weights)
    print(f"{nodes} nodes, {layers} layers")


if __name__ == "__main__":
    main()
