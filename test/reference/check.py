#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks the judge itself, for every N: with all sites full it must give the outputs that ONNX Runtime stored, and the
identities that hold for any plan must hold.

    check.py MODELS_DIR [MODEL ...]
"""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import model as reference
from compare import worst_difference
from simulate import Simulator

SUPPORTED = ("mlp-block", "gpt2-op", "opt-d18", "llama-gqa-genai", "llama-mha-d23")


# Plans that change nothing: always, or on one rank.
NEUTRAL = {"shared 1": {"sync": "partial", "shared": 1.0, "rest": "private", "scale": "sqrt"}}
NEUTRAL_ALONE = {"drop": {"sync": "drop"}, "private": {"sync": "partial", "shared": 0.5, "rest": "private"},
                 "deferred": {"sync": "partial", "shared": 0.3, "rest": "deferred"}}


def identities(simulator: Simulator, inputs: dict, exact: dict):
    """(plan, difference) for plans that may not differ from the exact program."""
    plans = NEUTRAL | (NEUTRAL_ALONE if simulator.ranks == 1 else {})
    for name, entry in plans.items():
        yield name, worst_difference(inputs, exact, simulator.run(inputs, {"default": entry}))[0]


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:] or SUPPORTED
    failed = 0
    for name in names:
        loaded = reference.load(folder / name / "model.onnx")
        for ranks in (1, 2, 3, 4, 5):
            simulator = Simulator(loaded, ranks)
            for case in sorted((folder / name).glob("inputs*.npz")):
                inputs = dict(np.load(case))
                want = dict(np.load(case.with_name(case.name.replace("inputs", "outputs"))))
                exact = simulator.run(inputs)
                difference, what = worst_difference(inputs, want, exact)
                if not difference < 2e-5:
                    failed += 1
                    print(f"{name} N={ranks} {case.stem}: off by {difference:.2g} {what}")
                for plan, difference in identities(simulator, inputs, exact) if loaded.family != "mlp" else ():
                    if not difference < 1e-12:
                        failed += 1
                        print(f"{name} N={ranks} {case.stem} plan {plan}: off by {difference:.2g}")
        print(f"{name}: checked", flush=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
