#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tools must refuse: exit 1 or 2, a message that names the trouble, no crash, no hang, no half-written program."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import jsonschema
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

import programs

MLP = programs.MODELS / "mlp-block"
LLAMA = programs.MODELS / "llama-gqa-genai"


class Refusals(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def refused(self, tool, *arguments, names=(), environment=None):
        """Runs the tool, expects exit 1 or 2 and an error that contains each of `names`; returns the error."""
        done = programs.run(tool, *arguments, environment=environment)
        self.assertIn(done.returncode, (1, 2), f"exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}")
        self.assertTrue(done.stderr.strip(), "refused without a word")
        self.assertNotIn("Stack dump", done.stderr)
        for name in names:
            self.assertIn(str(name).lower(), done.stderr.lower())
        return done.stderr

    def compile_refused(self, model, *flags, tp=2, names=()):
        out = self.folder / "out"
        error = self.refused("caat-compile", model, f"--tp={tp}", *flags, "-o", out, names=names)
        self.assertFalse((out / "manifest.json").exists(), "a refused compilation left a program")
        return error

    def plan_refused(self, plan, *names, tp=2):
        file = self.folder / "plan.json"
        file.write_text(plan if isinstance(plan, str) else json.dumps(plan))
        self.compile_refused(LLAMA / "model.onnx", f"--plan={file}", tp=tp, names=names)


class Files(Refusals):
    def test_missing(self):
        self.compile_refused(self.folder / "absent.onnx", names=["absent.onnx"])

    def test_empty(self):
        (self.folder / "model.onnx").touch()
        self.compile_refused(self.folder / "model.onnx", names=["model.onnx"])

    def test_truncated(self):
        data = (LLAMA / "model.onnx").read_bytes()
        for part in (0.1, 0.5, 0.9, 0.999):
            with self.subTest(part=part):
                (self.folder / "model.onnx").write_bytes(data[:int(len(data) * part)])
                self.compile_refused(self.folder / "model.onnx", names=["model.onnx"])

    def test_random(self):
        random = np.random.default_rng(3)
        for size in (1, 100, 10000):
            with self.subTest(size=size):
                (self.folder / "model.onnx").write_bytes(random.bytes(size))
                self.compile_refused(self.folder / "model.onnx", names=["model.onnx"])

    def test_flipped_bytes(self):
        """Damaged files may be refused or compile, but never crash."""
        data = bytearray((MLP / "model.onnx").read_bytes())
        random = np.random.default_rng(5)
        for i in range(12):
            damaged = bytearray(data)
            for position in random.integers(0, 400, 3):
                damaged[position] = random.integers(256)
            (self.folder / "model.onnx").write_bytes(damaged)
            done = programs.run("caat-compile", self.folder / "model.onnx", "--tp=2", "-o", self.folder / "out")
            self.assertIn(done.returncode, (0, 1, 2), f"round {i}: {done.stderr[-800:]}")


class ExternalData(Refusals):
    def model(self, location, offset=0, length=None, size=48 * 144 * 4):
        """The block with its first weight in another file of `size` bytes."""
        model = onnx.load(MLP / "model.onnx")
        weight = model.graph.initializer[0]
        (self.folder / "inside").mkdir(exist_ok=True)
        (self.folder / "outside.bin").write_bytes(weight.raw_data)
        (self.folder / "inside" / "weights.bin").write_bytes(weight.raw_data[:size])
        length = len(weight.raw_data) if length is None else length
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            weight.external_data.add(key=key, value=str(value))
        (self.folder / "inside" / "model.onnx").write_bytes(model.SerializeToString())
        return self.folder / "inside" / "model.onnx", weight.name

    def test_good(self):
        path, _ = self.model("weights.bin")
        programs.must("caat-compile", path, "--tp=2", "-o", self.folder / "good")

    def test_outside(self):
        for location in ("../outside.bin", str(self.folder / "outside.bin"), "", "a/../../outside.bin"):
            with self.subTest(location=location):
                path, name = self.model(location)
                self.compile_refused(path, names=[name])

    def test_symbolic_link(self):
        path, name = self.model("link.bin")
        os.symlink("../outside.bin", self.folder / "inside" / "link.bin")
        self.compile_refused(path, names=["link.bin"])

    def test_past_the_end(self):
        for settings in ({"offset": 8}, {"size": 100}, {"offset": 1 << 62}, {"offset": -4}, {"length": 12}):
            with self.subTest(**settings):
                path, name = self.model("weights.bin", **settings)
                self.compile_refused(path, names=[name])

    def test_missing(self):
        path, _ = self.model("absent.bin")
        self.compile_refused(path, names=["absent.bin"])


class Graphs(Refusals):
    def save(self, nodes, inputs, outputs, initializers=(), opsets=(("", 20),)):
        graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
        model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid(*o) for o in opsets])
        (self.folder / "model.onnx").write_bytes(model.SerializeToString())
        return self.folder / "model.onnx"

    def value(self, name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def test_unknown_operator(self):
        for domain, opsets in (("", [("", 20)]), ("org.example", [("", 20), ("org.example", 1)])):
            with self.subTest(domain=domain):
                node = helper.make_node("Frobnicate", ["x"], ["y"], "the_node", domain=domain)
                path = self.save([node], [self.value("x", 4, 8)], [self.value("y", 4, 8)], opsets=opsets)
                self.compile_refused(path, names=["Frobnicate", "the_node"])

    def test_undefined_value(self):
        node = helper.make_node("Add", ["x", "ghost"], ["y"], "adder")
        path = self.save([node], [self.value("x", 4, 8)], [self.value("y", 4, 8)])
        self.compile_refused(path, names=["ghost"])

    def test_shapes_that_do_not_fit(self):
        node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
        weight = helper.make_tensor("w", TensorProto.FLOAT, [9, 8], np.zeros(72, np.float32))
        path = self.save([node], [self.value("x", 4, 8)], [self.value("y", 4, 8)], [weight])
        self.compile_refused(path, names=["product"])

    def test_weight_of_wrong_size(self):
        model = onnx.load(MLP / "model.onnx")
        model.graph.initializer[0].dims[0] = 49
        (self.folder / "model.onnx").write_bytes(model.SerializeToString())
        self.compile_refused(self.folder / "model.onnx", names=[model.graph.initializer[0].name])


class Plans(Refusals):
    def test_not_json(self):
        self.plan_refused("{ not json", "plan.json")

    def test_version(self):
        self.plan_refused({"version": 2}, "version")

    def test_unknown_site(self):
        self.plan_refused({"version": 1, "sites": {"layers.99.attn": {"sync": "drop"}}}, "layers.99.attn")

    def test_schema(self):
        """The documented schema refuses too what can be seen without the model."""
        site = {"sync": "partial", "shared": 1.5}
        for plan in ({"version": 2}, {"version": 1, "other": 1}, {"version": 1, "sites": {"layers.0.attn": site}},
                     {"version": 1, "default": {"sync": "off"}}):
            with self.assertRaises(jsonschema.ValidationError, msg=plan):
                jsonschema.validate(plan, programs.PLAN_SCHEMA)
            self.plan_refused(plan)

    def test_unknown_sync(self):
        self.plan_refused({"version": 1, "sites": {"layers.0.attn": {"sync": "sometimes"}}}, "sometimes")

    def test_fraction(self):
        for p in (1.5, -0.1, "half"):
            with self.subTest(shared=p):
                self.plan_refused({"version": 1, "sites": {"layers.0.attn": {"sync": "partial", "shared": p}}},
                                  "layers.0.attn")

    def test_order(self):
        for order in ([0, 1, 2], [0] * 48, list(range(1, 49)), list(range(49))):
            with self.subTest(order=order[:3], length=len(order)):
                self.plan_refused({"version": 1, "sites": {"layers.0.attn": {"sync": "partial", "shared": 0.5,
                                                                            "order": order}}}, "layers.0.attn")

    def test_other_size(self):
        self.plan_refused({"version": 1, "tp": 3}, "3", "2")

    def test_missing_estimate(self):
        self.plan_refused({"version": 1, "sites": {"layers.0.attn": {
            "sync": "partial", "shared": 0.5, "rest": "deferred", "estimate": "absent.safetensors"}}},
            "absent.safetensors")

    def test_missing_file(self):
        self.compile_refused(LLAMA / "model.onnx", "--plan=" + str(self.folder / "absent.json"),
                             names=["absent.json"])


class Sizes(Refusals):
    def test_tensor_parallel_size(self):
        for tp in (0, -1, 100000, "many"):
            with self.subTest(tp=tp):
                self.compile_refused(LLAMA / "model.onnx", tp=tp)

    def test_unknown_target(self):
        self.compile_refused(LLAMA / "model.onnx", "--target=abacus", names=["abacus"])


class Divisions(Refusals):
    """Integers divided by zero: refused when compiled where that is known, else when it happens."""

    def model(self, nodes, inputs, constants=(), output=TensorProto.INT64):
        inputs = [helper.make_tensor_value_info(name, kind, dims) for name, kind, dims in inputs]
        constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants]
        graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", output, None)], constants)
        file = self.folder / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)
        return file

    def of_inputs(self, op, dtype=np.int64, **attributes):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        model = self.model([helper.make_node(op, ["a", "b"], ["y"], name="divide", **attributes)],
                           [("a", kind, ["n"]), ("b", kind, ["n"])], output=kind)
        return programs.compile_model(model, self.folder / "program", 2)

    def run_with(self, program, **inputs):
        np.savez(self.folder / "in.npz", **inputs)
        return programs.infer(program, self.folder / "in.npz")["y"]

    def run_refused(self, program, *names, **inputs):
        np.savez(self.folder / "in.npz", **inputs)
        self.refused("caat-run", "infer", program, f"--inputs={self.folder / 'in.npz'}",
                     f"--outputs={self.folder / 'out.npz'}", names=names)

    def test_inputs(self):
        for op, dtype, attributes in (("Div", np.int64, {}), ("Mod", np.int32, {}), ("Mod", np.int64, {"fmod": 1}),
                                      ("Div", np.uint8, {})):
            with self.subTest(op=op, dtype=dtype, **attributes):
                program = self.of_inputs(op, dtype, **attributes)
                a, b = np.array([7, 9, 5], dtype), np.array([2, 3, 4], dtype)
                want = np.divide(a, b).astype(dtype) if op == "Div" else np.remainder(a, b)
                self.assertEqual(self.run_with(program, a=a, b=b).tolist(), want.tolist())
                self.run_refused(program, f"node 'divide' ({op}) divides by an integer that is 0", a=a,
                                 b=b * np.array([1, 0, 1], dtype))
                self.assertEqual(self.run_with(program, a=a[:0], b=b[:0]).size, 0)

    def test_the_lowest_number_by_minus_one(self):
        for dtype in (np.int8, np.int32, np.int64):
            low, minus = np.array([np.iinfo(dtype).min], dtype), np.array([-1], dtype)
            self.assertEqual(self.run_with(self.of_inputs("Div", dtype), a=low, b=minus), low)
            self.assertEqual(self.run_with(self.of_inputs("Mod", dtype), a=low, b=minus), 0)

    def test_constants(self):
        a = [("a", TensorProto.INT64, ["n", 3])]
        for op, constant in (("Div", np.array([0])), ("Mod", np.array([2, 0, 1]))):
            node = helper.make_node(op, ["a", "c"], ["y"], name="divide")
            self.compile_refused(self.model([node], a, [("c", constant)]), names=[f"node 'divide' ({op}) divides by a constant"])
        # Of numbers that are only evaluated when weights are written.
        table = [helper.make_node("Div", ["c", "w"], ["t"], name="divide"), helper.make_node("Gather", ["t", "i"], ["y"])]
        indices = [("i", TensorProto.INT64, ["n"])]
        self.compile_refused(self.model(table, indices, [("c", np.array(7)), ("w", np.arange(100))]),
                             names=["divides by an integer that is 0"])
        model = self.model(table, indices, [("c", np.array(-7)), ("w", np.arange(1, 101))])
        program = programs.compile_model(model, self.folder / "program", 2)
        self.assertEqual(self.run_with(program, i=np.array([0, 1, 99])).tolist(), [-7, -3, 0])

    def test_sizes(self):
        """As exporters divide them, on the way to a shape: behind a message the host's code must not trap."""
        nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Shape", ["z"], ["t"]),
                 helper.make_node("Div", ["s", "t"], ["q"], name="divide"),
                 helper.make_node("Concat", ["q", "rest"], ["shape"], axis=0),
                 helper.make_node("Reshape", ["x", "shape"], ["r"], name="reshape"),
                 helper.make_node("ReduceSum", ["r"], ["y"], keepdims=0)]
        model = self.model(nodes, [("x", TensorProto.FLOAT, ["n"]), ("z", TensorProto.FLOAT, ["k"])],
                           [("rest", np.array([-1]))], TensorProto.FLOAT)
        program = programs.compile_model(model, self.folder / "program", 2)
        x, z = np.ones(4, np.float32), np.zeros(2, np.float32)
        self.assertEqual(self.run_with(program, x=x, z=z), 4)
        self.run_refused(program, "node 'divide' (Div) divides by k, which is 0", x=x, z=z[:0])

    def test_sizes_of_outputs(self):
        """They are computed before the program runs, whose checks name nodes: the output is named."""
        nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Shape", ["z"], ["t"]),
                 helper.make_node("Div", ["s", "t"], ["q"], name="divide"), helper.make_node("ConstantOfShape", ["q"], ["y"])]
        model = self.model(nodes, [("x", TensorProto.FLOAT, ["n"]), ("z", TensorProto.FLOAT, ["k"])], output=TensorProto.FLOAT)
        program = programs.compile_model(model, self.folder / "program", 2)
        x, z = np.ones(5, np.float32), np.zeros(2, np.float32)
        self.assertEqual(self.run_with(program, x=x, z=z).shape, (2,))
        self.run_refused(program, "'y': size expression 'n floordiv k' divides by 0", x=x, z=z[:0])

    def test_a_branch_that_is_not_taken(self):
        """Both branches run, and the divisor of the one is what the other is for."""
        kind = TensorProto.INT64
        value = helper.make_tensor_value_info
        divided = helper.make_graph([helper.make_node("Div", ["a", "b"], ["p"], name="divide")], "then", [],
                                    [value("p", kind, ["n"])])
        whole = helper.make_graph([helper.make_node("Identity", ["a"], ["p"])], "else", [], [value("p", kind, ["n"])])
        nodes = [helper.make_node("ReduceMin", ["b"], ["least"], keepdims=0),
                 helper.make_node("Greater", ["least", "zero"], ["all"]),
                 helper.make_node("If", ["all"], ["y"], then_branch=divided, else_branch=whole)]
        model = self.model(nodes, [("a", kind, ["n"]), ("b", kind, ["n"])], [("zero", np.array(0))])
        program = programs.compile_model(model, self.folder / "program", 2)
        a, b = np.array([7, 9]), np.array([2, 3])
        self.assertEqual(self.run_with(program, a=a, b=b).tolist(), [3, 3])
        self.assertEqual(self.run_with(program, a=a, b=b * 0).tolist(), [7, 9])

    def test_a_branch_that_cannot_run(self):
        """The pairs of an odd number of elements: where the number is not known, neither branch is run to be thrown away."""
        value, kind = helper.make_tensor_value_info, TensorProto.INT64
        pairs = helper.make_graph([helper.make_node("Reshape", ["x", "shape"], ["p"], name="pairs"),
                                   helper.make_node("ReduceSum", ["p", "zero"], ["s"], keepdims=0)], "then", [],
                                  [value("s", kind, None)])
        squares = helper.make_graph([helper.make_node("Mul", ["c", "c"], ["q"])], "else", [], [value("q", kind, [2])])
        nodes = [helper.make_node("Shape", ["x"], ["n"]), helper.make_node("Mod", ["n", "two"], ["odd"]),
                 helper.make_node("Equal", ["odd", "zero"], ["even"]),
                 helper.make_node("If", ["even"], ["y"], name="choice", then_branch=pairs, else_branch=squares)]
        constants = [("shape", np.array([-1, 2])), ("zero", np.array([0])), ("two", np.array([2])), ("c", np.array([3, 4]))]
        model = self.model(nodes, [("x", kind, ["n"])], constants)
        self.compile_refused(model, names=["node 'choice' (If)", "pairs' (Reshape) may fail the run where its branch is not taken"])
        for n, want in ((3, [9, 16]), (4, [2, 4])):
            program = programs.compile_model(model, self.folder / f"program{n}", 2, flags=[f"--dim=n={n}"])
            self.assertEqual(self.run_with(program, x=np.arange(n)).tolist(), want)

    def test_wide_constants(self):
        """Halves of uint64, whose upper half is no int64."""
        model = self.model([helper.make_node("Div", ["c", "two"], ["h"]), helper.make_node("Add", ["h", "x"], ["y"])],
                           [("x", TensorProto.UINT64, ["n"])],
                           [("c", np.array([2 ** 63 + 8], np.uint64)), ("two", np.array([2], np.uint64))],
                           TensorProto.UINT64)
        program = programs.compile_model(model, self.folder / "program", 2)
        self.assertEqual(self.run_with(program, x=np.array([1], np.uint64)).tolist(), [2 ** 62 + 5])


class Names(Refusals):
    """What tools print of a model's names cannot steer a terminal, and is JSON still."""
    STEERS, SHOWN = "a\x1b]0;b\x07\x7f\x9bJ\rü", "a\\u001B]0;b\\u0007\\u007F\\u009BJ\\u000Dü"

    def model(self, last="Relu"):
        """Names that steer in every place; `last` is Reshape for a warning that names it, or an operator that is none."""
        steers, value = self.STEERS, helper.make_tensor_value_info
        nodes = [helper.make_node("MatMul", [f"x{steers}", f"w{steers}"], [f"m{steers}"], name=f"first{steers}"),
                 helper.make_node(last, [f"m{steers}"] + ["shape"] * (last == "Reshape"), [f"y{steers}"], name=f"last{steers}")]
        arrays = [numpy_helper.from_array(np.ones((128, 128), np.float32), f"w{steers}"),
                  numpy_helper.from_array(np.array([-1, 7, 100]), "shape")]
        graph = helper.make_graph(nodes, f"g{steers}", [value(f"x{steers}", TensorProto.FLOAT, [f"n{steers}", 128])],
                                  [value(f"y{steers}", TensorProto.FLOAT, None)], arrays)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), self.folder / "model.onnx")
        return self.folder / "model.onnx"

    def shows(self, names, tool, *arguments, code=0):
        """The tool's streams have `names` as they are shown, and nothing that steers; its stdout."""
        done = programs.run(tool, *arguments)
        self.assertEqual(done.returncode, code, done.stderr[-1500:])
        printed = done.stdout + done.stderr
        self.assertFalse([c for c in printed if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160], ascii(printed))
        for name in names:
            self.assertIn(name + self.SHOWN, printed)
        return done.stdout

    def test_compilers(self):
        model, out = self.model("Reshape"), self.folder / "out"
        self.shows(["last"], "caat-opt", model, "--tp-pipeline=size=2", "-o", self.folder / "model.mlir")
        self.shows(["last"], "caat-opt", model, "--tp-pipeline=size=2", "--remarks-filter=caat", "-o", self.folder / "model.mlir")
        self.shows(["first", "last"], "caat-compile", model, "--tp=2", "--report", "-o", out)
        self.shows(["n", "last"], "caat-opt", model, "--tp-check=size=2")
        report = json.loads(self.shows([], "caat-opt", model, "--tp-check=size=2 json"))
        self.assertEqual(report["dims"]["batch"], f"n{self.STEERS}")
        programs.must("caat-opt", model, "--mlir-print-debuginfo", "-o", self.folder / "model.mlir")
        self.shows(["last"], "caat-opt", self.folder / "model.mlir", "--tp-pipeline=size=2", "-o", self.folder / "other.mlir")
        np.save(self.folder / "tokens.npy", np.zeros(1 << 14, np.int64))
        broken = self.model("Frobnicate")
        self.shows(["last"], "caat-compile", broken, "-o", out, code=1)
        self.shows(["last"], "caat-ablate", broken, f"--tokens={self.folder / 'tokens.npy'}", "-o", out, code=1)
        self.shows(["y"], "caat-ablate", self.model(), f"--tokens={self.folder / 'tokens.npy'}", "-o", out, code=1)

    def test_not_utf8(self):
        model = self.model()
        model.write_bytes(model.read_bytes().replace(b"]0;b", b"]\xff;b"))
        for tool in ("caat-opt", "caat-compile"):
            self.refused(tool, model, "-o", self.folder / "out", names=["not UTF-8", "]\ufffd;b"])

    def test_control_characters(self):
        steers, shown = self.STEERS, self.SHOWN
        value = helper.make_tensor_value_info
        graph = helper.make_graph([helper.make_node("Neg", [f"x{steers}"], [f"y{steers}"])], "g",
                                  [value(f"x{steers}", TensorProto.FLOAT, ["n"])], [value(f"y{steers}", TensorProto.FLOAT, ["n"])])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), self.folder / "model.onnx")
        program = programs.compile_model(self.folder / "model.onnx", self.folder / "program", 1)
        save_file({f"x{steers}": np.ones(3, np.float32)}, self.folder / "in.safetensors")
        np.savez(self.folder / "other.npz", z=np.ones(3, np.float32))
        infer = ["caat-run", "infer", program, f"--outputs={self.folder / 'out.npz'}"]
        self.assertEqual(programs.must(*infer, f"--inputs={self.folder / 'in.safetensors'}"), f"y{shown}: f32[3]\n")
        written = programs.must(*infer, f"--inputs={self.folder / 'in.safetensors'}", "--json")
        self.assertEqual(list(json.loads(written)["outputs"]), [f"y{steers}"])
        self.assertFalse(any(ord(c) < 32 or 127 <= ord(c) < 160 for c in written.rstrip("\n")), written)
        self.refused(*infer, f"--inputs={self.folder / 'other.npz'}", names=[f"x{shown}"])


class WithProgram(Refusals):
    """A program that a test may change."""

    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.holder.cleanup)
        cls.good = Path(cls.holder.name, "good")
        programs.compile_model(LLAMA, cls.good, 2, flags=["--max-length=16"])
        cls.inputs = LLAMA / "inputs_prefill.npz"

    def setUp(self):
        super().setUp()
        self.program = self.folder / "program"
        shutil.copytree(self.good, self.program)

    def run_refused(self, inputs=None, names=()):
        return self.refused("caat-run", "infer", self.program, f"--inputs={inputs or self.inputs}",
                            f"--outputs={self.folder / 'out.npz'}", names=names)

    def with_inputs(self, **changes):
        arrays = programs.load(self.inputs)
        arrays = {k: changes.get(k, v) for k, v in arrays.items() if changes.get(k, v) is not None}
        np.savez(self.folder / "in.npz", **arrays)
        return self.folder / "in.npz"


class Programs(WithProgram):
    """Programs that were damaged, and inputs that do not fit."""

    def test_weights(self):
        weights = self.program / "weights-1.safetensors"
        data = weights.read_bytes()
        for name, damaged in (("missing", None), ("empty", b""), ("short", data[:-100]), ("half", data[:len(data) // 2]),
                              ("header", b"\xff" * 8 + data[8:]), ("not JSON", data[:8] + b"x" + data[9:])):
            with self.subTest(name):
                weights.unlink() if damaged is None else weights.write_bytes(damaged)
                self.run_refused(names=["weights-1.safetensors"])

    def test_weights_of_another_rank_or_program(self):
        def as_is(program):
            return [(program / f"weights-{rank}.safetensors").read_bytes() for rank in range(2)]
        first, second = self.program / "weights-0.safetensors", self.program / "weights-1.safetensors"
        good, other = as_is(self.program), as_is(programs.compile_model(self.other_model(), self.folder / "other", 2,
                                                                        flags=["--max-length=16"]))
        self.assertEqual([len(data) for data in good], [len(data) for data in other])
        programs.must("caat-run", "verify", self.program)
        belongs = f"weights-0.safetensors: does not belong to {self.program}/manifest.json: "
        first.write_bytes(good[1])
        self.run_refused(names=[belongs + "its weights are those of rank 1", "compile again"])
        first.write_bytes(other[0])
        self.run_refused(names=[belongs + "its weights are those of another compilation"])
        length = int.from_bytes(good[0][:8], "little")
        header = json.loads(good[0][8:8 + length])
        del header["__metadata__"]
        header = json.dumps(header).encode()
        first.write_bytes(len(header).to_bytes(8, "little") + header + good[0][8 + length:])
        self.run_refused(names=[belongs + "it has no digest"])
        first.write_bytes(good[0])
        programs.infer(self.program, self.inputs)
        # What loading does not read is found by reading all of it.
        second.write_bytes(good[1][:-1] + bytes([good[1][-1] ^ 1]))
        programs.infer(self.program, self.inputs)
        self.refused("caat-run", "verify", self.program, names=["weights-1.safetensors: its data was changed or damaged"])

    def other_model(self):
        """The same model but for some values of its weights."""
        model = onnx.load(LLAMA / "model.onnx")
        for weight in model.graph.initializer:
            array = numpy_helper.to_array(weight)
            if array.dtype == np.float32 and array.ndim == 2:
                weight.CopyFrom(numpy_helper.from_array(array[::-1].copy(), weight.name))
        folder = self.folder / "model"
        folder.mkdir()
        onnx.save(model, folder / "model.onnx")
        return folder

    def test_programs_without_digests(self):
        programs.must("caat-compile", LLAMA / "model.onnx", "--tp=2", "--max-length=16", "--no-weights", "-o",
                      self.program)
        self.assertNotIn("weights", json.loads((self.program / "manifest.json").read_text()))
        self.refused("caat-run", "verify", self.program, names=["weights-0.safetensors"])
        for rank in range(2):  # of whatever compilation: nothing says that they belong here
            shutil.copy(self.good / f"weights-{rank}.safetensors", self.program)
        programs.infer(self.program, self.inputs)
        self.refused("caat-run", "verify", self.program, names=["manifest.json: has no digests"])

    def test_code(self):
        (self.program / "code.so").unlink()
        self.run_refused(names=["code.so"])
        (self.program / "code.so").write_bytes(b"no code")
        self.run_refused(names=["code.so"])

    def test_manifest(self):
        manifest = self.program / "manifest.json"
        text = manifest.read_text()
        manifest.write_text(text[:len(text) // 2])
        self.run_refused(names=["manifest.json"])
        other = json.loads(text)
        other["format"] = 99
        manifest.write_text(json.dumps(other))
        self.run_refused(names=["format"])
        other = json.loads(text)
        other["outputs"].pop()
        manifest.write_text(json.dumps(other))
        self.run_refused(names=["manifest.json: does not belong to code.so"])
        manifest.unlink()
        self.run_refused(names=["manifest.json"])

    def test_token_ids(self):
        ids = programs.load(self.inputs)["input_ids"]
        for token in (336, -1, 1 << 40):
            with self.subTest(token=token):
                changed = ids.copy()
                changed[0, 3] = token
                self.run_refused(self.with_inputs(input_ids=changed), names=[token])

    def test_rows_of_different_lengths_on_a_cache(self):
        arrays = dict(np.load(LLAMA / "inputs_decode.npz"))
        arrays["attention_mask"][1, 0] = 0
        np.savez(self.folder / "uneven.npz", **arrays)
        self.refused("caat-run", "infer", self.program, f"--inputs={self.folder / 'uneven.npz'}",
                     f"--outputs={self.folder / 'out.npz'}", names=["seqlens_k", "rows of different lengths", "--row-lengths"])

    def test_missing_input(self):
        self.run_refused(self.with_inputs(input_ids=None), names=["input_ids"])

    def test_type(self):
        ids = programs.load(self.inputs)["input_ids"]
        self.run_refused(self.with_inputs(input_ids=ids.astype(np.float32)), names=["input_ids"])

    def test_shape(self):
        self.run_refused(self.with_inputs(input_ids=np.zeros((2, 7, 1), np.int64)), names=["input_ids"])
        self.run_refused(self.with_inputs(attention_mask=np.ones((3, 7), np.int64)), names=["attention_mask"])

    def test_too_long(self):
        self.run_refused(self.with_inputs(input_ids=np.zeros((2, 40), np.int64),
                                          attention_mask=np.ones((2, 40), np.int64)), names=["16"])

    def test_missing_file(self):
        self.run_refused(self.folder / "absent.npz", names=["absent.npz"])

    def test_tokens_to_generate_from(self):
        np.save(self.folder / "tokens.npy", np.array([1, 2, 336], np.int64))
        self.refused("caat-run", "generate", self.program, f"--tokens={self.folder / 'tokens.npy'}",
                     "--max-new-tokens=2", "-o", self.folder / "out.npy", names=["336"])

    def test_usage(self):
        for arguments in ([], ["frobnicate"], ["infer"], ["infer", self.program, "--nonsense"]):
            with self.subTest(arguments=arguments):
                done = programs.run("caat-run", *arguments)
                self.assertEqual(done.returncode, 2, done.stderr)


class Outputs(WithProgram):
    """Where results go: what cannot be written there is said with its option, before the work."""

    def setUp(self):
        super().setUp()
        (self.folder / "file").touch()
        np.save(self.folder / "tokens.npy", np.array([1, 2, 3], np.int64))
        self.generate = ["caat-run", "generate", self.program, f"--tokens={self.folder / 'tokens.npy'}", "--max-new-tokens=2"]

    def places(self, name):
        """Paths that no file can have, and why."""
        (self.folder / name).mkdir(exist_ok=True)
        return ((self.folder / name, "is a folder; name a file in it"),
                (self.folder / "none" / name, f"there is no folder '{self.folder / 'none'}'; make it first"),
                (self.folder / "file" / name, f"'{self.folder / 'file'}' is a file, not a folder"))

    def test_files(self):
        for path, why in self.places("y.npz"):
            self.refused("caat-run", "infer", self.program, f"--inputs={self.inputs}", f"--outputs={path}",
                         names=[f"--outputs={path}", why])
        for path, why in self.places("y.npy"):
            error = self.refused(*self.generate, "-o", path, names=[f"--output={path}", why])
            self.assertNotIn("loading", error)
        for path, why in self.places("trace.json"):
            self.refused(*self.generate, f"--trace={path}", names=[f"--trace={path}", why])

    def test_folders(self):
        file, below = self.folder / "file", self.folder / "file" / "out"
        self.refused("caat-compile", MLP / "model.onnx", "-o", file, names=[f"-o={file} is a file; name a folder"])
        self.refused("caat-compile", MLP / "model.onnx", "-o", below, names=[f"-o={below}: the folder cannot be made: "])
        self.refused("caat-compile", MLP / "model.onnx", "-o", self.folder / "out", f"--dump-ir={file}",
                     names=[f"--dump-ir={file} is a file; name a folder"])
        ablate = ["caat-ablate", LLAMA / "model.onnx", f"--tokens={self.folder / 'many.npy'}", "--length=4"]
        np.save(self.folder / "many.npy", np.zeros(4096, np.int64))
        self.refused(*ablate, "-o", file, names=[f"--output={file} is a file; name a folder"])
        self.refused(*ablate, "-o", below, names=[f"--output={below}: the folder cannot be made: "])

    def test_pipe(self):
        """It is written to, and not replaced by a file."""
        pipe = self.folder / "pipe.npy"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        programs.must(*self.generate, "-o", pipe)
        received = os.read(reader, 1 << 16)
        os.close(reader)
        self.assertTrue(pipe.is_fifo())
        programs.must(*self.generate, "-o", self.folder / "y.npy")
        self.assertEqual(received, (self.folder / "y.npy").read_bytes())

    def test_full_disk(self):
        for more in ([], ["--json"]):
            with open("/dev/full", "w") as stdout:
                done = subprocess.run([programs.BIN / self.generate[0], *map(str, self.generate[1:]), *more], stdout=stdout,
                                      stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("No space left on device", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[1:]])
