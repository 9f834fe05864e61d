#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What goes between the host and a GPU in a run, on the stand-in for the driver: inputs come in one upload, and a decoder that assumes something
of them is not waited for before the run is over, and fails then where that does not hold."""
import json
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

from double import DOUBLE, Operation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import programs  # noqa: E402

MODEL = programs.MODELS / "llama-gqa-genai"


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.program = programs.compile_model(MODEL, cls.folder / "program", 1, flags=["--target=cuda", "--host-kernels", "--dtype=bf16"])

    def run_program(self, command: str, *arguments, **environment):
        return programs.run("caat-run", command, self.program, "--quiet", *arguments,
                            environment={"CAAT_CUDA_DRIVER": str(DOUBLE), "CAAT_CUBLASLT": str(DOUBLE), "CAAT_DOUBLE_CODE": str(self.program / "code.so"),
                                         **environment})

    def test_late_check(self):
        arrays = dict(np.load(MODEL / "inputs_decode.npz"))
        arrays["attention_mask"][1, 0] = 0
        np.savez(self.folder / "uneven.npz", **arrays)
        done = self.run_program("infer", f"--inputs={self.folder / 'uneven.npz'}", f"--outputs={self.folder / 'out.npz'}")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("error: GroupQueryAttention: rows of different lengths (seqlens_k)", done.stderr)
        self.assertFalse((self.folder / "out.npz").exists())

    def test_inputs(self):
        def uploads(steps: int) -> int:
            log = self.folder / "operations.txt"
            done = self.run_program("bench", "--prefill=4", f"--decode={steps}", "--repeats=1", CAAT_DOUBLE_LOG=str(log))
            self.assertEqual(done.returncode, 0, done.stderr)
            return sum(Operation(line).name == "an upload" for line in log.read_text().splitlines())
        self.assertEqual(uploads(7) - uploads(4), 3)

    def test_graphs(self):
        """A step of so few launches is one graph, since the host waits for nothing in between."""
        done = self.run_program("bench", "--prefill=4", "--decode=8", "--repeats=1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["decode"]["graphs_per_step"], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
