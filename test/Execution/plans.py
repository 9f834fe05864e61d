#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled plans, and plans that a switchable program reads, against the r-copy simulation; and plans that must change
nothing, bit for bit.

    plans.py [MODEL ...] [--tp 2,3,4] [--tolerance 1e-4]
"""
import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import programs
import model as reference
from plan import Plan
from simulate import Simulator

MODELS = ("llama-gqa-genai", "gpt2-op", "opt-d18")


def make_plans(folder: Path, hidden: int, layers: int, tp: int) -> dict[str, dict]:
    """The lossy plans to test; writes the estimates they name to `folder`."""
    random = np.random.default_rng(1)
    attention = [f"layers.{i}.attn" for i in range(layers)]
    last = layers - 1

    def order():
        return random.permutation(hidden).tolist()

    estimates = {}
    for site in attention:
        estimates[f"{site}.a"] = random.normal(1.5, 0.3, (tp, hidden)).astype(np.float32)
        estimates[f"{site}.b"] = random.normal(0, 0.1, (tp, hidden)).astype(np.float32)
    deferred = {}
    for site in attention:
        deferred[site] = {"sync": "partial", "shared": 0.25, "rest": "deferred", "order": order(),
                          "estimate": "estimate.safetensors"}
        reduced = deferred[site]["order"][:int(0.25 * hidden)]
        estimates[f"{site}.a"][:, reduced], estimates[f"{site}.b"][:, reduced] = 1, 0
    save_file(estimates, folder / "estimate.safetensors")
    sites = {
        "drop-attention": {site: {"sync": "drop"} for site in attention},
        "deferred-estimate": deferred,
        "mix": {"layers.0.attn": {"sync": "drop"},
                "layers.0.mlp": {"sync": "partial", "shared": 0.4, "rest": "deferred", "order": order()},
                f"layers.{last}.attn": {"sync": "partial", "shared": 0.33, "rest": "private", "scale": 0.7,
                                        "order": order()},
                f"layers.{last}.mlp": {"sync": "partial", "shared": 0.5, "rest": "deferred"}},
    }
    plans = {name: {"version": 1, "tp": tp, "default": {"sync": "full"}, "sites": s} for name, s in sites.items()}
    plans["private-sqrt"] = {"version": 1, "tp": tp, "default":
                             {"sync": "partial", "shared": 0.5, "rest": "private", "scale": "sqrt"}, "sites": {}}
    plans["low-rank"] = {"version": 1, "tp": tp, "sites": low_rank_sites(random, attention, tp, hidden, folder)}
    return plans


def low_rank_sites(random, sites: list[str], tp: int, hidden: int, folder: Path) -> dict:
    """Dropped sites whose readers see an estimate from what is pending, the module's input, or both, in turn."""
    tensors, metadata = {}, {}
    for i, site in enumerate(sites):
        feature = ("pending+input", "input", "pending")[i % 3]
        metadata[f"{site}.f"] = feature
        tensors[f"{site}.u"] = random.normal(0, 0.3, (tp, hidden, 3)).astype(np.float32)
        tensors[f"{site}.v"] = random.normal(0, 0.1, (tp, 3, hidden * (1 + ("+" in feature)))).astype(np.float32)
        if i % 2 == 0:
            tensors[f"{site}.a"] = np.ones((tp, hidden), np.float32)
    save_file(tensors, folder / "low-rank.safetensors", metadata)
    return {site: {"sync": "drop", "estimate": "low-rank.safetensors"} for site in sites}


def make_rounding_plans(hidden: int, layers: int, tp: int) -> dict[str, dict]:
    """Plans with few bits on the wire: everywhere, with exact channels and an order, beside other policies, and behind the last
    site, where nothing may stay pending."""
    random = np.random.default_rng(2)
    last = f"layers.{layers - 1}.mlp"

    def plan(default: dict, **sites):
        return {"version": 1, "tp": tp, "default": default, "sites": sites}

    order = random.permutation(hidden).tolist()
    half = order[:hidden // 2]
    return {
        "4-bits": plan({"sync": "full", "bits": 4}),
        "3-bits-exact": plan({"sync": "full", "bits": 3, "block": 16, "exact": [5, 1], "order": order}),
        "8-bits-lost": plan({"sync": "full", "bits": 8, "feedback": False}),
        "mixed-bits": plan({"sync": "partial", "shared": 0.5, "bits": 4, "block": 8, "exact": half[:3], "order": order},
                           **{"layers.0.attn": {"sync": "drop"},
                              "layers.0.mlp": {"sync": "partial", "shared": 0.5, "rest": "private", "bits": 3, "order": order},
                              last: {"sync": "partial", "shared": 0.25, "bits": 8, "feedback": False}}),
    }


def check_heads(check, model: Path, loaded, tp: int, folder: Path, tolerance: float):
    """Heads dealt out in another order: nothing changes where all is summed, and the simulation knows what else does."""
    if tp > loaded.kv_heads:
        return
    heads = {"layers.0.attn": list(reversed(range(loaded.kv_heads))),
             f"layers.{len(loaded.layers) - 1}.attn": [*range(1, loaded.kv_heads), 0]}
    simulator = Simulator(loaded, tp, heads=heads)
    plain = Simulator(loaded, tp)
    for name, default in (("full", {"sync": "full"}), ("drop", {"sync": "drop"})):
        plan = {"version": 1, "tp": tp, "sites": {site: default for site in heads}, "heads": heads}
        title = f"{model.name} N={tp} heads, {name}"
        try:
            program = programs.compile_model(model, folder / f"heads-{name}", tp, plan)
            file = program.with_suffix(".plan.json")
            switchable = programs.compile_model(model, folder / f"heads-{name}-switchable", tp, flags=["--switchable", f"--heads={file}"])
            for inputs, _ in programs.cases(model):
                arrays = programs.load(inputs)
                want = simulator.run(arrays, plan)
                for what, got in (("compiled", programs.infer(program, inputs)),
                                  ("switchable", programs.infer(switchable, inputs, flags=[f"--plan={file}"]))):
                    difference, where = programs.worst_difference(arrays, want, got)
                    check.report(f"{title} {inputs.stem} {what}",
                                 f"off by {difference:.2g}: {where}" if not difference <= tolerance else "")
                other, _ = programs.worst_difference(arrays, want, plain.run(arrays, plan))
                check.report(f"{title} {inputs.stem} differs from heads as they are", f"by {other:.2g}"
                             if (other > 10 * tolerance) != (name == "drop") else "")
            refused = programs.run("caat-run", "infer", folder / "switchable", f"--inputs={inputs}", f"--outputs={folder / 'x.npz'}",
                                   f"--plan={file}")
            check.report(f"{title} on another program", "" if refused.returncode == 1 and "--heads" in refused.stderr else refused.stderr)
        except programs.Failed as problem:
            check.report(title, str(problem))


NEUTRAL = {
    "full": {"version": 1, "default": {"sync": "full"}},
    "all-deferred": {"version": 1, "default": {"sync": "partial", "shared": 1.0, "rest": "deferred"}},
    "all-private": {"version": 1, "default": {"sync": "partial", "shared": 1.0, "rest": "private", "scale": "sqrt"}},
}


class Check:
    """Counts and prints what differs."""

    def __init__(self):
        self.total = self.failed = 0

    def report(self, name: str, problem: str = ""):
        self.total += 1
        if problem:
            self.failed += 1
            print(f"{name}: {problem}", flush=True)


def same_bits(first: dict, second: dict) -> str:
    different = [k for k in first if k not in second or first[k].tobytes() != second[k].tobytes()]
    return f"not the same bits: {', '.join(different)}" if different else ""


def check_lossy(check: Check, model: Path, loaded, tp: int, folder: Path, tolerance: float):
    simulator = Simulator(loaded, tp)
    switchable = programs.compile_model(model, folder / "switchable", tp, flags=["--switchable"])
    exact = {inputs: simulator.run(programs.load(inputs)) for inputs, _ in programs.cases(model)}
    for name, plan in make_plans(folder, loaded.hidden, len(loaded.layers), tp).items():
        title = f"{model.name} N={tp} {name}"
        try:
            program = programs.compile_model(model, folder / name, tp, plan)
            for inputs, _ in programs.cases(model):
                arrays = programs.load(inputs)
                want = simulator.run(arrays, Plan(plan, loaded.hidden, tp, folder))
                got = programs.infer(program, inputs)
                difference, where = programs.worst_difference(arrays, want, got)
                check.report(f"{title} {inputs.stem}",
                             f"off by {difference:.2g}: {where}" if not difference <= tolerance else "")
                got = programs.infer(switchable, inputs, flags=[f"--plan={program.with_suffix('.plan.json')}"])
                difference, where = programs.worst_difference(arrays, want, got)
                check.report(f"{title} {inputs.stem} switchable",
                             f"off by {difference:.2g}: {where}" if not difference <= tolerance else "")
                # A plan that the compiler ignored would pass if it cost nothing: make sure that it does.
                cost, _ = programs.worst_difference(arrays, exact[inputs], want)
                check.report(f"{title} {inputs.stem}", "" if cost > 10 * tolerance else "the plan changes nothing")
        except programs.Failed as failure:
            check.report(title, str(failure))


def root_mean_square(first: dict, second: dict) -> float:
    differences = np.concatenate([(first[name].astype(np.float64) - second[name]).ravel() for name in first])
    return float(np.sqrt(np.mean(differences[np.isfinite(differences)] ** 2)))


def check_rounding(check: Check, model: Path, loaded, tp: int, folder: Path, tolerance: float):
    """Against the simulation in f32. A value that lies between two steps, as sums of rounded ones often do because scales have three
    bits, is rounded to either by the least difference before it: a step too many or too few is a small part of what the plan
    changes, another algorithm is not. Half of it tells them apart; most cases agree to the last step."""
    simulator = Simulator(loaded, tp, np.float32)
    exact = {inputs: simulator.run(programs.load(inputs)) for inputs, _ in programs.cases(model)}
    for name, plan in make_rounding_plans(loaded.hidden, len(loaded.layers), tp).items():
        title = f"{model.name} N={tp} {name}"
        try:
            program = programs.compile_model(model, folder / name, tp, plan)
            for inputs, _ in programs.cases(model):
                arrays = programs.load(inputs)
                want = simulator.run(arrays, Plan(plan, loaded.hidden, tp, folder))
                got = programs.infer(program, inputs)
                difference, where = programs.worst_difference(arrays, want, got)
                cost = root_mean_square(exact[inputs], want)
                off = root_mean_square(want, got)
                check.report(f"{title} {inputs.stem}", "" if difference <= tolerance or off < cost / 2 else
                             f"off by {difference:.2g}: {where}; in the mean by {off:.2g}, the plan changes {cost:.2g}")
                check.report(f"{title} {inputs.stem}", "" if cost > tolerance else "the plan changes nothing")
                check.report(f"{title} {inputs.stem} twice", same_bits(got, programs.infer(program, inputs)))
        except programs.Failed as failure:
            check.report(title, str(failure))


def check_neutral(check: Check, model: Path, tp: int, folder: Path):
    plain = {}
    try:
        program = programs.compile_model(model, folder / "plain", tp)
        plain = {inputs: programs.infer(program, inputs) for inputs, _ in programs.cases(model)}
        for inputs in plain:
            check.report(f"{model.name} N={tp} {inputs.stem} twice", same_bits(plain[inputs],
                                                                             programs.infer(program, inputs)))
        for name, plan in NEUTRAL.items():
            program = programs.compile_model(model, folder / name, tp, plan)
            for inputs in plain:
                check.report(f"{model.name} N={tp} {name} {inputs.stem}",
                             same_bits(plain[inputs], programs.infer(program, inputs)))
    except programs.Failed as failure:
        check.report(f"{model.name} N={tp} neutral plans", str(failure))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--tp", default="2,3,4")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    check = Check()
    for name in arguments.models:
        model = programs.MODELS / name
        loaded = reference.load(model / "model.onnx")
        for tp in map(int, arguments.tp.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                check_lossy(check, model, loaded, tp, Path(folder), arguments.tolerance)
                check_rounding(check, model, loaded, tp, Path(folder), arguments.tolerance)
                check_neutral(check, model, tp, Path(folder))
                check_heads(check, model, loaded, tp, Path(folder), arguments.tolerance)
        print(f"{name}: done", flush=True)
    print(f"{check.total - check.failed} of {check.total} agree")
    sys.exit(check.failed != 0)


if __name__ == "__main__":
    main()
