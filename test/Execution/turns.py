#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Programs that run in two halves which take turns, along their tokens and along their batch, against whole runs.

    turns.py [MODEL ...] [--tp 2,3] [--tolerance 1e-4] [--flags=…] [--link=…]
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import programs
from graphs import Graph, onnxruntime_results, worst
from overlap import make_plans
from plans import Check

# Decoders of several exporters with every kind of plan; experts, an encoder and a vision model exact.
PLANNED = ("llama-gqa-genai", "gpt2-op", "opt-d18", "falcon-mqa-d18-past")
MODELS = (*PLANNED, "mixtral-d18", "sentence-d18", "vit-d18")
SLOW = "--link=1GB/s,30us"
TOKENS = 23  # halves of 12 and 11


def repeated(arrays: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """More rows; what follows from the values of one differs."""
    def more(array: np.ndarray) -> np.ndarray:
        rows = [array] * times
        if array.dtype == np.int64 and array.ndim == 2 and array.max(initial=0) > 1:
            rows = [np.roll(array, i, axis=1) for i in range(times)]
        return np.concatenate(rows)
    return {name: more(x) if x.ndim else x for name, x in arrays.items()}


class Models:
    def __init__(self, check: Check, tolerance: float, flags: list[str], link: str, folder: Path):
        self.check, self.tolerance, self.flags, self.link, self.folder = check, tolerance, flags, link, folder

    def run(self, model: Path, tp: int, plan_name: str, plan: dict):
        title = f"{model.name} N={tp} {plan_name}"
        try:
            program = programs.compile_model(model, self.folder / f"{model.name}-{tp}-{plan_name}", tp, plan,
                                             [*self.flags, "--max-length=64"])
            halves = json.loads((program / "manifest.json").read_text())["halves"]
            if "dim" in halves["batch"]:
                self.rows(f"{title} rows", model, program)
            if "dim" in halves["tokens"]:
                # Rounding to few bits makes steps of differences in the last bit.
                self.tokens(f"{title} tokens", program, 0.02 if plan_name == "rounded" else self.tolerance)
        except programs.Failed as failure:
            self.check.report(title, str(failure))

    def rows(self, title: str, model: Path, program: Path):
        arrays = repeated(programs.load(programs.cases(model)[0][0]), 3)
        case = self.folder / "rows.npz"
        np.savez(case, **arrays)
        whole = programs.infer(program, case, flags=["--halves=off"])
        for link in ([], [self.link]):
            got = programs.infer(program, case, flags=["--halves=on", *link])
            difference, where = programs.worst_difference(arrays, whole, got)
            limit = 0.05 if "rounded" in title else self.tolerance
            self.check.report(f"{title} {' '.join(link)}", "" if difference <= limit else f"off by {difference:.2g}: {where}")

    def tokens(self, title: str, program: Path, tolerance: float):
        random = np.random.default_rng(0)
        vocabulary = json.loads((program / "manifest.json").read_text())["vocabulary"]
        tokens, prompt = self.folder / "tokens.npy", self.folder / "prompt.npy"
        np.save(tokens, random.integers(0, vocabulary, 2 * TOKENS))
        np.save(prompt, random.integers(0, vocabulary, TOKENS))
        results = {}
        for mode in ("off", "on"):
            flags = [f"--halves={mode}", *([self.link] if mode == "on" else [])]
            score = json.loads(programs.must("caat-run", "score", program, f"--tokens={tokens}", f"--length={TOKENS}", *flags))
            programs.must("caat-run", "generate", program, f"--tokens={prompt}", "--max-new-tokens=6", "-o",
                          self.folder / "out.npy", *flags)
            results[mode] = score["nll"], np.load(self.folder / "out.npy")
        (whole, text), (halves, other) = results["off"], results["on"]
        self.check.report(f"{title} score", "" if abs(whole - halves) <= tolerance else f"{halves} instead of {whole}")
        if tolerance == self.tolerance:
            self.check.report(f"{title} generate", "" if np.array_equal(text, other) else f"{other} instead of {text}")


def check_divided_inputs(check: Check, folder: Path, tp: int):
    """Keys and values that are inputs, of which each rank takes its heads: of each half's rows."""
    heads, size, hidden, tokens, keys = 4, 8, 16, 5, 7
    g = Graph(opset=23)
    x = g.input("x", ["batch", tokens, hidden])
    k, v = (g.input(name, ["batch", heads, keys, size]) for name in ("keys", "values"))
    q = g.node("Reshape", [g.node("MatMul", [x, g.weight(hidden, heads * size)]), g.constant(np.array([0, 0, heads, size]))])
    y = g.node("Attention", [g.node("Transpose", [q], perm=[0, 2, 1, 3]), k, v])
    y = g.node("Reshape", [g.node("Transpose", [y], perm=[0, 2, 1, 3]), g.constant(np.array([0, 0, heads * size]))])
    g.node("Add", [x, g.node("MatMul", [y, g.weight(heads * size, hidden)])], ["y"])
    g.output("y", ["batch", tokens, hidden])
    model = g.save(folder / "model.onnx")
    program = programs.compile_model(folder, folder / "program", tp)
    divided = [i["name"] for i in json.loads((program / "manifest.json").read_text())["inputs"] if "shard" in i]
    random = np.random.default_rng(1)
    shapes = {"x": (3, tokens, hidden), "keys": (3, heads, keys, size), "values": (3, heads, keys, size)}
    feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(folder / "in.npz", **feeds)
    got = programs.infer(program, folder / "in.npz", flags=["--halves=on"])
    off, where = worst(onnxruntime_results(model, feeds), got)
    check.report(f"divided inputs N={tp}", f"{divided} are divided; off by {off:.2g}: {where}"
                 if divided != ["keys", "values"] or not off <= 1e-5 else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--tp", default="2,3")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--flags", default="")
    parser.add_argument("--link", default=SLOW)
    arguments = parser.parse_args()
    check = Check()
    for name in arguments.models:
        for tp in map(int, arguments.tp.split(",")):
            plans = make_plans(tp)
            for plan_name, plan in plans.items() if name in PLANNED else [("full", plans["full"])]:
                with tempfile.TemporaryDirectory() as folder:
                    Models(check, arguments.tolerance, arguments.flags.split(), arguments.link, Path(folder)).run(
                        programs.MODELS / name, tp, plan_name, plan)
        print(f"{name}: done", flush=True)
    for tp in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            check_divided_inputs(check, Path(folder), tp)
    print(f"{check.total - check.failed} of {check.total} agree")
    sys.exit(check.failed != 0)


if __name__ == "__main__":
    main()
