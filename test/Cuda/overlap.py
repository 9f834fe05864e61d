#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sums beside products on GPUs, on the stand-in for the driver, cuBLASLt and NCCL: ranks that share a device and ranks with one each,
against the CPU's program. The stand-in's clocks tell what may go on at once, and that nothing does which must not."""
import os
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

from double import DOUBLE, Operation

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import overlap  # noqa: E402
import programs  # noqa: E402

MODEL = programs.MODELS / "llama-gqa-genai"
FLAGS = ["--target=cuda", "--host-kernels"]
ROWS = 1200  # more than a part has


class Sums(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.arrays, _ = overlap.many_rows(*(programs.load(path) for path in programs.cases(MODEL)[0]), rows=ROWS)
        np.savez(self.folder / "in.npz", **self.arrays)

    def run_program(self, program: Path, each_own: bool, flags=(), **environment):
        ranks = len(list(program.glob("weights-*.safetensors")))
        devices = [f"--device={','.join(map(str, range(ranks)))}"] if each_own else []
        double = {"CAAT_CUDA_DRIVER": DOUBLE, "CAAT_CUBLASLT": DOUBLE, "CAAT_NCCL": DOUBLE, "CAAT_DOUBLE_CODE": program / "code.so",
                  "CAAT_DOUBLE_DEVICES": 4, "CAAT_CUDA_BESIDE": 0, **environment}
        return programs.run("caat-run", "infer", program, f"--inputs={self.folder / 'in.npz'}", f"--outputs={self.folder / 'out.npz'}",
                            "--quiet", "--timeout=10", *devices, *flags, environment={name: str(value) for name, value in double.items()})

    def test_plans(self):
        """Numbers of every kind of plan; and sums are beside products, in both communicators."""
        for tp, name in ((2, "full"), (2, "deferred"), (3, "private")):
            plan = overlap.make_plans(tp)[name]
            cpu = programs.compile_model(MODEL, self.folder / f"{name}-cpu", tp, plan, ["--overlap=off"])
            want = programs.infer(cpu, self.folder / "in.npz")
            gpu = programs.compile_model(MODEL, self.folder / name, tp, plan, FLAGS)
            for each_own in (False, True):
                with self.subTest(plan=name, tp=tp, each_own=each_own):
                    log = self.folder / "operations.txt"
                    done = self.run_program(gpu, each_own, CAAT_DOUBLE_LOG=log)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    difference, where = programs.worst_difference(self.arrays, want, programs.load(self.folder / "out.npz"))
                    self.assertLessEqual(difference, 1e-4, where)
                    operations = [Operation(line) for line in log.read_text().splitlines()]
                    products = [o for o in operations if o.name == "a product"]
                    sums = [o for o in operations if o.stream not in {p.stream for p in products}]
                    self.assertGreater(len(sums), 3)
                    beside = [any(s.is_beside(p) for p in products) for s in sums]
                    # Nothing follows the last part of a product.
                    self.assertGreaterEqual(2 * beside.count(True), len(beside))

    def test_halves(self):
        """Two halves that take turns: the same numbers, and nearly every sum is beside products of the other half."""
        for tp, name in ((2, "full"), (2, "deferred"), (3, "private"), (2, "rounded")):
            plan = overlap.make_plans(tp)[name]
            gpu = programs.compile_model(MODEL, self.folder / f"{name}-halves", tp, plan, FLAGS)
            for each_own in (False, True):
                with self.subTest(plan=name, tp=tp, each_own=each_own):
                    log = self.folder / "operations.txt"
                    results = {}
                    for mode in ("off", "on"):
                        done = self.run_program(gpu, each_own, [f"--halves={mode}"], CAAT_DOUBLE_LOG=log, CAAT_CUDA_BESIDE=1 << 40)
                        self.assertEqual(done.returncode, 0, done.stderr)
                        results[mode] = programs.load(self.folder / "out.npz")
                    difference, where = programs.worst_difference(self.arrays, results["off"], results["on"])
                    self.assertLessEqual(difference, 0.05 if name == "rounded" else 1e-4, where)
                    operations = [Operation(line) for line in log.read_text().splitlines()]
                    products = [o for o in operations if o.name == "a product"]
                    sums = [o for o in operations if o.stream not in {p.stream for p in products}]
                    beside = [any(s.is_beside(p) for p in products) for s in sums]
                    self.assertGreaterEqual(beside.count(True), 0.75 * len(beside))
                    if name != "rounded":
                        self.assertGreater(len(sums), 6)

    def test_forgotten_wait(self):
        """Each wait for an event is needed: without it, the stand-in finds two accesses that nothing orders."""
        gpu = programs.compile_model(MODEL, self.folder / "full", 2, overlap.make_plans(2)["full"], FLAGS)
        found = 0
        for wait in range(1, 9):
            found += "with nothing to order them" in self.run_program(gpu, False, CAAT_DOUBLE_FORGET_WAIT=wait).stderr
        self.assertGreater(found, 2)


if __name__ == "__main__":
    os.environ.setdefault("CAAT_TEST_TIMEOUT", "300")
    unittest.main()
