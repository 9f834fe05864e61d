#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small sums that are made by the kernel which reads them, on the stand-in for the driver: ranks with a device each, which reach each
other's memory, and GPU kernels run thread by thread. They have the bits of sums that are kernels of their own."""
import json
import os
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

from double import DOUBLE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Execution"))
import overlap  # noqa: E402
import programs  # noqa: E402

MODEL = programs.MODELS / "llama-gqa-genai"
FLAGS = ["--target=cuda", "--emulate", "--host-kernels"]
EMULATOR = DOUBLE.with_name("libCaatEmulator.so")
LAUNCH = Path(__file__).with_name("Inputs") / "launch.py"


def digest_of(manifest: str) -> bytes:
    """What code.so has of its manifest: FNV-1a."""
    digest = 0xcbf29ce484222325
    for byte in manifest.encode():
        digest = (digest ^ byte) * 0x100000001b3 % 2**64
    return digest.to_bytes(8, "little")


class Sums(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def compile(self, tp: int, name="full", flags=()) -> Path:
        return programs.compile_model(MODEL, self.folder / f"{name}-{tp}", tp, overlap.make_plans(tp)[name], [*FLAGS, *flags])

    def double(self, program: Path, **environment) -> dict[str, str]:
        settings = {"LD_PRELOAD": EMULATOR, "CAAT_DOUBLE_EMULATED": 1, "CAAT_DOUBLE_COUNT": 1, "CAAT_CUDA_DRIVER": DOUBLE, "CAAT_CUBLASLT": DOUBLE,
                    "CAAT_NCCL": DOUBLE, "CAAT_DOUBLE_DEVICES": 4, "CAAT_DOUBLE_LINKED": 4, "CAAT_DOUBLE_CODE": program / "code.so", **environment}
        return {name: str(value) for name, value in settings.items()}

    def infer(self, program: Path, case: str, **environment) -> tuple[dict, int, int]:
        """Outputs of the last of three runs, sums by kernels of their own, and by others."""
        ranks = len(list(program.glob("weights-*.safetensors")))
        outputs = self.folder / "out.npz"
        devices = [] if "CAAT_CUDA_LOCAL_PEERS" in environment else [f"--device={','.join(map(str, range(ranks)))}"]
        done = programs.run("caat-run", "infer", program, f"--inputs={MODEL / f'inputs_{case}.npz'}", f"--outputs={outputs}", "--runs=3",
                            "--quiet", "--timeout=20", *devices, environment=self.double(program, **environment))
        self.assertEqual(done.returncode, 0, done.stderr)
        words = done.stderr.split("CUDA double: ")[-1].split()  # 4 graphs ran, 30 sums over shared memory, 0 in kernels
        return programs.load(outputs), int(words[3]), int(words[8])

    def assert_same(self, a: dict, b: dict):
        for name in a:
            np.testing.assert_array_equal(a[name].view(np.uint8), b[name].view(np.uint8), err_msg=name)

    def test_bits(self):
        """Of every kind of plan: what a sum sends may be some channels, and its reader put them elsewhere."""
        for tp, name, case, flags in ((2, "full", "prefill", []), (2, "full", "decode", ["--overlap=off"]), (4, "full", "decode", []),
                                      (2, "deferred", "prefill", []), (4, "private", "decode", []), (2, "full", "decode", ["--dtype=bf16"])):
            with self.subTest(tp=tp, plan=name, flags=flags, case=case):
                program = self.compile(tp, name, flags)
                fused, own, in_kernels = self.infer(program, case)
                apart, all_own, none = self.infer(program, case, CAAT_CUDA_FUSE_SUMS=0)
                self.assert_same(fused, apart)
                self.assertEqual((own, in_kernels, none), (0, all_own, 0))
                self.assertGreaterEqual(in_kernels, 12 * tp)  # two a layer, three runs

    def test_forgotten_wait(self):
        """Blocks that do not wait for those of other ranks add what these had before, unless the others are always earlier."""
        program = self.compile(2)
        fused, _, _ = self.infer(program, "decode")
        wrong = (self.infer(program, "decode", CAAT_DOUBLE_FORGET_PEERS=1)[0] for _ in range(10))
        self.assertTrue(any(not np.array_equal(fused["logits"], other["logits"]) for other in wrong))

    def test_one_device(self):
        """Ranks that share a device do the same where they are asked to, for checks on a machine with one."""
        program = self.compile(2)
        fused, own, in_kernels = self.infer(program, "decode", CAAT_CUDA_LOCAL_PEERS=1)
        self.assertEqual(own, 0)
        self.assertGreaterEqual(in_kernels, 24)
        apart, own, in_kernels = self.infer(program, "decode", CAAT_CUDA_LOCAL_PEERS=1, CAAT_CUDA_FUSE_SUMS=0)
        self.assertGreaterEqual(own, 24)
        self.assertEqual(in_kernels, 0)
        self.assert_same(fused, apart)
        self.assert_same(fused, self.infer(program, "decode", CAAT_CUDA_LOCAL_PEERS=0)[0])

    def test_small_device(self):
        """A kernel with more blocks than the device has multiprocessors does not wait for other ranks."""
        program = self.compile(2)
        fused, own, in_kernels = self.infer(program, "prefill", CAAT_DOUBLE_PROCESSORS=1)
        self.assertEqual(in_kernels, 0)
        self.assertGreater(own, 0)
        self.assert_same(fused, self.infer(program, "prefill", CAAT_DOUBLE_LINKED=0)[0])

    def test_library(self):
        """Without shared memory NCCL makes the sums; messages of some size, two shots."""
        program = self.compile(2)
        want, _, _ = self.infer(program, "decode")
        for environment in ({"CAAT_DOUBLE_LINKED": 0}, {"CAAT_CUDA_PEERS": 0}, {"CAAT_CUDA_PEERS": 64}):
            got, own, in_kernels = self.infer(program, "decode", **environment)
            self.assertEqual((own, in_kernels), (0, 0))
            self.assert_same(got, want)

    def test_other_runtime(self):
        """Kernels that sum in another way than this runtime's are left alone."""
        program = self.compile(2)
        want, _, _ = self.infer(program, "decode")
        text = (program / "manifest.json").read_text()
        manifest = json.loads(text)
        manifest["gpu"]["sums"] += 1
        other, code = json.dumps(manifest), program / "code.so"
        (program / "manifest.json").write_text(other)
        code.write_bytes(code.read_bytes().replace(digest_of(text), digest_of(other)))
        got, own, in_kernels = self.infer(program, "decode")
        self.assertGreater(own, 0)
        self.assertEqual(in_kernels, 0)
        self.assert_same(got, want)

    def test_times(self):
        """A site's time is its kernel's, which the trace names."""
        program = self.compile(2)
        trace = self.folder / "trace.json"
        common = [program, "--prefill=4", "--decode=3", "--repeats=1", "--quiet", "--device=0,1"]
        done = programs.run("caat-run", "bench", *common, "--sites", f"--trace={trace}", environment=self.double(program))
        self.assertEqual(done.returncode, 0, done.stderr)
        row = next(line.split() for line in done.stdout.splitlines() if line.startswith("layers.0.mlp"))
        self.assertGreater(float(row[4]), 0)
        self.assertEqual(float(row[5]), 0)
        events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X" and e["name"] == "layers.0.mlp"]
        self.assertGreater(len(events), 0)
        for event in events:
            self.assertEqual(event["cat"], "all_reduce")
            self.assertRegex(event["args"]["group"], "_sum$")

    def processes(self, program: Path, *settings: str, command=(), **environment) -> list[str]:
        done = programs.subprocess.run(
            [sys.executable, LAUNCH, "2", *settings, "--", programs.BIN / "caat-run", *map(str, command)], capture_output=True, text=True,
            timeout=programs.TIMEOUT, env={**os.environ, **self.double(program, **environment)})
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()

    def test_processes(self):
        """Steps of a decoder as graphs; ranks that stop, or sum in another way."""
        program = self.compile(2)
        np.save(self.folder / "prompt.npy", np.arange(1, 6)[None])
        generate = ["generate", program, f"--tokens={self.folder / 'prompt.npy'}", "--max-new-tokens=12", "--quiet"]
        said = self.processes(program, command=generate)
        counts = [line for line in said if "graphs ran" in line]
        for line in counts:
            self.assertRegex(line, r"[1-9]\d* graphs ran, 0 sums over shared memory, [1-9]\d* in kernels")
        self.assertEqual(len(counts), 2)
        want = self.processes(program, command=generate, CAAT_CUDA_FUSE_SUMS=0)
        self.assertEqual(said[0], want[0])

        late = self.processes(program, "1:CAAT_TEST_STOP_RANK=1@layers.0.mlp", command=[*generate, "--timeout=1"])
        self.assertTrue(any("all_reduce 'layers.0.mlp'" in line and "waiting for rank 1" in line for line in late), late)
        self.assertEqual(sum("exit 1" in line for line in late), 2)

        other = self.processes(program, "1:CAAT_CUDA_FUSE_SUMS=0", command=[*generate, "--timeout=1"])
        self.assertEqual(sum("exit 1" in line for line in other), 2, other)


if __name__ == "__main__":
    os.environ.setdefault("CAAT_TEST_TIMEOUT", "300")
    unittest.main()
