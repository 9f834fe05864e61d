#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights in blocks of few bits: those of the model against the same program with floats and ONNX Runtime's numbers, and those
that are rounded against NumPy with what the files hold; for 1, 2 and 3 ranks."""
import tempfile
import unittest
from pathlib import Path

import numpy as np

import programs
from block_rows import parameters, tensors, values
from contrib import decoder_layers, quantized
from graphs import Graph, h, T, onnxruntime_results, program_results

SIZES = (1, 2, 3)
K, N = 256, 384  # N divided by 2 and 3: 192 and 128


def feeds_of(g, shapes):
    return {name: (g.random.standard_normal(x).astype(np.float32) if isinstance(x, tuple) else x) for name, x in shapes.items()}


def columns(g: Graph):
    """8 bits with a scale for each column, with one for the matrix, and 4 bits in blocks along K as ONNX has them."""
    x = g.input("x", ["rows", K])
    eight = g.constant(g.random.integers(-100, 100, (K, N)).astype(np.int8))
    up = g.node("DequantizeLinear", [eight, g.constant(g.random.uniform(0.001, 0.003, N).astype(np.float32))], axis=1)
    single = g.constant(g.random.integers(0, 256, (N, N)).astype(np.uint8))
    zero = g.constant(np.array(131, np.uint8))
    middle = g.node("DequantizeLinear", [single, g.constant(np.array(0.0005, np.float32)), zero])
    g.initializers.append(h.make_tensor("four", T.INT4, (N, K), g.random.integers(-8, 8, N * K)))
    down = g.node("DequantizeLinear", ["four", g.constant(g.random.uniform(0.005, 0.02, (N // 64, K)).astype(np.float32))],
                  axis=0, block_size=64)
    hidden = g.node("Relu", [g.node("MatMul", [x, up])])
    hidden = g.node("Relu", [g.node("MatMul", [hidden, middle])])
    g.node("MatMul", [hidden, down], ["y"])
    g.output("y", ["rows", K])
    return {"x": (7, K)}


def halves(g: Graph):
    return quantized(g, block=32, zero=None, k=K, n=N)


# What the model has, and the form of one of its matrices.
CASES = {
    "middle_16": (lambda g: quantized(g, block=16, zero=None, k=K, n=N), (4, 16, "middle")),
    "middle_32": (halves, (4, 32, "middle")),
    "middle_128": (lambda g: quantized(g, block=128, zero=None, k=K, n=N), (4, 128, "middle")),
    "zeros_32": (lambda g: quantized(g, block=32, k=K, n=N), (4, 32, "zeros")),
    "zeros_128": (lambda g: quantized(g, block=128, k=K, n=N, bias=False), (4, 128, "zeros")),
    "minimum_32": (lambda g: quantized(g, block=32, zero="float", k=K, n=N), (4, 32, "minimum")),
    "minimum_128": (lambda g: quantized(g, block=128, zero="float", k=K, n=N), (4, 128, "minimum")),
    "two_bits": (lambda g: quantized(g, bits=2, block=64, k=K, n=N), (4, 64, "zeros")),
    "two_bits_middle": (lambda g: quantized(g, bits=2, block=64, zero=None, k=K, n=N), (4, 64, "middle")),
    "eight_bits_32": (lambda g: quantized(g, bits=8, block=32, k=K, n=N), (8, 32, "zeros")),
    "eight_bits_128": (lambda g: quantized(g, bits=8, block=128, zero=None, k=K, n=N), (8, 128, "middle")),
    "columns": (columns, (4, 64, "middle")),
    "decoder_layers": (decoder_layers, (4, 16, "middle")),
}


class FewBits(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def check(self, case):
        make, form = CASES[case]
        g = Graph(seed=sum(map(ord, case)))
        feeds = feeds_of(g, make(g))
        model = g.save(self.folder / "model.onnx")
        reference = onnxruntime_results(model, feeds)
        for size in SIZES:
            kept = programs.compile_model(model, self.folder / f"kept-{size}", size)
            floats = programs.compile_model(model, self.folder / f"floats-{size}", size, flags=["--weights=float"])
            forms = [p.get("blocks") for p in parameters(kept)]
            self.assertIn(form, [(f["bits"], f["size"], f["offset"]) for f in forms if f])
            # The vocabulary is of floats, and a third of 256 columns has no blocks.
            self.assertLessEqual(forms.count(None), 1 if case in ("decoder_layers", "columns") else 0)
            self.assertTrue(all("blocks" not in p for p in parameters(floats)))
            got, want = program_results(kept, feeds), program_results(floats, feeds)
            for name, y in want.items():
                self.assertLess(np.abs(got[name] - y).max(), 1e-5 * max(1, np.abs(y).max()), f"{case}, N={size}: {name}")
                self.assertLess(np.abs(got[name] - reference[name]).max(), 2e-5 * max(1, np.abs(y).max()), f"{case}, N={size}: {name}")

    def test_ranks_in_the_middle_of_blocks(self):
        """Two ranks have 192 rows each of a matrix in blocks of 128: one and a half."""
        g = Graph(seed=1)
        quantized(g, block=128, zero=None, k=K, n=N)
        program = programs.compile_model(g.save(self.folder / "model.onnx"), self.folder / "program", 2)
        self.assertEqual([p["blocks"]["size"] for p in parameters(program)], [128, 64])

    def mlp(self, dtype=np.float32):
        g = Graph(seed=3, dtype=dtype)
        x = g.input("x", ["rows", K])
        hidden = g.node("Relu", [g.node("MatMul", [x, g.weight(K, N, scale=0.05, name="mlp.up")])])
        g.node("MatMul", [hidden, g.weight(N, K, scale=0.05, name="mlp.down")], ["y"])
        g.output("y", ["rows", K])
        return g, g.save(self.folder / "mlp.onnx"), {"x": g.random.standard_normal((5, K)).astype(dtype)}

    def matrices(self, program, size):
        """For each rank its two matrices [N, K]."""
        specs = parameters(program)
        self.assertEqual(len(specs), 2)
        files = [tensors(program / f"weights-{rank}.safetensors") for rank in range(size)]
        return specs, [[values(file[p["name"]], p) for p in specs] for file in files]

    def test_rounded(self):
        """What the files hold is near the model's matrices, and is what is computed with."""
        g, model, feeds = self.mlp()
        up, down = (np.frombuffer(i.raw_data, np.float32).reshape(tuple(i.dims)) for i in g.initializers)
        for flags, bits, error in ((["--weights=i4"], (4, 4), 0.09), (["--weights=i8"], (8, 8), 0.006),
                                   (["--weights=i4", "--weights=*down=i8"], (4, 8), 0.09),
                                   (["--weights=*up=i8", "--weights=*down=i4"], (8, 4), 0.09)):
            for size in SIZES:
                program = programs.compile_model(model, self.folder / f"{'-'.join(map(str, bits))}-{size}", size, flags=flags)
                specs, ranks = self.matrices(program, size)
                self.assertEqual(tuple(p["blocks"]["bits"] for p in specs), bits)
                self.assertTrue(all(p["blocks"]["size"] == 32 and p["blocks"]["scales"] == "f16" for p in specs))
                whole = [np.concatenate([r[0] for r in ranks], 0), np.concatenate([r[1] for r in ranks], 1)]
                for got, want, b in zip(whole, (up.T, down.T), bits):
                    off = np.sqrt(((got - want)**2).mean() / (want**2).mean())
                    self.assertLess(off, error if b == 4 else 0.006)
                want = sum(np.maximum(feeds["x"] @ a.T, 0) @ b.T for a, b in ranks)
                got = program_results(program, feeds)["y"]
                self.assertLess(np.abs(got - want).max(), 1e-4 * np.abs(want).max(), f"{flags}, N={size}")

    def test_types(self):
        """bf16 products are of the same codes."""
        _, model, feeds = self.mlp()
        exact = programs.compile_model(model, self.folder / "f32", 2, flags=["--weights=i4"])
        brain = programs.compile_model(model, self.folder / "bf16", 2, flags=["--weights=i4", "--dtype=bf16"])
        for rank in range(2):
            a, b = (tensors(p / f"weights-{rank}.safetensors") for p in (exact, brain))
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
        self.assertEqual({p["dtype"] for p in parameters(brain)}, {"bf16"})
        want, got = (program_results(p, feeds)["y"] for p in (exact, brain))
        self.assertLess(np.abs(got - want).max(), 0.02 * np.abs(want).max())

    def test_travelling(self):
        """What travels round a ring stays float, whatever rules say; where the data are absent, forms are told all the same."""
        g = Graph(seed=6)
        feeds = feeds_of(g, halves(g))
        model = g.save(self.folder / "model.onnx")
        want = onnxruntime_results(model, feeds)["y"]
        program = programs.compile_model(model, self.folder / "rtp", 2, flags=["--strategy=rtp", "--weights=i4"])
        self.assertTrue(all("blocks" not in p for p in parameters(program) if "rotation" in p))
        self.assertLess(np.abs(program_results(program, feeds)["y"] - want).max(), 1e-4 * np.abs(want).max())
        program = programs.compile_model(model, self.folder / "none", 2, flags=["--no-weights"])
        self.assertEqual([p["blocks"]["size"] for p in parameters(program)], [32, 32])

    def test_halves(self):
        """A model in f16: its scales stay f16, and its floats are rounded from what the file has."""
        g, model, feeds = self.mlp(np.float16)
        specs, ranks = self.matrices(programs.compile_model(model, self.folder / "i8", 2, flags=["--weights=i8"]), 2)
        self.assertEqual({p["dtype"] for p in specs}, {"f32"})
        up = np.frombuffer(g.initializers[0].raw_data, np.float16).reshape(K, N).T.astype(np.float32)
        self.assertLess(np.abs(np.concatenate([r[0] for r in ranks]) - up).max(), np.abs(up).max() / 250)
        g = Graph(seed=4, dtype=np.float16)
        x = g.input("x", ["rows", K])
        packed = g.constant(g.random.integers(0, 256, (N, K // 32, 16), dtype=np.uint8))
        scale = g.constant(g.random.uniform(0.005, 0.02, (N, K // 32)).astype(np.float16))
        g.contrib("MatMulNBits", [x, packed, scale], ["y"], N=N, K=K, bits=4, block_size=32)
        g.output("y", ["rows", N])
        model, feeds = g.save(self.folder / "halves.onnx"), {"x": g.random.standard_normal((5, K)).astype(np.float16)}
        want = onnxruntime_results(model, feeds)["y"].astype(np.float32)
        for size in SIZES:
            program = programs.compile_model(model, self.folder / f"halves-{size}", size)
            self.assertEqual([p["blocks"]["scales"] for p in parameters(program)], ["f16"])
            self.assertLess(np.abs(program_results(program, feeds)["y"].astype(np.float32) - want).max(), 4e-3 * np.abs(want).max())

    def test_what_has_no_form(self):
        g, _, _ = self.mlp()
        for bad, text in ((np.nan, "not finite numbers"), (1e6, "too large for scales of 16 bits")):
            w = np.frombuffer(g.initializers[1].raw_data, np.float32).reshape(N, K).copy()
            w[5, 7] = bad
            g.initializers[1].raw_data = w.tobytes()
            model = g.save(self.folder / "bad.onnx")
            done = programs.run("caat-compile", model, "--weights=i4", "-o", self.folder / "bad", "--quiet")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"has elements that are {text}", done.stderr)
            self.assertIn("weight 'mlp.down", done.stderr)
            self.assertFalse((self.folder / "bad" / "manifest.json").exists())
            programs.compile_model(model, self.folder / "left", 1, flags=["--weights=i4", "--weights=mlp.down=float"])


for name in CASES:
    setattr(FewBits, f"test_{name}", lambda self, name=name: self.check(name))

if __name__ == "__main__":
    unittest.main()
