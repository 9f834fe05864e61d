#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`caat-run generate` and `score` against the simulation, which runs the whole sequence for every token, without a cache."""
import json
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

import programs
import model as reference
from evaluate import losses
from simulate import Simulator

NEW_TOKENS = 12


def whole(loaded, ids: np.ndarray) -> dict:
    """Inputs of a pass over `ids` [S] with an empty cache."""
    inputs = {"input_ids": ids[None], "attention_mask": np.ones((1, len(ids)), np.int64)}
    if "position_ids" in loaded.inputs:
        inputs["position_ids"] = np.arange(len(ids))[None]
    empty = np.zeros((1, loaded.kv_heads, 0, loaded.head_dim), np.float32)
    return inputs | {name: empty for name in loaded.inputs if name.startswith("past_key_values")}


class Generation(unittest.TestCase):
    def check(self, name: str, tp: int, entry: dict):
        model = programs.MODELS / name
        loaded = reference.load(model / "model.onnx")
        plan = {"version": 1, "tp": tp, "default": entry}
        simulator = Simulator(loaded, tp)
        random = np.random.default_rng(tp)
        prompt = random.integers(0, loaded.head.weight.shape[1], 5)
        want = prompt
        for _ in range(NEW_TOKENS):
            logits = simulator.run(whole(loaded, want), plan)["logits"][0, -1]
            want = np.append(want, logits.argmax())
        text = random.integers(0, loaded.head.weight.shape[1], (3, 16))
        loss = np.mean([losses(simulator.run(whole(loaded, row), plan)["logits"], row[None]) for row in text])
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            program = programs.compile_model(model, folder / "program", tp, plan, ["--max-length=32"])
            np.save(folder / "prompt.npy", prompt)
            programs.must("caat-run", "generate", program, f"--tokens={folder / 'prompt.npy'}",
                          f"--max-new-tokens={NEW_TOKENS}", "-o", folder / "out.npy")
            got = np.load(folder / "out.npy").reshape(-1)
            self.assertEqual(got[-NEW_TOKENS:].tolist(), want[len(prompt):].tolist())
            np.save(folder / "text.npy", text.reshape(-1))
            score = json.loads(programs.must("caat-run", "score", program, f"--tokens={folder / 'text.npy'}",
                                             "--length=16"))
            self.assertEqual(score["tokens"], 45)
            self.assertAlmostEqual(score["nll"], loss, delta=1e-4)
            self.assertAlmostEqual(score["perplexity"], np.exp(score["nll"]), delta=1e-3 * np.exp(loss))

    def test_full(self):
        for name in ("llama-gqa-genai", "gpt2-op"):
            for tp in (1, 3):
                with self.subTest(model=name, tp=tp):
                    self.check(name, tp, {"sync": "full"})

    def test_deferred(self):
        for name in ("llama-gqa-genai", "gpt2-op"):
            with self.subTest(model=name):
                self.check(name, 2, {"sync": "partial", "shared": 0.4, "rest": "deferred"})

    def test_private(self):
        self.check("llama-gqa-genai", 4, {"sync": "partial", "shared": 0.6, "rest": "private", "scale": "sqrt"})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
