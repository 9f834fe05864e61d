#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models in f16 and bf16: weights stay as they are in the files, sums have f32's error, arrays keep their declared types.

The reference is the same graph in f32 with the same rounded weights, run by ONNX Runtime.
"""
import json
import struct
import tempfile
import unittest
from pathlib import Path

import ml_dtypes
import numpy as np

import programs
from contrib import decoder_layers
from graphs import Graph, T, onnxruntime_results, program_results, worst

H, D, W, P, S = 6, 8, 48, 4, 5
BF16, F16, F32 = np.dtype(ml_dtypes.bfloat16), np.dtype(np.float16), np.dtype(np.float32)


class Rounded(Graph):
    """Floats rounded to `stored` and held as `dtype`."""

    def __init__(self, stored, dtype, **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.stored = stored

    def weight(self, *shape, scale=0.3, name=None):
        return self.constant((self.random.standard_normal(shape) * scale).astype(self.stored).astype(self.dtype), name)


def decoder(g: Graph):
    """Embedding, norms in f32 between Casts, attention with a cache, Gemm with a transposed weight, and a head."""
    ids = g.input("ids", ["batch", "seq"], T.INT64)
    number = {F16: T.FLOAT16, BF16: T.BFLOAT16, F32: T.FLOAT}[g.dtype]
    x = g.node("Gather", [g.weight(50, W), ids])

    def norm(x):
        wide = g.node("Cast", [x], to=T.FLOAT)
        scale = g.node("Cast", [g.weight(W)], to=T.FLOAT)
        square = g.node("ReduceMean", [g.node("Mul", [wide, wide]), g.constant(np.array([-1]))])
        deviation = g.node("Sqrt", [g.node("Add", [square, g.constant(np.float32(1e-5))])])
        return g.node("Cast", [g.node("Mul", [g.node("Div", [wide, deviation]), scale])], to=number)

    def heads(y):
        return g.node("Transpose", [g.node("Reshape", [y, g.constant(np.array([0, 0, H, D]))])], perm=[0, 2, 1, 3])

    n = norm(x)
    q, k, v = (heads(g.node("Add", [g.node("MatMul", [n, g.weight(W, W)]), g.weight(W)])) for _ in range(3))
    for name, new in (("key", k), ("value", v)):
        past = g.input(f"past.{name}", ["batch", H, "past", D])
        g.node("Concat", [past, new], [f"present.{name}"], axis=2)
        g.output(f"present.{name}", ["batch", H, "past + seq", D])
    keys = g.node("Transpose", ["present.key"], perm=[0, 1, 3, 2])
    scale = g.constant(np.array(D ** -0.5, np.float64).astype(g.dtype))
    mask = g.input("mask", ["batch", 1, "seq", "past + seq"])
    scores = g.node("Add", [g.node("Mul", [g.node("MatMul", [q, keys]), scale]), mask])
    o = g.node("MatMul", [g.node("Softmax", [scores], axis=-1), "present.value"])
    o = g.node("Reshape", [g.node("Transpose", [o], perm=[0, 2, 1, 3]), g.constant(np.array([0, 0, W]))])
    x = g.node("Add", [x, g.node("MatMul", [o, g.weight(W, W)])])
    flat = g.node("Reshape", [norm(x), g.constant(np.array([-1, W]))])
    up = g.node("Gemm", [flat, g.weight(96, W), g.weight(96)], transB=1)
    down = g.node("Gemm", [g.node("Mul", [up, g.node("Sigmoid", [up])]), g.weight(W, 96), g.weight(W)], transB=1)
    x = g.node("Add", [x, g.node("Reshape", [down, g.node("Shape", [x])])])
    g.node("MatMul", [norm(x), g.weight(W, 50)], ["logits"])
    g.output("logits", ["batch", "seq", 50])


def write_safetensors(path: Path, arrays: dict):
    names, header, blobs, at = {BF16: "BF16", F16: "F16", F32: "F32", np.dtype(np.int64): "I64"}, {}, [], 0
    for name, array in arrays.items():
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path: Path) -> dict:
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    types, result = {"BF16": BF16, "F16": F16, "F32": F32}, {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            result[name] = np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
    return result


class Halves(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def prepare(self, stored):
        """The model, its inputs, and what the twin in f32 says for them."""
        models = []
        for dtype in (stored, F32):
            g = Rounded(stored, dtype, opset=21)
            decoder(g)
            models.append(g.save(self.folder / f"{dtype}.onnx"))
        random = np.random.default_rng(1)
        visible = np.tril(np.ones((S, P + S)), P)
        feeds = {"ids": random.integers(0, 50, (2, S)),
                 "mask": np.broadcast_to(np.where(visible, 0, -1e4), (2, 1, S, P + S)).astype(stored),
                 "past.key": random.standard_normal((2, H, P, D)).astype(stored),
                 "past.value": random.standard_normal((2, H, P, D)).astype(stored)}
        wide = {name: x.astype(F32) if x.dtype == stored else x for name, x in feeds.items()}
        return models[0], feeds, onnxruntime_results(models[1], wide)

    def test_genai(self):
        """Layers of the genai builder: 4-bit weights with scales in f16, contrib operators in f16."""

        class Builder(Rounded):
            def constant(self, array, name=None):
                is_float = np.asarray(array).dtype == F32
                return super().constant(array.astype(self.stored).astype(self.dtype) if is_float else array, name)

        models = []
        for dtype in (F16, F32):
            g = Builder(F16, dtype, seed=3)
            shapes = decoder_layers(g)
            models.append(g.save(self.folder / f"{dtype}.onnx"))
        feeds = {name: g.random.standard_normal(x).astype(F16) if isinstance(x, tuple) else x for name, x in shapes.items()}
        wide = {name: x.astype(F32) if x.dtype == F16 else x for name, x in feeds.items()}
        want = onnxruntime_results(models[1], wide)
        for size in (1, 2, 3):
            program = programs.compile_model(models[0], self.folder / f"genai-{size}", size)
            difference, where = worst(want, program_results(program, feeds))
            self.assertLess(difference, 1e-3, f"N={size}: {where}")

    def check_storage(self, program, name):
        """Weights lie in their own type in the files; only vectors of norms and biases are widened there."""
        manifest = json.loads((program / "manifest.json").read_text())
        self.assertEqual({p["dtype"] for p in manifest["parameters"] if p["kind"] == "linear"}, {name})
        for array in manifest["outputs"] + manifest["caches"]:
            self.assertEqual(array["declared"], name)

    def test_f16(self):
        model, feeds, want = self.prepare(F16)
        for size in (1, 2, 3):
            program = programs.compile_model(model, self.folder / f"program-{size}", size)
            self.check_storage(program, "f16")
            got = program_results(program, feeds)
            for name, array in got.items():
                self.assertEqual(array.dtype, F16, name)
            difference, where = worst(want, got)  # rounded once, at the end: 2^-11
            self.assertLess(difference, 1e-3, f"N={size}: {where}")

    def test_f16_is_no_worse_than_onnxruntime(self):
        model, feeds, want = self.prepare(F16)
        program = programs.compile_model(model, self.folder / "program", 2)
        ours, _ = worst(want, program_results(program, feeds))
        theirs, _ = worst(want, onnxruntime_results(model, feeds))
        self.assertLessEqual(ours, theirs)

    def test_bf16(self):
        model, feeds, want = self.prepare(BF16)
        inputs, outputs = self.folder / "inputs.safetensors", self.folder / "outputs.safetensors"
        write_safetensors(inputs, feeds)
        for size in (1, 2, 3):
            program = programs.compile_model(model, self.folder / f"program-{size}", size)
            self.check_storage(program, "bf16")
            programs.must("caat-run", "infer", program, f"--inputs={inputs}", f"--outputs={outputs}")
            got = read_safetensors(outputs)
            for name, array in got.items():
                self.assertEqual(array.dtype, BF16, name)
            difference, where = worst(want, got)  # operands of products and results have 8 bits: 2^-9 each
            self.assertLess(difference, 3e-2, f"N={size}: {where}")

    def test_wrong_type(self):
        model, feeds, _ = self.prepare(F16)
        program = programs.compile_model(model, self.folder / "program", 1)
        inputs = self.folder / "inputs.npz"
        np.savez(inputs, **(feeds | {"mask": feeds["mask"].astype(F32)}))
        done = programs.run("caat-run", "infer", program, f"--inputs={inputs}", f"--outputs={self.folder / 'o.npz'}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("input 'mask' is f32, expected f16", done.stderr)


if __name__ == "__main__":
    unittest.main()
