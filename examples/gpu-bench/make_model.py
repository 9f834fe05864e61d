#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the ONNX graph of a Llama, without its weights: what a benchmark needs.

    make_model.py OUT.onnx --shape=8b|1b [--dtype=bf16|f16|f32] [--layers N] [--positions N]

The form is that of onnxruntime-genai's builder: GroupQueryAttention with rotary embedding and past and present caches, inputs
input_ids and attention_mask. Weights are external data in OUT.onnx.data, a file that need not exist:

    caat-compile OUT.onnx --target=cuda --no-weights -o DIR
    caat-run bench DIR --random-weights
"""
import argparse
from pathlib import Path

from onnx import TensorProto, helper

from shapes import SHAPES, Shape

TYPES = {"bf16": (TensorProto.BFLOAT16, 2), "f16": (TensorProto.FLOAT16, 2), "f32": (TensorProto.FLOAT, 4)}


class Graph:
    """Nodes and weights, in order; a weight is a name, a shape and a place in the file of weights."""

    def __init__(self, file: str, dtype: str):
        self.file = file
        self.type, self.element = TYPES[dtype]
        self.nodes, self.tensors, self.bytes = [], [], 0

    def weight(self, name: str, *shape: int) -> str:
        tensor = TensorProto(name=name, data_type=self.type, dims=shape, data_location=TensorProto.EXTERNAL)
        length = self.element
        for size in shape:
            length *= size
        for key, value in (("location", self.file), ("offset", self.bytes), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.bytes += length
        self.tensors.append(tensor)
        return name

    def node(self, kind: str, inputs, *outputs: str, domain="", **attributes) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), outputs[0], domain=domain, **attributes))
        return outputs[0]


def build(shape: Shape, file: str, dtype: str, positions: int):
    g = Graph(file, dtype)
    g.tensors += [helper.make_tensor("one", TensorProto.INT64, [1], [1]), helper.make_tensor("first", TensorProto.INT64, [], [1])]
    g.node("ReduceSum", ["attention_mask", "one"], "filled", keepdims=0)
    g.node("Sub", ["filled", "one"], "last")
    g.node("Cast", ["last"], "lengths", to=TensorProto.INT32)
    g.node("Shape", ["attention_mask"], "mask_shape")
    g.node("Gather", ["mask_shape", "first"], "total64", axis=0)
    g.node("Cast", ["total64"], "total", to=TensorProto.INT32)
    cos, sin = (g.weight(f"{name}_cache", positions, shape.head // 2) for name in ("cos", "sin"))

    def norm(added, name: str):
        return g.node("SkipSimplifiedLayerNormalization", [*added, g.weight(f"{name}.weight", shape.hidden)], name, "", "",
                      f"{name}.sum", domain="com.microsoft", epsilon=1e-5)

    stream = g.node("Gather", [g.weight("embed.weight", shape.vocabulary, shape.hidden), "input_ids"], "x")
    normed = g.node("SimplifiedLayerNormalization", [stream, g.weight("norm.weight", shape.hidden)], "x.norm",
                    epsilon=1e-5, axis=-1)
    caches = []
    for i in range(shape.layers):
        p = f"layers.{i}."
        packed = (shape.heads + 2 * shape.kv_heads) * shape.head
        qkv = g.node("MatMul", [normed, g.weight(p + "qkv.weight", shape.hidden, packed)], p + "qkv")
        past, present = ([f"{which}.{i}.{part}" for part in ("key", "value")] for which in ("past_key_values", "present"))
        caches += zip(past, present)
        attention = g.node("GroupQueryAttention", [qkv, "", "", *past, "lengths", "total", cos, sin], p + "attn", *present,
                           domain="com.microsoft", num_heads=shape.heads, kv_num_heads=shape.kv_heads, do_rotary=1)
        out = g.node("MatMul", [attention, g.weight(p + "o.weight", shape.heads * shape.head, shape.hidden)], p + "o")
        normed = norm([stream, out], p + "norm1")
        gate = g.node("MatMul", [normed, g.weight(p + "gate.weight", shape.hidden, shape.ffn)], p + "gate")
        up = g.node("MatMul", [normed, g.weight(p + "up.weight", shape.hidden, shape.ffn)], p + "up")
        silu = g.node("Mul", [gate, g.node("Sigmoid", [gate], p + "sigmoid")], p + "silu")
        down = g.node("MatMul", [g.node("Mul", [silu, up], p + "act"), g.weight(p + "down.weight", shape.ffn, shape.hidden)],
                      p + "down")
        normed = norm([p + "norm1.sum", down], p + "norm2")
        stream = p + "norm2.sum"
    g.node("MatMul", [normed, g.weight("head.weight", shape.hidden, shape.vocabulary)], "logits")

    def value(name: str, kind: int, *sizes):
        return helper.make_tensor_value_info(name, kind, sizes)

    def cache(name: str, length: str):
        return value(name, g.type, "batch", shape.kv_heads, length, shape.head)

    inputs = [value("input_ids", TensorProto.INT64, "batch", "seq"), value("attention_mask", TensorProto.INT64, "batch", "total")]
    graph = helper.make_graph(g.nodes, "llama", inputs + [cache(past, "past") for past, _ in caches],
                              [value("logits", g.type, "batch", "seq", shape.vocabulary)] +
                              [cache(present, "total") for _, present in caches], g.tensors)
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), g.bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="1b")
    parser.add_argument("--dtype", choices=TYPES, default="bf16")
    parser.add_argument("--layers", type=int, help="fewer layers than the shape has")
    parser.add_argument("--positions", type=int, default=8192)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    if arguments.layers:
        shape.layers = arguments.layers
    model, size = build(shape, arguments.out.name + ".data", arguments.dtype, arguments.positions)
    arguments.out.write_bytes(model.SerializeToString())
    print(f"{arguments.out}: {shape.layers} layers, {size / 1e9:.2f} GB of weights in {arguments.dtype}")


if __name__ == "__main__":
    main()
