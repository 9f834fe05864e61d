#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every model of a folder through caat-compile and caat-run, against the outputs that ONNX Runtime stored.

    zoo.py [MODELS_DIR] [--tp 1,2,3,4] [--only a,b] [--flags=--strategy=rtp] [--tolerance 1e-4]

Prints a line a model, and at the end how many (model, case, N) agree. Masked positions are left out. CAAT_BIN names the
folder of the tools.
"""
import argparse
import sys
import tempfile
from pathlib import Path

import programs


def check(model: Path, tp: int, flags, tolerance: float) -> list[str]:
    """One text for each case that does not agree."""
    cases, wrong = programs.cases(model), []
    with tempfile.TemporaryDirectory() as folder:
        try:
            program = programs.compile_model(model, Path(folder, "program"), tp, flags=flags)
        except programs.Failed as failure:
            return [f"N={tp} {failure}"] * len(cases)
        for inputs, outputs in cases:
            name = f"N={tp} {inputs.stem}"
            try:
                got = programs.infer(program, inputs)
            except programs.Failed as failure:
                wrong.append(f"{name} {failure}")
                continue
            difference, where = programs.worst_difference(programs.load(inputs), programs.load(outputs), got)
            if not difference <= tolerance:
                wrong.append(f"{name} off by {difference:.2g}: {where}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="?", default=programs.MODELS)
    parser.add_argument("--tp", default="1,2,3,4")
    parser.add_argument("--only")
    parser.add_argument("--flags", default="", help="more flags for caat-compile")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    total = failed = 0
    for model in sorted(p.parent for p in arguments.models.glob("*/model.onnx")):
        if arguments.only and model.name not in arguments.only.split(","):
            continue
        wrong = []
        for tp in map(int, arguments.tp.split(",")):
            wrong += check(model, tp, arguments.flags.split(), arguments.tolerance)
            total += len(programs.cases(model))
        failed += len(wrong)
        print(model.name, "ok" if not wrong else "\n  " + "\n  ".join(dict.fromkeys(wrong)), flush=True)
    print(f"{total - failed} of {total} agree")
    sys.exit(failed != 0 or total == 0)


if __name__ == "__main__":
    main()
