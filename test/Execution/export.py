#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What `caat-opt -o rank-%r.onnx` writes: valid files, whose ranks in lockstep give the original's outputs, and under a plan those
of the r-copy simulation; the compiled program gives the same.

    export.py [MODELS_DIR] [--tp 1,2,3] [--only a,b] [--no-compile]
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented
from safetensors.numpy import save_file

import programs
from copies import Copies
from lockstep import Ranks
from plan import Plan


def export(model: Path, out: Path, tp: int, plan: dict | None = None, flags=()) -> list[Path]:
    """One checked file for each rank."""
    option = f"size={tp}"
    if plan is not None:
        file = out.with_suffix(".plan.json")
        file.write_text(json.dumps(plan))
        option += f" plan={file}"
    programs.must("caat-opt", model / "model.onnx", f"--tp-pipeline={option}", *flags, "-o", out / "rank-%r.onnx")
    paths = [out / f"rank-{rank}.onnx" for rank in range(tp)]
    for path in paths:
        onnx.checker.check_model(path, full_check=True)
    return paths


def runnable(paths: list[Path], model: Path, out: Path, tp: int, plan: dict | None = None) -> Ranks:
    """The ranks; written in older operators where ONNX Runtime has not got the newest."""
    try:
        return Ranks(paths)
    except NotImplemented:
        return Ranks(export(model, out, tp, plan, ["--onnx-lower-opset=opset=22"]))


def make_plans(copies: Copies, folder: Path, tp: int) -> dict[str, dict]:
    """Lossy plans for the sites that the model has. Estimates go to `folder`."""
    random = np.random.default_rng(tp)
    sites = list(copies.sites)
    attention = [s for s in sites if s.endswith(".attn")] or sites[:1]
    width = copies.width

    def order():
        return random.permutation(width).tolist()

    deferred = {s: {"sync": "partial", "shared": 0.25, "rest": "deferred", "order": order()} for s in attention}
    estimates, estimated = {}, {}
    for site in attention:
        estimates[f"{site}.a"] = random.normal(1.3, 0.2, (tp, width)).astype(np.float32)
        estimates[f"{site}.b"] = random.normal(0, 0.1, (tp, width)).astype(np.float32)
        reduced = deferred[site]["order"][:int(0.25 * width)]
        estimates[f"{site}.a"][:, reduced], estimates[f"{site}.b"][:, reduced] = 1, 0
        estimated[site] = deferred[site] | {"estimate": "estimate.safetensors"}
    save_file(estimates, folder / "estimate.safetensors")
    mixed = {}
    for i, site in enumerate(sites):
        mixed[site] = [{"sync": "drop"}, {"sync": "partial", "shared": 0.4, "rest": "deferred", "order": order()},
                       {"sync": "partial", "shared": 0.33, "rest": "private", "scale": 0.7, "order": order()},
                       {"sync": "full"}, {"sync": "partial", "shared": 0.5, "rest": "private", "scale": "sqrt"}][i % 5]
    def allowed(site: str, entry: dict) -> dict:
        """A site whose stream is normalised before the next can be private where others defer, if outputs allow it."""
        defers = entry["sync"] == "drop" or entry.get("rest") == "deferred"
        if defers and not copies.sites[site].defers:
            entry = {"shared": 0, "order": order()} | entry | {"sync": "partial", "rest": "private"}
        return {"sync": "full"} if entry.get("rest") == "private" and not copies.may_be_private else entry

    plans = {"drop-attention": {s: {"sync": "drop"} for s in attention}, "deferred": deferred,
             "estimated": estimated, "mixed": mixed}
    if not all(site.defers for site in copies.sites.values()):
        del plans["estimated"]
    plans = {name: {s: allowed(s, e) for s, e in entries.items()} for name, entries in plans.items()}
    return {name: {"version": 1, "tp": tp, "sites": entries} for name, entries in plans.items()
            if any(e["sync"] != "full" for e in entries.values())}


def is_lossy(plan: dict, copies: Copies) -> bool:
    """A site behind which all must be equal sends what others would defer."""
    return any(e["sync"] != "full" and not (copies.sites[s].flushes and e.get("rest") != "private")
               for s, e in plan["sites"].items())


class Check:
    def __init__(self, tolerance: float):
        self.tolerance, self.total, self.failed, self.worst = tolerance, 0, 0, 0.0

    def report(self, title: str, problem: str = ""):
        self.total += 1
        self.failed += bool(problem)
        if problem:
            print(f"{title}: {problem}", flush=True)

    def same(self, title: str, inputs: dict, want: dict, got: dict):
        difference, where = programs.worst_difference(inputs, want, got)
        self.worst = max(self.worst, difference if np.isfinite(difference) else 0)
        self.report(title, "" if difference <= self.tolerance else f"off by {difference:.2g}: {where}")


def check_refusals(check: Check, model: Path, copies: Copies, folder: Path, tp: int):
    """What may not defer, or not be private, is refused with the reason."""
    refused = [({"sync": "drop"}, s.name, f"site {s.name} cannot defer: ") for s in copies.sites.values() if not s.defers][:1]
    if not copies.may_be_private:
        refused += [({"sync": "partial", "shared": 0.5, "rest": "private"}, s, "must be equal on all ranks") for s in copies.sites][:1]
    for entry, site, message in refused:
        file = folder / "refused.json"
        file.write_text(json.dumps({"version": 1, "tp": tp, "sites": {site: entry}}))
        done = programs.run("caat-opt", model / "model.onnx", f"--tp-pipeline=size={tp} plan={file}", "-o", folder / "%r.onnx")
        good = done.returncode == 1 and message in done.stderr
        check.report(f"{model.name} N={tp} {site}", "" if good else f"{entry} is not refused: {done.stderr[:200]}")


def check_plans(check: Check, model: Path, exact: Ranks, folder: Path, tp: int, compiles: bool):
    copies = Copies(exact)
    if not copies.sites:
        return
    check_refusals(check, model, copies, folder, tp)
    for name, plan in make_plans(copies, folder, tp).items():
        title = f"{model.name} N={tp} {name}"
        try:
            ranks = runnable(export(model, folder / name, tp, plan), model, folder / f"{name}-older", tp, plan)
            compiled = programs.compile_model(model, folder / f"{name}-compiled", tp, plan) if compiles else None
        except programs.Failed as failure:
            check.report(title, str(failure))
            continue
        for case, _ in programs.cases(model):
            inputs = programs.load(case)
            want = copies.run(inputs, Plan(plan, copies.width, tp, folder))
            check.same(f"{title} {case.stem} in lockstep", inputs, want, ranks.run(inputs))
            if compiles:
                check.same(f"{title} {case.stem} compiled", inputs, want, programs.infer(compiled, case))
            # A plan that everything ignored would pass if it cost nothing.
            cost, _ = programs.worst_difference(inputs, exact.run(inputs), want)
            if is_lossy(plan, copies):
                check.report(f"{title} {case.stem}", "" if cost > 10 * check.tolerance else "the plan changes nothing")
            else:
                check.report(f"{title} {case.stem}", "" if cost <= check.tolerance else "the plan changes the result")


def check_again(check: Check, model: Path, path: Path, folder: Path):
    """A file that was written is read again; what is written then gives the same outputs."""
    again = folder / "again"
    again.mkdir()
    (again / "model.onnx").write_bytes(path.read_bytes())
    data = path.with_name(path.name + ".data")
    if data.exists():
        (again / data.name).write_bytes(data.read_bytes())
    ranks = runnable(export(again, folder / "written-again", 1), again, folder / "written-again-older", 1)
    for case, outputs in programs.cases(model):
        inputs = programs.load(case)
        check.same(f"{model.name} twice {case.stem}", inputs, programs.load(outputs), ranks.run(inputs))


def check_older(check: Check, model: Path, folder: Path, tp: int):
    """The same in operators of opset 18, which the raised ones are newer than."""
    paths = export(model, folder / "older", tp, flags=["--onnx-lower-opset=opset=18"])
    opset = max(o.version for o in onnx.load(paths[0], load_external_data=False).opset_import if o.domain == "")
    check.report(f"{model.name} N={tp} lowered", "" if opset <= 18 else f"needs opset {opset}")
    ranks = Ranks(paths)
    for case, outputs in programs.cases(model):
        inputs = programs.load(case)
        check.same(f"{model.name} N={tp} {case.stem} lowered", inputs, programs.load(outputs), ranks.run(inputs))


def check_model(check: Check, model: Path, tp: int, compiles: bool):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            paths = export(model, folder / "exact", tp)
            exact = runnable(paths, model, folder / "exact-older", tp)
            for case, outputs in programs.cases(model):
                inputs = programs.load(case)
                check.same(f"{model.name} N={tp} {case.stem}", inputs, programs.load(outputs), exact.run(inputs))
            if tp == 1:
                check_again(check, model, paths[0], folder)
            else:
                # A rank's file is a model like any other; its collectives travel.
                programs.must("caat-opt", paths[-1], "--onnx-raise-pipeline", "-o", folder / "rank.onnx")
                onnx.checker.check_model(folder / "rank.onnx", full_check=True)
                if tp == 2:
                    check_older(check, model, folder, tp)
                check_plans(check, model, exact, folder, tp, compiles)
        except programs.Failed as failure:
            check.report(f"{model.name} N={tp}", str(failure))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="?", default=programs.MODELS)
    parser.add_argument("--tp", default="1,2,3")
    parser.add_argument("--only")
    parser.add_argument("--no-compile", action="store_true", help="only the files, not the compiled programs")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    check = Check(arguments.tolerance)
    for model in sorted(p.parent for p in arguments.models.glob("*/model.onnx")):
        if arguments.only and model.name not in arguments.only.split(","):
            continue
        before = check.failed
        for tp in map(int, arguments.tp.split(",")):
            check_model(check, model, tp, not arguments.no_compile)
        print(model.name, "ok" if check.failed == before else "FAILED", flush=True)
    print(f"{check.total - check.failed} of {check.total} agree, the worst within {check.worst:.2g}")
    sys.exit(check.failed != 0 or check.total == 0)


if __name__ == "__main__":
    main()
