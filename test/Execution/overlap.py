#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sums beside the work that does not need them: programs with and without, over a link that is slow enough for threads of their
own, and the bits of one against each other.

    overlap.py [MODEL ...] [--tp 2,3] [--tolerance 1e-4]
"""
import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import programs
from plans import Check, same_bits

MODELS = ("llama-gqa-genai", "gpt2-op", "opt-d18")
SLOW = "--link=2GB/s,60us"  # a sum takes longer than waking a thread
ROWS = 200  # more than the parts of a product have


def make_plans(tp: int) -> dict[str, dict]:
    def plan(**default):
        return {"version": 1, "tp": tp, "default": {"sync": "partial", "shared": 0.5, **default}, "sites": {}}

    return {"full": {"version": 1, "tp": tp, "default": {"sync": "full"}},
            "deferred": plan(rest="deferred"),
            "private": plan(rest="private", scale="sqrt"),
            "rounded": plan(rest="deferred", bits=8)}


def many_rows(inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray], rows: int = ROWS) -> tuple[dict, dict]:
    """The same sequences again and again, until the products have more rows than a part."""
    times = -(-rows // inputs["input_ids"].size)
    return tuple({name: np.concatenate([x] * times) if x.ndim else x for name, x in arrays.items()} for arrays in (inputs, outputs))


def started(program: Path) -> int:
    """Sums that the program starts before it waits for them."""
    collectives = json.loads((program / "manifest.json").read_text())["collectives"]
    return sum("parts" in c for c in collectives)


def check_trace(path: Path) -> str:
    events = [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
    kinds = {(e["cat"], e["tid"]) for e in events}
    missing = {("start", 0), ("wait", 0), ("all_reduce", 1)} - kinds
    return f"the trace has no {missing}" if missing else ""


def check_model(check: Check, model: Path, tp: int, folder: Path, tolerance: float):
    inputs, outputs = programs.cases(model)[0]
    arrays, expected = many_rows(programs.load(inputs), programs.load(outputs))
    large = folder / "inputs.npz"
    np.savez(large, **arrays)
    for name, plan in make_plans(tp).items():
        title = f"{model.name} N={tp} {name}"
        try:
            on, off = (programs.compile_model(model, folder / f"{name}-{overlap}", tp, plan, [f"--overlap={overlap}"])
                       for overlap in ("on", "off"))
            # Rounded sums are taken where they stand.
            check.report(f"{title} starts sums", "" if (started(on) or name == "rounded") and not started(off) else
                         f"{started(on)} and {started(off)}")
            for case in (large, inputs):
                trace = folder / "trace.json"
                got = programs.infer(on, case)
                beside = programs.infer(on, case, flags=[SLOW, f"--trace={trace}"])
                check.report(f"{title} {case.stem} beside the work", same_bits(got, beside))
                check.report(f"{title} {case.stem}", check_trace(trace) if name != "rounded" else "")
                want = programs.infer(off, case)
                difference, where = programs.worst_difference(programs.load(case), want, got)
                # Products of other shapes add up in another order; rounding to few bits makes a step of it.
                limit = 0.05 if name == "rounded" else tolerance
                check.report(f"{title} {case.stem} without", f"off by {difference:.2g}: {where}" if not difference <= limit else "")
                if name == "full" and case == large:
                    difference, where = programs.worst_difference(arrays, expected, got)
                    check.report(f"{title} exact", f"off by {difference:.2g}: {where}" if not difference <= tolerance else "")
        except programs.Failed as failure:
            check.report(title, str(failure))


def check_messages(check: Check, model: Path, tp: int, folder: Path):
    """Sums that travel in 16 bits: half the bytes, and results that are off by what rounding to bf16 may do."""
    title = f"{model.name} N={tp} messages in bf16"
    inputs, outputs = programs.cases(model)[0]
    try:
        wide, half = (programs.compile_model(model, folder / f"messages-{kind}", tp, None, [f"--messages={kind}"])
                      for kind in ("f32", "bf16"))
        bytes_of = [[c for c in json.loads((program / "manifest.json").read_text())["collectives"] if ".attn" in c["name"]]
                    for program in (wide, half)]
        check.report(f"{title} are", "" if {c["dtype"] for c in bytes_of[1]} == {"bf16"} and len(bytes_of[0]) == len(bytes_of[1])
                     else str(bytes_of))
        difference, where = programs.worst_difference(programs.load(inputs), programs.load(outputs), programs.infer(half, inputs))
        check.report(title, f"off by {difference:.2g}: {where}" if not 1e-6 < difference <= 0.02 else "")
    except programs.Failed as failure:
        check.report(title, str(failure))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--tp", default="2,3")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    check = Check()
    for name in arguments.models:
        for tp in map(int, arguments.tp.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                check_model(check, programs.MODELS / name, tp, Path(folder), arguments.tolerance)
                check_messages(check, programs.MODELS / name, tp, Path(folder))
        print(f"{name}: done", flush=True)
    print(f"{check.total - check.failed} of {check.total} agree")
    sys.exit(check.failed != 0)


if __name__ == "__main__":
    main()
