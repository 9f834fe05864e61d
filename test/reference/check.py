#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks the judge itself: with every site full it must give the outputs that ONNX Runtime stored, for every N.

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
                difference, what = worst_difference(inputs, want, simulator.run(inputs))
                if not difference < 2e-5:
                    failed += 1
                    print(f"{name} N={ranks} {case.stem}: off by {difference:.2g} {what}")
        print(f"{name}: checked", flush=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
