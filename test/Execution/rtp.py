#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rotated weights: outputs against ONNX Runtime on batches of N and 2N + 1 rows, several runs in a row, text with caches
against one rank; a ring that turns the wrong way must be noticed, a rank that stops must be named, and transfers must
run beside products."""
import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnxruntime

import programs

MODELS = ("llama-gqa-genai", "gpt2-op", "opt-d18", "llama-mha-d23")
# What other models of the tests are refused for.
REFUSED = {"wavlm-d18": "a dimension is mixed with others by a reshape"}
TOLERANCE = 1e-5


def batch_of(inputs: dict, rows: int) -> dict:
    """`rows` different samples from those of a stored case."""
    result = {}
    for name, array in inputs.items():
        samples = [array[row % array.shape[0]] for row in range(rows)]
        if name == "input_ids":
            samples = [np.roll(sample, row) for row, sample in enumerate(samples)]
        elif name.startswith("past"):
            samples = [sample * np.float32(1 + 0.1 * row) for row, sample in enumerate(samples)]
        result[name] = np.stack(samples)
    return result


class Session:
    def __init__(self, model: Path):
        self.session = onnxruntime.InferenceSession(str(model / "model.onnx"), providers=["CPUExecutionProvider"])

    def run(self, inputs: dict) -> dict:
        names = [output.name for output in self.session.get_outputs()]
        known = {i.name for i in self.session.get_inputs()}
        return dict(zip(names, self.session.run(None, {k: v for k, v in inputs.items() if k in known})))


class Rotation(unittest.TestCase):
    flags = []  # for every program

    def environment(self, program: Path) -> dict:
        return {}

    def run_program(self, program: Path, command: str, *arguments, environment=None):
        return programs.run("caat-run", command, program, *arguments,
                            environment=self.environment(program) | (environment or {}))

    def must(self, program: Path, command: str, *arguments) -> str:
        done = self.run_program(program, command, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def compile(self, name: str, ranks: int, *flags) -> Path:
        out = self.folder / f"{name}-{ranks}-{len(list(self.folder.iterdir()))}"
        return programs.compile_model(programs.MODELS / name, out, ranks, None, ["--strategy=rtp", *self.flags, *flags])

    def infer(self, program: Path, inputs: dict, *flags, environment=None) -> dict:
        np.savez(self.folder / "in.npz", **inputs)
        done = self.run_program(program, "infer", f"--inputs={self.folder / 'in.npz'}",
                                f"--outputs={self.folder / 'out.npz'}", *flags, environment=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return programs.load(self.folder / "out.npz")

    def difference(self, inputs: dict, want: dict, got: dict) -> float:
        worst, _ = programs.worst_difference(inputs, want, got)
        return worst

    def inputs(self, model: Path, ranks: int):
        """Cases, with numbers of rows and of runs."""
        for case, _ in programs.cases(model):
            # The second run begins where the first one left the slices; a batch of one leaves ranks without a row.
            for rows, runs in ((ranks, 1), (2 * ranks + 1, 2), (1, 1))[:3 if ranks == 3 else 2]:
                yield case, rows, runs

    def check(self, name: str, ranks: int, *flags):
        model = programs.MODELS / name
        session, program = Session(model), self.compile(name, ranks, *flags)
        for case, rows, runs in self.inputs(model, ranks):
            inputs = batch_of(programs.load(case), rows)
            with self.subTest(model=name, ranks=ranks, case=case.stem, rows=rows):
                got = self.infer(program, inputs, f"--runs={runs}")
                self.assertLessEqual(self.difference(inputs, session.run(inputs), got), TOLERANCE)

    def test_out_of_place(self):
        for name in MODELS:
            for ranks in (1, 2, 3, 4) if name == MODELS[0] else (2, 3, 4):
                self.check(name, ranks)

    def test_other_models(self):
        for model in sorted(programs.MODELS.glob("*/model.onnx")):
            name = model.parent.name
            if name in MODELS or name == "mlp-block":  # has a fixed batch
                continue
            if name in REFUSED:
                done = programs.run("caat-compile", model, "--tp=3", "--strategy=rtp", "-o", self.folder / "no")
                self.assertEqual(done.returncode, 1)
                self.assertIn(REFUSED[name], done.stderr)
            else:
                self.check(name, 3)

    def test_fixed_batch(self):
        """A batch that the export or a flag fixes is divided all the same."""
        model = programs.MODELS / "mlp-block"
        case, outputs = programs.cases(model)[0]
        inputs, want = programs.load(case), programs.load(outputs)
        for ranks in (1, 2, 3, 4):
            program = self.compile(model.name, ranks)
            for rows, runs in ((4, 1), (ranks, 1), (2 * ranks + 1, 2)):
                order = np.arange(rows) % 4
                got = self.infer(program, {name: a[order] for name, a in inputs.items()}, f"--runs={runs}")
                self.assertLessEqual(np.abs(got["y"] - want["y"][order]).max(), TOLERANCE)
        model = programs.MODELS / "llama-mha-d23"
        inputs = batch_of(programs.load(programs.cases(model)[0][0]), 5)
        got = self.infer(self.compile(model.name, 3, "--dim=batch=5"), inputs)
        self.assertLessEqual(self.difference(inputs, Session(model).run(inputs), got), TOLERANCE)

    def test_in_place(self):
        self.check("llama-gqa-genai", 3, "--rotate=in-place")

    def test_wrong_direction(self):
        model = programs.MODELS / "llama-gqa-genai"
        inputs = batch_of(programs.load(programs.cases(model)[0][0]), 4)
        want = Session(model).run(inputs)
        for ranks, harmless in ((2, True), (3, False), (4, False)):
            got = self.infer(self.compile(model.name, ranks), inputs, environment={"CAAT_TEST_REVERSE_RING": "1"})
            self.assertEqual(self.difference(inputs, want, got) <= TOLERANCE, harmless, ranks)

    def test_generation(self):
        """Greedy text of a batch, prompt and every token a run of its own, and perplexity: as on one rank."""
        random = np.random.default_rng(0)
        np.save(self.folder / "prompt.npy", random.integers(0, 300, (5, 6)))
        np.save(self.folder / "text.npy", random.integers(0, 300, 7 * 16))
        for name in ("llama-gqa-genai", "gpt2-op"):
            single = programs.compile_model(programs.MODELS / name, self.folder / f"{name}-single", 1)
            results = []
            for program in (single, self.compile(name, 3), self.compile(name, 4, "--rotate=in-place")):
                self.must(program, "generate", f"--tokens={self.folder / 'prompt.npy'}",
                          "--max-new-tokens=8", "-o", self.folder / "made.npy")
                score = json.loads(self.must(program, "score", f"--tokens={self.folder / 'text.npy'}", "--length=16",
                                             "--batch=3"))
                results.append((np.load(self.folder / "made.npy").tolist(), score))
            for made, score in results[1:]:
                self.assertEqual(made, results[0][0], name)
                self.assertEqual(score["tokens"], 7 * 15)
                self.assertAlmostEqual(score["nll"], results[0][1]["nll"], delta=1e-5)

    def trace(self, program: Path, *flags) -> list[dict]:
        """The last run's events of rank 0: (row, kind, name, begin, end), in milliseconds."""
        text = self.folder / "text.npy"
        np.save(text, np.random.default_rng(0).integers(0, 300, 6 * 64))
        self.must(program, "score", f"--tokens={text}", "--length=64", "--batch=6",
                  f"--trace={self.folder / 'trace.json'}", *flags)
        events = json.loads((self.folder / "trace.json").read_text())["traceEvents"]
        rows = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
        self.assertEqual({e["args"]["name"] for e in events if e["name"] == "process_name"}, {f"rank {r}" for r in range(3)})
        return [e | {"row": rows[e["pid"], e["tid"]], "end": e["ts"] + e["dur"]} for e in events if e["ph"] == "X"]

    def test_overlap(self):
        """Over a slow link, what is sent goes beside products, or in place between them; the trace shows which."""
        def during(event, others):
            """Time of the event in which any of the others, which do not overlap, was running."""
            return sum(max(0, min(event["end"], o["end"]) - max(event["ts"], o["ts"])) for o in others)

        for rotate in ("out-of-place", "in-place"):
            program = self.compile("llama-gqa-genai", 3, f"--rotate={rotate}")
            shares = []  # of the time in which a transfer could go beside work
            while not shares or rotate == "out-of-place" and shares[-1] <= 0.1 and len(shares) < 5:  # a busy machine
                events = self.trace(program, "--link=10MB/s")
                shares.append(1.0)
                for rank in range(3):
                    mine = [e for e in events if e["pid"] == rank]
                    work = [e for e in mine if e["row"] == "compute" and e["cat"] in ("kernel", "product")]
                    row = "transfers" if rotate == "out-of-place" else "communication"
                    sent = sorted((e for e in mine if e["row"] == row), key=lambda e: e["ts"])
                    self.assertEqual({e["name"] for e in sent}, {"embed", "layers.0.attn", "layers.0.mlp",
                                                                 "layers.1.attn", "layers.1.mlp", "outputs"})
                    for event in sent:  # at the speed of the link
                        self.assertGreaterEqual(event["dur"], 0.99 * event["args"]["bytes"] / 10)
                    for before, after in zip(sent, sent[1:]):
                        self.assertLessEqual(before["end"], after["ts"] + 0.01)
                    beside = sum(during(event, work) for event in sent)
                    possible = min(sum(event["dur"] for event in events) for events in (work, sent))
                    if rotate == "in-place":
                        self.assertLess(beside, 0.01)
                    else:
                        shares[-1] = min(shares[-1], beside / possible)
                        groups = {e["args"]["group"] for e in work if "group" in e.get("args", {})}
                        self.assertIn("layers.0.mlp", groups)
            self.assertGreater(shares[-1], 0.1)  # much less than there is, for busy machines

    def test_stopped_rank(self):
        inputs = batch_of(programs.load(programs.cases(programs.MODELS / "llama-gqa-genai")[0][0]), 4)
        np.savez(self.folder / "in.npz", **inputs)
        for flag in ("--rotate=out-of-place", "--rotate=in-place"):
            program = self.compile("llama-gqa-genai", 4, flag)
            done = self.run_program(program, "infer", f"--inputs={self.folder / 'in.npz'}",
                                    f"--outputs={self.folder / 'out.npz'}", "--timeout=1",
                                    environment={"CAAT_TEST_STOP_RANK": "1@layers.1.mlp"})
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"permute 'layers\.1\.mlp'.* timed out after 1 s .*waiting for rank 1")

    def test_refusals(self):
        def refused(model, *flags, names):
            done = programs.run("caat-compile", model, "--tp=2", "--strategy=rtp", *flags, "-o", self.folder / "no")
            self.assertIn(done.returncode, (1, 2))
            for name in names:
                self.assertIn(name, done.stderr)
        refused(programs.MODELS / "gpt2-op" / "model.onnx", "--plan=plan.json", names=["--plan"])
        refused(programs.MODELS / "gpt2-op" / "model.onnx", "--rotate=sideways", names=["--rotate=sideways"])


if __name__ == "__main__":
    unittest.main()
