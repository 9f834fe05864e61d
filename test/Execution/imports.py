#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models with functions, subgraphs, old opsets and dimensions of every kind, compiled and run, against ONNX Runtime."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

import programs
from graphs import Graph, T, h, onnxruntime_results, program_results, worst

STRUCTURES = programs.ROOT / "test" / "Import" / "make_structures.py"


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Imports(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def structure(self, name) -> Path:
        subprocess.run([sys.executable, STRUCTURES, name, self.folder], check=True)
        return self.folder / f"{name}.onnx"

    def compile(self, model, *flags, tp=1) -> Path:
        return programs.compile_model(model, self.folder / f"program{len(list(self.folder.iterdir()))}", tp, flags=flags)

    def same(self, model, program, feeds, given=None):
        """`given`: the program's inputs, where some are fixed."""
        difference, where = worst(onnxruntime_results(model, feeds), program_results(program, given or feeds))
        self.assertLess(difference, 1e-4, where)

    def agrees(self, model, *feeds):
        program = self.compile(model)
        for feed in feeds:
            self.same(model, program, feed)

    def test_structures(self):
        self.agrees(self.structure("loop"), {"x0": normal(2, 4)})
        self.agrees(self.structure("loop-until"), {"x0": normal(4)})
        self.agrees(self.structure("scan"), {"start": normal(2), "x": normal(2, 3)})
        self.agrees(self.structure("choice-at-run-time"), {"x": normal(3, 4)}, {"x": normal(3, 4) - 9})

    def test_functions(self):
        """Computed here: ONNX Runtime wants all outputs of a function, onnx.reference all attributes."""
        x = normal(3, 4)
        got = program_results(self.compile(self.structure("functions")), {"x": x})
        leaky = lambda y: np.where(y < 0, 0.01 * y, y)
        np.testing.assert_allclose(got["a"], np.minimum(leaky(3 * x), 2).sum(1, keepdims=True), 1e-5)
        np.testing.assert_allclose(got["b"], leaky(5 * x), 1e-5)

    def test_branches(self):
        """ONNX Runtime refuses the name that stands inside and outside, so the sum is computed here."""
        program = self.compile(self.structure("branches"))
        x = normal(8, 16)
        got = program_results(program, {"x": x})
        np.testing.assert_allclose(got["a"], x + np.arange(128).reshape(8, 16), 1e-6)
        np.testing.assert_allclose(got["b"], -x)

    def test_long_context(self):
        self.agrees(self.structure("long-context"), {"ids": np.array([[1, 15, 3]])}, {"ids": np.array([[63, 2]])})

    def test_merged(self):
        model = self.structure("merged")
        for cached in (True, False):
            program = self.compile(model, f"--set=use_cache_branch={str(cached).lower()}")
            feeds = {"x": normal(3, 4), "past": normal(2, 4, seed=1)}
            self.same(model, program, feeds | {"use_cache_branch": np.array([cached])}, feeds)

    def test_refused_bindings(self):
        model = self.structure("merged")
        for flag, message in (("--set=cache=true", "no input of that name; there are 'x', 'past', 'use_cache_branch'"),
                              ("--set=use_cache_branch=maybe", "'maybe' is no value of type i1"),
                              ("--set=x=1", "the input has no fixed shape"),
                              ("--dim=rows=2", "no input has a dimension of that name; there are 'past', 'seq'"),
                              ("--dim=seq=3", "it follows from input 'use_cache_branch': give its value (--set")):
            done = programs.run("caat-compile", model, flag, "-o", self.folder / "refused")
            self.assertEqual(done.returncode, 1, flag)
            self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
            self.assertIn(message, done.stderr)

    def test_dimensions(self):
        """Expressions, a symbol that only an expression holds, dimensions without name or only of outputs."""
        g = Graph()
        x, mask = g.input("x", ["batch", "seq", 8]), g.input("mask", ["batch", "past + seq"])
        half, other = g.input("half", ["(count + 1) // 2", "2*width"]), g.input("other", [None, 4])
        g.node("MatMul", [x, g.weight(8, 6)], ["y"])
        g.node("Unsqueeze", [mask, g.constant(np.array([1]))], ["m"])
        g.node("Concat", [half, half], ["h"], axis=1)
        g.node("Neg", [other], ["o"])
        g.node("Flatten", [x], ["flat"])
        for name, dims in {"y": ["batch", "seq", 6], "m": ["batch", 1, "total"], "h": ["rows", "4*width"],
                           "o": [None, 4], "flat": ["batch", "seq8"]}.items():
            g.output(name, dims)
        g.input("count_of", ["count"])
        g.node("Identity", ["count_of"], ["c"])
        g.output("c", ["count"])
        model = g.save(self.folder / "model.onnx")
        program, fixed = self.compile(model), self.compile(model, "--dim=seq=3", "--dim=width=5")
        for batch, seq, past in ((1, 1, 0), (2, 3, 4), (5, 33, 0)):
            feeds = {"x": normal(batch, seq, 8), "mask": normal(batch, past + seq), "half": normal(4, 10), "other": normal(seq, 4),
                     "count_of": normal(7)}
            self.same(model, program, feeds)
            if seq == 3:
                self.same(model, fixed, feeds)
        feeds["mask"] = normal(2, 40)
        inputs = self.folder / "wrong.npz"
        np.savez(inputs, **feeds)
        done = programs.run("caat-run", "infer", program, f"--inputs={inputs}", f"--outputs={self.folder / 'o.npz'}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("dimension 'batch' is 2, but 5 by input 'x'", done.stderr)

    def test_opset_11(self):
        """A decoder layer as one wrote it by hand at opset 11: attributes that are inputs now, Softmax over the rest, no shapes between."""
        g = Graph(opset=11)
        x = g.input("x", ["batch", "seq", 16])
        bn = g.node("BatchNormalization", [g.node("Transpose", [x], perm=[0, 2, 1]), g.weight(16), g.weight(16), g.weight(16),
                                           g.constant(np.full(16, 2.0, np.float32))], epsilon=1e-3)
        n = g.node("Dropout", [g.node("Transpose", [bn], perm=[0, 2, 1])], ratio=0.5)
        q, k, v = g.node("Split", [g.node("MatMul", [n, g.weight(16, 48)])], 3, axis=2, split=[16, 16, 16])
        heads = g.constant(np.array([0, 0, 4, 4]))
        q, k, v = (g.node("Transpose", [g.node("Reshape", [a, heads])], perm=[0, 2, i, j]) for a, i, j in ((q, 1, 3), (k, 3, 1), (v, 1, 3)))
        scores = g.node("Mul", [g.node("MatMul", [q, k]), g.constant(np.float32(0.5))])
        o = g.node("MatMul", [g.node("Softmax", [scores], axis=3), v])
        o = g.node("Reshape", [g.node("Transpose", [o], perm=[0, 2, 1, 3]), g.constant(np.array([0, 0, 16]))])
        s = g.node("Add", [x, g.node("MatMul", [o, g.weight(16, 16)])])
        mean = g.node("ReduceMean", [s], axes=[-1])
        total = g.node("Squeeze", [g.node("ReduceSum", [g.node("Unsqueeze", [s], axes=[3])], axes=[3], keepdims=1)], axes=[3])
        most = g.node("ReduceMax", [total], axes=[1], keepdims=1)
        clipped = g.node("Clip", [g.node("Sub", [total, mean]), g.constant(np.float32(-1)), g.constant(np.float32(1))])
        padded = g.node("Pad", [clipped, g.constant(np.array([0, 1, 0, 0, 0, 0]))])
        all_of_it = g.node("Softmax", [g.node("Mul", [padded, most])])  # over two dimensions
        up = g.node("Relu", [g.node("MatMul", [all_of_it, g.weight(16, 32)])])
        g.node("LogSoftmax", [g.node("MatMul", [up, g.weight(32, 16)])], ["y"], axis=-1)
        g.output("y", ["batch", None, 16])
        model = g.save(self.folder / "model.onnx")
        for tp in (1, 2, 3):
            program = self.compile(model, tp=tp)
            for batch, seq in ((1, 1), (2, 5), (3, 17)):
                self.same(model, program, {"x": normal(batch, seq, 16)})

    def test_resampling(self):
        """Images of any size, resized by scales and to sizes of another input; transforms of any length."""
        g = Graph(opset=19)
        image, like = g.input("image", ["batch", 3, "height", "width"]), g.input("like", ["batch", 5, "rows", "columns"])
        size = lambda value, axis: g.node("Slice", [g.node("Shape", [value]), *(g.constant(np.array([i])) for i in axis)])
        wanted = g.node("Concat", [size(image, (0, 2)), size(like, (2, 4))], axis=0)
        for i, (mode, place, more) in enumerate([
                ("nearest", "half_pixel", {}), ("nearest", "asymmetric", {"nearest_mode": "floor"}), ("linear", "half_pixel", {}),
                ("linear", "align_corners", {}), ("cubic", "half_pixel", {}), ("cubic", "pytorch_half_pixel", {"cubic_coeff_a": -0.5}),
                ("cubic", "half_pixel", {"exclude_outside": 1})]):
            attributes = {"mode": mode, "coordinate_transformation_mode": place} | more
            g.node("Resize", [image, "", "", wanted], [f"to{i}"], **attributes)
            g.node("Resize", [image, "", g.constant(np.array([1, 1, 2, 0.5], np.float32))], [f"by{i}"], **attributes)
            g.output(f"to{i}", ["batch", 3, "rows", "columns"])
            g.output(f"by{i}", ["batch", 3, None, None])
        whole = g.node("Unsqueeze", [g.input("x", ["batch", "seq", 6]), g.constant(np.array([3]))])
        g.node("DFT", [g.node("DFT", [whole], axis=2)], ["spectrum"], axis=1)
        g.node("DFT", [whole], ["side"], axis=1, onesided=1)
        g.node("DFT", ["spectrum"], ["back"], axis=1, inverse=1)
        for name in ("spectrum", "side", "back"):
            g.output(name, ["batch", None, 6, 2])
        model = g.save(self.folder / "model.onnx")
        program = self.compile(model)
        for height, width, rows, columns, seq in ((4, 6, 9, 3, 7), (5, 8, 5, 16, 12), (1, 2, 3, 1, 1)):
            self.same(model, program, {"image": normal(2, 3, height, width), "like": normal(2, 5, rows, columns),
                                       "x": normal(2, seq, 6)})


if __name__ == "__main__":
    unittest.main()
