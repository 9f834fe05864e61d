# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the ranks of an MLP whose weights have 256 MiB, in a process that may not allocate 48 MiB, less than a slice: memory.py FOLDER."""
import resource
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto as T
from onnx import helper as h

HIDDEN, INNER = 4096, 8192
DATA = 48 << 20


def weight(name, shape, offset):
    tensor = T(name=name, data_type=T.FLOAT, dims=shape, data_location=T.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", offset), ("length", 4 * HIDDEN * INNER)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "weights.bin", "wb") as file:
        file.truncate(2 * 4 * HIDDEN * INNER)    # zeros that take no place
    nodes = [h.make_node("MatMul", ["x", "up"], ["u"]), h.make_node("Relu", ["u"], ["r"]), h.make_node("MatMul", ["r", "down"], ["y"])]
    graph = h.make_graph(nodes, "mlp", [h.make_tensor_value_info("x", T.FLOAT, ["n", HIDDEN])],
                         [h.make_tensor_value_info("y", T.FLOAT, ["n", HIDDEN])],
                         [weight("up", [HIDDEN, INNER], 0), weight("down", [INNER, HIDDEN], 4 * HIDDEN * INNER)])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9), folder / "model.onnx")
    done = subprocess.run(["caat-opt", folder / "model.onnx", "--tp-pipeline=size=2", "-o", folder / "rank-%r.onnx"],
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (DATA, DATA)), capture_output=True, text=True)
    print(done.stderr.strip())
    sizes = [(folder / f"rank-{rank}.onnx.data").stat().st_size for rank in range(2)] if done.returncode == 0 else []
    print(f"exit {done.returncode}, sizes {sizes}")
    for path in folder.iterdir():
        path.unlink()


main()
