#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures what dropping one attention sync point costs, for each layer, and writes sensitivity.json next to this file.

    sensitivity.py [MODEL_DIR] [--tp 3]

Loss (mean negative log-likelihood per token) added on 4 windows of 512 calibration tokens; by simulation, in two minutes.
"""
import argparse
import json
import sys
from pathlib import Path

import simulation

HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=HERE.parents[1] / "build" / "smollm2")
    parser.add_argument("--tp", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "sensitivity.json")
    arguments = parser.parse_args()
    evaluation = simulation.evaluation(arguments.model, arguments.tp, simulation.CALIBRATION)

    def progress(done, total):
        print(f"\rsite {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    added = evaluation.loss_added_by({"sync": "drop"}, "attn", progress)
    result = {"tp": arguments.tp, "tokens": [simulation.CALIBRATION, simulation.CALIBRATION + 4 * simulation.LENGTH],
              "loss_added": {f"layers.{i}.attn": round(loss, 5) for i, loss in enumerate(added)}}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
