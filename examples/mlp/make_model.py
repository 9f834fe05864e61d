#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The smallest model with a sync point: y = x + Gelu(x @ up + b) @ down + c.

    make_model.py OUT_DIR                      writes model.onnx, inputs.npz and outputs.npz (by NumPy)
    make_model.py OUT_DIR --compare FILE.npz   compares a program's outputs with outputs.npz
"""
import argparse
import math
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN, COLUMNS, ROWS = 64, 256, 5


def make(out: Path):
    random = np.random.default_rng(0)
    weights = {"up.weight": random.normal(0, 0.1, (HIDDEN, COLUMNS)), "up.bias": random.normal(0, 0.1, COLUMNS),
               "down.weight": random.normal(0, 0.1, (COLUMNS, HIDDEN)), "down.bias": random.normal(0, 0.1, HIDDEN)}
    weights = {name: w.astype(np.float32) for name, w in weights.items()}
    nodes = [helper.make_node("MatMul", ["x", "up.weight"], ["a"], "up"),
             helper.make_node("Add", ["a", "up.bias"], ["b"], "up_bias"),
             helper.make_node("Gelu", ["b"], ["c"], "activation"),
             helper.make_node("MatMul", ["c", "down.weight"], ["d"], "down"),
             helper.make_node("Add", ["d", "down.bias"], ["e"], "down_bias"),
             helper.make_node("Add", ["x", "e"], ["y"], "residual")]
    graph = helper.make_graph(nodes, "mlp",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", HIDDEN])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", HIDDEN])],
                              [numpy_helper.from_array(w, name) for name, w in weights.items()])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model, full_check=True)
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(model, out / "model.onnx")

    x = random.normal(0, 1, (ROWS, HIDDEN)).astype(np.float32)
    hidden = x.astype(np.float64) @ weights["up.weight"] + weights["up.bias"]
    hidden *= 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    y = x + hidden @ weights["down.weight"] + weights["down.bias"]
    np.savez(out / "inputs.npz", x=x)
    np.savez(out / "outputs.npz", y=y.astype(np.float32))


def compare(out: Path, result: Path):
    difference = float(np.abs(np.load(out / "outputs.npz")["y"] - np.load(result)["y"]).max())
    print(f"largest difference {difference:.2g}")
    sys.exit(not difference < 1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--compare", type=Path, metavar="FILE.npz")
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.out, arguments.compare)
    make(arguments.out)


if __name__ == "__main__":
    main()
