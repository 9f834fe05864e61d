#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs with weights of few bits for GPUs, on the stand-in for the driver, against the CPU's of the same codes: few rows with the
codes, and all of them by way of floats, some rows of a weight at a time."""
import os
import sys
import tempfile
import unittest
from pathlib import Path
import numpy as np

from double import DOUBLE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import few_bits  # noqa: E402
import model as reference  # noqa: E402
import plans  # noqa: E402
import programs  # noqa: E402
from graphs import Graph  # noqa: E402

FLAGS = ["--target=cuda", "--host-kernels"]
WAYS = {"codes": {}, "floats": {"CAAT_CUDA_FEW_ROWS": "0"}, "some at a time": {"CAAT_CUDA_FEW_ROWS": "0", "CAAT_CUDA_UNPACKED": "1"}}


class FewBits(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def infer(self, program: Path, inputs: Path, variables: dict) -> dict:
        """Of the last of three runs, which graphs start."""
        outputs = self.folder / "out.npz"
        double = {"CAAT_CUDA_DRIVER": str(DOUBLE), "CAAT_CUBLASLT": str(DOUBLE), "CAAT_DOUBLE_CODE": str(program / "code.so")}
        done = programs.run("caat-run", "infer", program, f"--inputs={inputs}", f"--outputs={outputs}", "--runs=3", "--quiet",
                            environment=double | variables)
        self.assertEqual(done.returncode, 0, done.stderr)
        return programs.load(outputs)

    def compare(self, title, model, inputs, tp, flags=(), plan=None, tolerance=1e-5, **more):
        """Both programs of `model`, in every way; how many parameters are in blocks."""
        cpu = programs.compile_model(model, self.folder / f"{title}-{tp}-cpu", tp, plan, flags)
        gpu = programs.compile_model(model, self.folder / f"{title}-{tp}", tp, plan, [*flags, *FLAGS])
        want = programs.infer(cpu, inputs)
        for way, variables in WAYS.items():
            got = self.infer(gpu, inputs, variables | more)
            for name, y in want.items():
                self.assertLessEqual(np.abs(got[name] - y).max(), tolerance * max(1, np.abs(y).max()), f"{title}, N={tp}, {way}: {name}")
        return sum("blocks" in p for p in few_bits.parameters(gpu))

    def check(self, case):
        """Matrices that the model has in few bits."""
        g = Graph(seed=sum(map(ord, case)))
        feeds = few_bits.feeds_of(g, few_bits.CASES[case][0](g))
        model, inputs = g.save(self.folder / "model.onnx"), self.folder / "inputs.npz"
        np.savez(inputs, **feeds)
        for tp in (1, 2):
            self.assertGreater(self.compare(case, model, inputs, tp), 0)

    def test_plans(self):
        """Rounded matrices beside every kind of sum, some of them started before a product, over memory that the ranks share or not."""
        model, tp = programs.MODELS / "gpt2-op", 2
        loaded = reference.load(model / "model.onnx")
        inputs = programs.cases(model)[-1][0]
        lossy = plans.make_plans(self.folder, loaded.hidden, len(loaded.layers), tp)
        for name, plan in {"full": None, **lossy}.items():
            variables = {"CAAT_CUDA_BESIDE": "1", "CAAT_CUDA_LOCAL_PEERS": "1" if name == "full" else "0", "CAAT_CUDA_FUSE_SUMS": "0"}
            blocks = self.compare(name, model, inputs, tp, ["--weights=i4"], plan, **variables)
            self.assertGreater(blocks, 0)

    def test_types(self):
        """Products in 16 bits of the same codes: on the CPU their rows are rounded to bf16 too."""
        model = programs.MODELS / "gpt2-op"
        for kind in ("i4", "i8"):
            for inputs, _ in programs.cases(model)[:2]:
                self.compare(f"{kind}-{inputs.stem}", model, inputs, 1, [f"--weights={kind}", "--dtype=bf16"], tolerance=0.1)


for name in few_bits.CASES:
    setattr(FewBits, f"test_{name}", lambda self, name=name: self.check(name))

if __name__ == "__main__":
    os.environ.setdefault("CAAT_TEST_TIMEOUT", "300")
    unittest.main()
