#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes that no export saw: every model of test/models with other batches, lengths, caches and padding, against ONNX Runtime."""
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx

import programs
from graphs import onnxruntime_results, program_results

#: batch, new tokens, tokens in the cache, padding
SIZES = [(1, 1, 0, ""), (1, 16, 0, ""), (5, 33, 0, "left"), (2, 60, 0, "right"), (3, 1, 7, "left"), (1, 4, 19, "")]


def symbols(model: onnx.ModelProto) -> bool:
    return any(d.dim_param for i in model.graph.input for d in i.type.tensor_type.shape.dim)


def feeds(model: onnx.ModelProto, head_size, vocabulary, batch, new, past, padding, random) -> dict | None:
    """Arrays for the inputs by their names; None where the model has no cache and one is asked for."""
    result, total = {}, past + new
    mask = np.ones((batch, total), np.int64)
    for row in range(1, batch):  # the first row is full
        if padding == "left":
            mask[row, :row] = 0
        elif padding == "right":
            mask[row, total - row:] = 0
    cached = [i for i in model.graph.input if i.name.startswith("past")]
    if past and not cached:
        return None
    for value in model.graph.input:
        shape = value.type.tensor_type.shape.dim
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if value.name == "input_ids":
            result[value.name] = random.integers(0, vocabulary, (batch, new)).astype(kind)
        elif value.name == "attention_mask":
            result[value.name] = mask.astype(kind)
        elif value.name == "position_ids":
            result[value.name] = np.maximum(np.cumsum(mask, 1) - 1, 0)[:, past:].astype(kind)
        elif value.name.startswith("past"):
            size = shape[3].dim_value or head_size
            result[value.name] = random.standard_normal((batch, shape[1].dim_value, past, size)).astype(kind)
        else:
            return None
    return result


class Sizes(unittest.TestCase):
    def check_batches(self, path, model, stored):
        """Images and sound come in the sizes that the model was made for; how many of them is free."""
        batch, random = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param, np.random.default_rng(2)
        self.assertTrue(batch, "the first dimension of the first input is the batch")
        with tempfile.TemporaryDirectory() as folder:
            program = programs.compile_model(path, Path(folder) / "program", 2)
            for count in (1, 2, 5):
                given = {}
                for value in model.graph.input:
                    dims = value.type.tensor_type.shape.dim
                    shape = [count if d.dim_param == batch else n for d, n in zip(dims, stored[value.name].shape)]
                    given[value.name] = random.standard_normal(shape).astype(stored[value.name].dtype)
                difference, where = programs.worst_difference(given, onnxruntime_results(path, given), program_results(program, given))
                self.assertLess(difference, 1e-4, f"{count} at a time: {where}")

    def check(self, name):
        path = programs.MODELS / name / "model.onnx"
        model = onnx.load(path)
        if not symbols(model):
            self.skipTest("every size is fixed")
        random = np.random.default_rng(2)
        stored = programs.load(programs.cases(path.parent)[0][0])  # onnxruntime-genai gives the head size a name only
        head_size = next((x.shape[3] for name, x in stored.items() if name.startswith("past")), 0)
        if "input_ids" not in stored:
            return self.check_batches(path, model, stored)
        vocabulary = int(stored["input_ids"].max()) + 1
        ran = 0
        with tempfile.TemporaryDirectory() as folder:
            program = programs.compile_model(path, Path(folder) / "program", 2)
            for batch, new, past, padding in SIZES:
                if "genai" in name and (padding == "left" or past and batch > 1 and new > 1):
                    continue  # GroupQueryAttention knows lengths only
                given = feeds(model, head_size, vocabulary, batch, new, past, padding, random)
                if given is None or "genai" in name and past and padding:
                    continue
                want = onnxruntime_results(path, given)
                difference, where = programs.worst_difference(given, want, program_results(program, given))
                self.assertLess(difference, 1e-4, f"{batch} x {new} after {past}, padding {padding or 'none'}: {where}")
                ran += 1
        self.assertGreaterEqual(ran, 3)


for folder in sorted(p.parent for p in programs.MODELS.glob("*/model.onnx")):
    setattr(Sizes, f"test_{folder.name}", lambda self, name=folder.name: self.check(name))

if __name__ == "__main__":
    unittest.main()
