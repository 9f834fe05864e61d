# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dimensions of unknown size that are broadcast or not as the inputs decide: each program is compiled once and run with
sizes 1 and n, n and 1, n and n, and with sizes that do not fit, which must end in a message that names the node."""
import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto as T

import programs
from graphs import Graph, onnxruntime_results, program_results, worst

LIMIT = 1e-5


def add(g: Graph):
    x, y = g.input("x", ["a", 5]), g.input("y", ["b", 5])
    g.output(*g.node("Add", [x, y], ["z"], name="sum"), ["c", 5])
    return {"x": ("a", 5), "y": ("b", 5)}, "sum"


def columns(g: Graph):
    """The last dimension, and several ops in one kernel behind it."""
    x, y = g.input("x", [3, "a"]), g.input("y", ["m", "b"])
    product = g.node("Mul", [g.node("Exp", [x]), y], name="product")
    g.output(*g.node("Tanh", [g.node("Sub", [product, x], name="difference")], ["z"]), ["r", "c"])
    return {"x": (3, "a"), "y": (3, "b")}, "product"


def fixed(g: Graph):
    """A dimension of known size meets one of unknown size."""
    x = g.input("x", ["n", "a"])
    sum = g.node("Add", [x, g.weight(4)], name="bias")
    g.output(*g.node("MatMul", [sum, g.weight(4, 6)], ["z"]), ["n", 6])
    return {"x": (2, "a")}, "bias"


def where(g: Graph):
    c, x, y = g.input("c", ["a", 1], T.BOOL), g.input("x", ["b", "k"]), g.input("y", ["k"])
    g.output(*g.node("Where", [c, x, y], ["z"], name="choice"), ["r", "k"])
    return {"c": ("a", 1), "x": ("b", 3), "y": (3,)}, "choice"


def three(g: Graph):
    x, y, w = g.input("x", ["a", 3]), g.input("y", ["b", 3]), g.input("w", [3])
    largest = g.node("Max", [x, y, w], name="largest")
    g.output(*g.node("Less", [largest, y], ["z"], name="less"), ["r", 3], T.BOOL)
    return {"x": ("a", 3), "y": ("b", 3), "w": (3,)}, "largest"


def matmul(g: Graph):
    x, y = g.input("x", ["a", 3, "s"]), g.input("y", ["b", "s", 4])
    g.output(*g.node("MatMul", [x, y], ["z"], name="product"), ["r", 3, 4])
    return {"x": ("a", 3, 5), "y": ("b", 5, 4)}, "product"


def gemm(g: Graph):
    x, c = g.input("x", ["a", 3]), g.input("bias", ["b", 4])
    g.output(*g.node("Gemm", [x, g.weight(3, 4), c], ["z"], name="product"), ["r", 4])
    return {"x": ("a", 3), "bias": ("b", 4)}, "product"


def einsum(g: Graph):
    x, y = g.input("x", ["a", "i", 3]), g.input("y", ["b", 3, 4])
    g.output(*g.node("Einsum", [x, y], ["z"], name="product", equation="...ij,...jk->...ik"), ["r", "i", 4])
    return {"x": ("a", 2, 3), "y": ("b", 3, 4)}, "product"


def expand(g: Graph):
    """To the shape of another input, which may be the smaller one."""
    x, y = g.input("x", ["a", 3]), g.input("y", ["b", 1])
    g.output(*g.node("Expand", [x, g.node("Shape", [y])], ["z"], name="repeat"), ["r", 3])
    return {"x": ("a", 3), "y": ("b", 1)}, "repeat"


def softmax(g: Graph):
    """Scores under a mask with symbols of its own, as a decoder without raised attention has them."""
    q, k, m = g.input("q", ["n", 2, "s", 4]), g.input("k", ["n", 2, "a", 4]), g.input("m", ["n", 1, "s", "b"])
    scores = g.node("MatMul", [q, g.node("Transpose", [k], perm=[0, 1, 3, 2])])
    weights = g.node("Softmax", [g.node("Add", [scores, m], name="masked")], axis=-1)
    g.output(*g.node("MatMul", [weights, k], ["z"]), ["n", 2, "s", 4])
    return {"q": (2, 2, 3, 4), "k": (2, 2, "a", 4), "m": (2, 1, 3, "b")}, "masked"


CASES = [add, columns, fixed, where, three, matmul, gemm, einsum, expand, softmax]


def feeds_of(g: Graph, shapes: dict, sizes: dict, random) -> dict:
    feeds = {}
    for value in g.inputs:
        shape = [sizes.get(d, d) for d in shapes[value.name]]
        array = random.standard_normal(shape).astype(np.float32)
        feeds[value.name] = array > 0 if value.type.tensor_type.elem_type == T.BOOL else array
    return feeds


def check(case, folder: Path, tp: int) -> list[str]:
    g = Graph()
    shapes, node = case(g)
    model = g.save(folder / f"{case.__name__}.onnx")
    program = programs.compile_model(model, folder / f"{case.__name__}-{tp}", tp)
    random = np.random.default_rng(7)
    symbols = {d for shape in shapes.values() for d in shape if isinstance(d, str)}
    fits = [{"a": 4}, {"a": 1}] if symbols == {"a"} else [{"a": 1, "b": 4}, {"a": 4, "b": 1}, {"a": 4, "b": 4}, {"a": 1, "b": 1}]
    if case in (gemm, softmax):  # only the bias, only the mask is repeated
        fits = [sizes for sizes in fits if sizes != {"a": 1, "b": 4}]
    errors = []
    for sizes in fits:
        feeds = feeds_of(g, shapes, sizes, random)
        difference, name = worst(onnxruntime_results(model, feeds), program_results(program, feeds))
        if not difference <= LIMIT:
            errors.append(f"{case.__name__} at {tp} with {sizes}: {name} is off by {difference:g}")
    wrong = {"a": 3, "b": 5}
    np.savez(folder / "wrong.npz", **feeds_of(g, shapes, wrong, random))
    done = programs.run("caat-run", "infer", program, f"--inputs={folder / 'wrong.npz'}", f"--outputs={folder / 'wrong-out.npz'}")
    if done.returncode != 1 or f"'{node}'" not in done.stderr:
        errors.append(f"{case.__name__} at {tp} with {wrong}: exit {done.returncode}, {done.stderr.strip()[:200]!r}")
    return errors


def main() -> int:
    errors, runs = [], 0
    with tempfile.TemporaryDirectory(prefix="caat-broadcasts-") as folder:
        for case in CASES:
            for tp in (1, 2) if case in (fixed, softmax) else (1,):
                runs += 1
                try:
                    errors += check(case, Path(folder), tp)
                except programs.Failed as failed:
                    errors.append(f"{case.__name__} at {tp}: {failed}")
    print(*errors, f"{runs - len(errors)} of {runs} programs are right at all sizes", sep="\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
