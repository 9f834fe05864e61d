#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decoders of the sizes that users have, to be measured without their weights: ONNX files as onnxruntime-genai's builder writes them,
whose external data is a file of zeros that takes no room on the disk.

    shapes.py SHAPE OUT_DIR [--layers N] [--dtype f32|bf16|f16]
"""
import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper

SHAPES = {  # hidden, heads, KV heads, head's size, feed-forward, vocabulary, layers
    "1b": (2048, 32, 8, 64, 8192, 128256, 16),
    "8b": (4096, 32, 8, 128, 14336, 128256, 32),
}
TYPES = {"f32": TensorProto.FLOAT, "bf16": TensorProto.BFLOAT16, "f16": TensorProto.FLOAT16}


class Builder:
    def __init__(self, dtype: int):
        self.dtype, self.nodes, self.weights, self.offset = dtype, [], [], 0

    def node(self, op: str, inputs: list[str], outputs: list[str], domain="", **attributes):
        self.nodes.append(helper.make_node(op, inputs, outputs, name=outputs[0], domain=domain, **attributes))
        return outputs[0]

    def weight(self, name: str, *shape: int) -> str:
        tensor = TensorProto(name=name, data_type=self.dtype, dims=shape, data_location=TensorProto.EXTERNAL)
        size = 4 if self.dtype == TensorProto.FLOAT else 2
        for extent in shape:
            size *= extent
        for key, value in (("location", "model.onnx.data"), ("offset", self.offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self.offset += (size + 4095) // 4096 * 4096
        self.weights.append(tensor)
        return name

    def integer(self, name: str, value) -> str:
        shape = [len(value)] if isinstance(value, list) else []
        return self.node("Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, shape,
                                                                          value if shape else [value]))


def decoder(shape: str, layers: int | None, dtype: str, vocabulary: int | None = None, positions=8448):
    hidden, heads, kv_heads, size, inner, words, depth = SHAPES[shape]
    words, depth = vocabulary or words, layers or depth
    b = Builder(TYPES[dtype])
    total = b.node("ReduceSum", ["attention_mask", b.integer("axis", [1])], ["sum"], keepdims=0)
    last = b.node("Cast", [b.node("Sub", [total, b.integer("one", [1])], ["last"])], ["last32"], to=TensorProto.INT32)
    length = b.node("Gather", [b.node("Shape", ["attention_mask"], ["shape"]), b.integer("second", 1)], ["length"], axis=0)
    length = b.node("Cast", [length], ["length32"], to=TensorProto.INT32)
    tables = [b.weight("cos_cache", positions, size // 2), b.weight("sin_cache", positions, size // 2)]
    stream = b.node("Gather", [b.weight("embed.weight", words, hidden), "input_ids"], ["embedded"])
    x = b.node("SimplifiedLayerNormalization", [stream, b.weight("layers.0.input_norm.weight", hidden)], ["layers.0.normed"],
               epsilon=1e-5, axis=-1, stash_type=1)
    for i in range(depth):
        def matmul(value, name, rows, columns, i=i):
            return b.node("MatMul", [value, b.weight(f"layers.{i}.{name}.weight", rows, columns)], [f"layers.{i}.{name}"])
        qkv = matmul(x, "qkv_proj", hidden, (heads + 2 * kv_heads) * size)
        b.node("GroupQueryAttention", [qkv, "", "", f"past_key_values.{i}.key", f"past_key_values.{i}.value", last, length, *tables],
               [f"layers.{i}.attention", f"present.{i}.key", f"present.{i}.value"], domain="com.microsoft", num_heads=heads,
               kv_num_heads=kv_heads, scale=size ** -0.5, local_window_size=-1, softcap=0.0, do_rotary=1, rotary_interleaved=0)
        attention = matmul(f"layers.{i}.attention", "o_proj", heads * size, hidden)
        x, after = f"layers.{i}.mlp_normed", f"layers.{i}.after_attention"
        b.node("SkipSimplifiedLayerNormalization", [stream, attention, b.weight(f"layers.{i}.post_norm.weight", hidden)],
               [x, "", "", after], domain="com.microsoft", epsilon=1e-5)
        gate, up = matmul(x, "gate_proj", hidden, inner), matmul(x, "up_proj", hidden, inner)
        gate = b.node("Mul", [gate, b.node("Sigmoid", [gate], [f"layers.{i}.sigmoid"])], [f"layers.{i}.silu"])
        down = matmul(b.node("Mul", [gate, up], [f"layers.{i}.product"]), "down_proj", inner, hidden)
        x, stream = f"layers.{i + 1}.normed", f"layers.{i}.out"
        b.node("SkipSimplifiedLayerNormalization", [after, down, b.weight(f"layers.{i + 1}.input_norm.weight", hidden)],
               [x, "", "", stream] if i + 1 < depth else [x], domain="com.microsoft", epsilon=1e-5)
    b.node("MatMul", [x, b.weight("head.weight", hidden, words)], ["logits"])

    def value(name, shape, dtype=b.dtype):
        return helper.make_tensor_value_info(name, dtype, shape)
    caches = [(f"{i}.{part}") for i in range(depth) for part in ("key", "value")]
    graph = helper.make_graph(
        b.nodes, "decoder",
        [value("input_ids", ["batch", "sequence"], TensorProto.INT64), value("attention_mask", ["batch", "total"], TensorProto.INT64),
         *[value(f"past_key_values.{c}", ["batch", kv_heads, "past", size]) for c in caches]],
        [value("logits", ["batch", "sequence", words]),
         *[value(f"present.{c}", ["batch", kv_heads, "total", size]) for c in caches]], b.weights)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)])
    return model, b.offset


def write(folder: Path, *arguments, **options) -> Path:
    model, size = decoder(*arguments, **options)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with open(folder / "model.onnx.data", "wb") as data:
        data.truncate(size)
    return folder / "model.onnx"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--dtype", choices=TYPES, default="f32")
    parser.add_argument("--vocabulary", type=int)
    arguments = parser.parse_args()
    print(write(arguments.folder, arguments.shape, arguments.layers, arguments.dtype, arguments.vocabulary))


if __name__ == "__main__":
    main()
