#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models that are small and ask for much: no memory, disk or time beyond the model's own size. And disks that are full,
and compilations that are ended."""
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import programs

MLP = programs.MODELS / "mlp-block" / "model.onnx"
LIMIT = 20 * (1 << 30)  # of address space, in KiB for ulimit below
SECONDS = 60


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs, [output], "the_" + kind, **attributes)


def array(name, values, dtype=np.int64):
    return numpy_helper.from_array(np.array(values, dtype), name)


def value(name, shape, type=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, type, shape)


class Forged(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.out = self.folder / "out"

    def save(self, nodes, initializers=(), shape=("a", 4), type=TensorProto.FLOAT, output="y"):
        graph = helper.make_graph(nodes, "g", [value("x", shape, type)], [value(output, None, type)], list(initializers))
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
        path = self.folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    def compile(self, path):
        """Compiles within limits on files (1 GiB), address space and time; returns the exit status and the errors."""
        start = time.monotonic()
        command = f'ulimit -f 2097152 -v {LIMIT >> 10}; exec "$0" "$@"'
        if "asan" in str(programs.BIN):
            command = 'ulimit -f 2097152; exec "$0" "$@"'  # shadow memory takes address space
        done = subprocess.run(["sh", "-c", command, programs.BIN / "caat-compile", path, "--tp=2", "-o", self.out],
                              capture_output=True, text=True, timeout=SECONDS, errors="replace")
        self.assertLess(time.monotonic() - start, SECONDS)
        self.assertIn(done.returncode, (0, 1), done.stderr[-800:])
        return done.returncode, done.stderr

    def refused(self, path, *names):
        status, errors = self.compile(path)
        self.assertEqual(status, 1, errors)
        self.assertFalse((self.out / "manifest.json").exists())
        for name in names:
            self.assertIn(name, errors)

    def test_weights_of_a_forged_size(self):
        one, huge = array("one", [[1]], np.float32), array("shape", [1 << 20, 1 << 20])
        far = array("pads", [0, 0, 1 << 40, 1 << 20])
        cases = {"Expand": ["one", "shape"], "Tile": ["one", "shape"], "Pad": ["one", "pads"], "ConstantOfShape": ["shape"]}
        for kind, inputs in cases.items():
            for use in ("Add", "MatMul"):
                with self.subTest(kind, use=use):
                    path = self.save([node(kind, inputs, "c"), node(use, ["x", "c"], "y")], [one, huge, far],
                                     shape=[1, 1] if use == "Add" else ["a", 1 << 20])
                    self.compile(path)
        self.refused(self.save([node("Expand", ["one", "shape"], "c"), node("MatMul", ["x", "c"], "y")], [one, huge],
                               shape=["a", 1 << 20]), "MiB", "Expand")

    def test_ranges_of_a_forged_size(self):
        self.compile(self.save([node("Range", ["from", "to", "step"], "r"), node("Add", ["x", "r"], "y")],
                               [array("from", 0), array("to", 1 << 40), array("step", 1)], [1], TensorProto.INT64))
        self.compile(self.save([node("OneHot", ["i", "depth", "values"], "h"), node("Add", ["x", "h"], "y")],
                               [array("i", [0] * 4), array("depth", 1 << 50), array("values", [0, 1], np.float32)], [1, 1]))

    def test_sizes_that_grow(self):
        for kind in ("Add", "Mul"):
            with self.subTest(kind):
                chain = [node(kind, [f"q{i}", f"q{i}"], f"q{i + 1}") for i in range(200)]
                self.compile(self.save([node("Shape", ["x"], "q0"), *chain, node("Expand", ["x", "q200"], "y")]))

    def test_sizes_that_are_no_numbers(self):
        """Of 2^64 elements and more, as the model says and as its inputs do."""
        self.refused(self.save([node("Expand", ["x", "shape"], "wide"), node("Softmax", ["wide"], "soft"),
                                node("ReduceMax", ["soft", "axes"], "y", keepdims=0)],
                               [array("shape", [1 << 32, 1 << 32]), array("axes", [0, 1])], (1, 1)), "the_Expand", "is too large")
        # x[n] becomes [n, n, n, n].
        program = self.save([node("Unsqueeze", ["x", "behind"], "column"), node("Mul", ["column", "x"], "square"),
                             node("Unsqueeze", ["square", "two"], "tall"), node("Mul", ["tall", "square"], "all"),
                             node("CumSum", ["all", "axis"], "sums"), node("ReduceMax", ["sums", "three"], "y", keepdims=0)],
                            [array("behind", [1]), array("two", [2, 3]), array("axis", 0), array("three", [1, 2, 3])], ("n",))
        returncode, errors = self.compile(program)
        self.assertEqual(returncode, 0, errors)
        for size, fits in ((5, True), (1 << 16, False)):
            np.savez(self.folder / "in.npz", x=np.ones(size, np.float32))
            done = programs.run("caat-run", "infer", self.out, f"--inputs={self.folder / 'in.npz'}", f"--outputs={self.folder / 'y.npz'}")
            self.assertEqual(done.returncode, 0 if fits else 1, done.stderr)
            self.assertEqual("arrays of this run are too large" in done.stderr, not fits, done.stderr)

    def test_a_list_that_doubles(self):
        for type, dtype in ((TensorProto.FLOAT, np.float32), (TensorProto.INT64, np.int64)):
            chain = [node("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", axis=0) for i in range(60)]
            self.compile(self.save([*chain, node("Add", ["x", "c60"], "y")], [array("c0", [1, 2], dtype)], [1], type))

    def test_long_chains(self):
        """Time that grows with the square of a chain would be far beyond the limit."""
        self.compile(self.save([node("Neg", [f"v{i}" if i else "x"], f"v{i + 1}") for i in range(5000)], output="v5000"))
        self.compile(self.save([node("Concat", ["x"] * 1000, "y", axis=0)]))


class FullDisk(unittest.TestCase):
    def test_no_program_is_left(self):
        """On a disk with room for some of the weights, or for these but no code; an earlier program's manifest is there."""
        for size in (8, 64):
            with self.subTest(size=size):
                self.compile_on_disk(size)

    def compile_on_disk(self, size):
        with tempfile.TemporaryDirectory() as folder:
            script = (f'mount -t tmpfs -o size={size}k tmpfs {folder} || exit 77; echo "{{}}" >{folder}/manifest.json; '
                      f'{programs.BIN}/caat-compile {MLP} --tp=2 -o {folder}; status=$?; ls {folder} >&2; exit $status')
            done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=SECONDS)
            if done.returncode in (77, 126, 127) or "unshare" in done.stderr:
                self.skipTest("no mounts here: " + done.stderr.strip()[-100:])
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("No space left on device", done.stderr)
            self.assertNotIn("Stack dump", done.stderr)
            self.assertNotIn("manifest.json", done.stderr)
            self.assertNotIn(".tmp", done.stderr.splitlines()[-1])


class Interrupted(unittest.TestCase):
    """A compilation that is ended while it writes weights, over an earlier program."""

    SIZE = 4096  # each of the weights has 64 MiB, in a sparse file

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.out = self.folder / "out"
        weights = [TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[self.SIZE] * 2,
                               data_location=TensorProto.EXTERNAL) for i in range(3)]
        for i, weight in enumerate(weights):
            length = 4 * self.SIZE**2
            for key, text in (("location", "zeros.bin"), ("offset", i * length), ("length", length)):
                weight.external_data.add(key=key, value=str(text))
        with open(self.folder / "zeros.bin", "wb") as file:
            file.truncate(len(weights) * length)
        nodes = [helper.make_node("MatMul", [f"x{i}" if i else "x", f"w{i}"], [f"x{i + 1}"]) for i in range(len(weights))]
        graph = helper.make_graph(nodes, "g", [value("x", ("n", self.SIZE))], [value("x3", ("n", self.SIZE))], weights)
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
        (self.folder / "model.onnx").write_bytes(model.SerializeToString())

    def has_begun(self):
        """Whether weights are being written: a file without content may not have been registered for removal yet."""
        try:
            return any(file.stat().st_size for file in self.out.glob("weights-*.tmp"))
        except FileNotFoundError:  # got its final name
            return True

    def interrupt(self, sent):
        """Ends a compilation when its first file of weights has appeared under its temporary name."""
        programs.must("caat-compile", MLP, "--tp=2", "-o", self.out)
        process = subprocess.Popen([programs.BIN / "caat-compile", self.folder / "model.onnx", "--tp=2", "-o", self.out],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not self.has_begun():
            time.sleep(0.001)
        process.send_signal(sent)
        self.assertEqual(process.wait(timeout=SECONDS), -sent)
        self.assertFalse((self.out / "manifest.json").exists(), "what is left looks like a program")
        done = programs.run("caat-run", "infer", self.out, f"--inputs={MLP.parent / 'inputs.npz'}",
                            f"--outputs={self.folder / 'outputs.npz'}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("manifest.json", done.stderr)

    def test_no_program_is_left(self):
        for sent in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=sent.name):
                self.interrupt(sent)
                self.assertEqual(list(self.out.glob("*.tmp")), [], "temporary files are left")

    def test_no_program_is_left_by_a_kill(self):
        self.interrupt(signal.SIGKILL)
        programs.must("caat-compile", MLP, "--tp=2", "-o", self.out)  # what is left is in nobody's way
        programs.infer(self.out, MLP.parent / "inputs.npz")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
