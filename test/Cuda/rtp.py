#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What Execution/rtp.py checks, with programs for GPUs on the stand-in for the driver: all ranks on one device, and with a device each over
NCCL's stand-in. Transfers must be able to run beside products: nothing may order them but what they wait for."""
import os
import subprocess
import sys
import unittest
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import programs  # noqa: E402
import rtp  # noqa: E402
from double import DOUBLE, Operation  # noqa: E402


class OneDevice(rtp.Rotation):
    flags = ["--target=cuda", "--host-kernels"]
    each_own = False  # device

    def environment(self, program: Path) -> dict:
        return {"CAAT_CUDA_DRIVER": str(DOUBLE), "CAAT_CUBLASLT": str(DOUBLE), "CAAT_NCCL": str(DOUBLE),
                "CAAT_DOUBLE_CODE": str(program / "code.so"), "CAAT_DOUBLE_DEVICES": "4"}

    def run_program(self, program: Path, command: str, *arguments, environment=None):
        ranks = len(list(program.glob("weights-*.safetensors")))
        devices = [f"--device={','.join(map(str, range(ranks)))}"] if self.each_own and self.is_gpu(program) else []
        return super().run_program(program, command, *arguments, *devices, environment=environment)

    def inputs(self, model: Path, ranks: int):
        """The CPU's tests have every case."""
        return list(super().inputs(model, ranks))[-2:]

    def test_out_of_place(self):
        for name in rtp.MODELS:
            self.check(name, 4 if name == rtp.MODELS[0] else 3)

    @staticmethod
    def is_gpu(program: Path) -> bool:
        return (program / "kernels.ptx").exists()

    def test_overlap(self):
        """Each transfer may go beside products, but for the table's at the start of a step; in place, none does."""
        inputs = rtp.batch_of(programs.load(programs.cases(programs.MODELS / "llama-gqa-genai")[0][0]), 7)
        log = self.folder / "operations.txt"
        for rotate in ("out-of-place", "in-place"):
            program = self.compile("llama-gqa-genai", 3, f"--rotate={rotate}")
            self.infer(program, inputs, environment={"CAAT_DOUBLE_LOG": str(log)})
            operations = [Operation(line) for line in log.read_text().splitlines()]
            products = [o for o in operations if o.name == "a product"]
            busy = {o.stream for o in products}
            transfers = [o for o in operations if o.stream not in busy]
            self.assertGreater(len(products), 30)
            if rotate == "in-place":
                self.assertEqual(transfers, [])
                continue
            self.assertGreater(len(transfers), 30)
            beside = [any(t.is_beside(p) for p in products) for t in transfers]
            self.assertLessEqual(beside.count(False), len(beside) // 6)  # one of six groups

    def test_forgotten_wait(self):
        """Each wait for an event is needed: without it, the stand-in finds two accesses that nothing orders."""
        inputs = rtp.batch_of(programs.load(programs.cases(programs.MODELS / "llama-gqa-genai")[0][0]), 4)
        program = self.compile("llama-gqa-genai", 2)
        np.savez(self.folder / "in.npz", **inputs)
        found = 0
        for wait in range(1, 25):
            done = self.run_program(program, "infer", f"--inputs={self.folder / 'in.npz'}",
                                    f"--outputs={self.folder / 'out.npz'}", "--timeout=5",
                                    environment={"CAAT_DOUBLE_FORGET_WAIT": str(wait)})
            found += "with nothing to order them" in done.stderr
        self.assertGreater(found, 4)


class EachOwnDevice(OneDevice):
    each_own = True
    test_other_models = test_fixed_batch = test_generation = test_wrong_direction = test_refusals = test_forgotten_wait = None

    def test_processes(self):
        """A process for each rank."""
        model = programs.MODELS / "llama-gqa-genai"
        inputs = rtp.batch_of(programs.load(programs.cases(model)[0][0]), 7)
        np.savez(self.folder / "in.npz", **inputs)
        for flag in ("--rotate=out-of-place", "--rotate=in-place"):
            program = self.compile(model.name, 3, flag)
            command = [sys.executable, Path(__file__).parent / "Inputs" / "launch.py", "3", "--", programs.BIN / "caat-run", "infer", program,
                       f"--inputs={self.folder / 'in.npz'}", f"--outputs={self.folder / 'out.npz'}", "--runs=2"]
            done = subprocess.run(command, env=os.environ | self.environment(program), capture_output=True, text=True, timeout=300)
            self.assertEqual(done.stdout.count("exit 0"), 3, done.stdout + done.stderr)
            difference = self.difference(inputs, rtp.Session(model).run(inputs), programs.load(self.folder / "out.npz"))
            self.assertLessEqual(difference, rtp.TOLERANCE)


if __name__ == "__main__":
    os.environ.setdefault("CAAT_TEST_TIMEOUT", "300")
    unittest.main()
