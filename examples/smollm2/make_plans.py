#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the demo's plans: which sync points of SmolLM2 are dropped, or which of their channels are reduced.

    make_plans.py [MODEL_DIR] [--tp 3] [--out MODEL_DIR/plans] [--check]

Channels are ordered per site by energy, and estimates fitted, on text that the perplexities are not measured on.
--check simulates the plans' perplexities.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import simulation

HERE = Path(__file__).resolve().parent


def say(text):
    print(text, file=sys.stderr, flush=True)


def least_sensitive(count: int) -> list[str]:
    added = json.loads((HERE / "sensitivity.json").read_text())["loss_added"]
    return sorted(added, key=added.get)[:count]


def make_plans(folder: Path, ranks: int, out: Path) -> dict[str, dict]:
    """Plans by name; also writes them, and the estimates they use, to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    calibration = simulation.evaluation(folder, ranks, simulation.CALIBRATION)
    layers = len(calibration.simulator.layers)
    attention = [f"layers.{i}.attn" for i in range(layers)]
    sites = attention + [f"layers.{i}.mlp" for i in range(layers)]
    say("plans: ordering the channels of each site by energy")
    energies = calibration.energies()
    order = {site: np.argsort(-e, kind="stable").tolist() for site, e in energies.items()}
    common = np.argsort(-sum(energies.values()), kind="stable").tolist()

    def partial(names, shared, **more):
        return {s: {"sync": "partial", "shared": shared, **more, "order": order[s]} for s in names}

    plans = {
        "full": {},
        "spd-15": {s: {"sync": "drop"} for s in least_sensitive(15)},
        "spd-all": {s: {"sync": "drop"} for s in attention},
        "deferred-25": partial(attention, 0.25, rest="deferred"),
        "deferred-50": partial(attention, 0.5, rest="deferred"),
        "caat-90": partial(sites, 0.9, rest="private", scale="one"),
    }
    plans = {name: {"version": 1, "tp": ranks, "default": {"sync": "full"}, "sites": sites}
             for name, sites in plans.items()}
    rule = {"sync": "partial", "shared": 0.9, "rest": "private", "scale": "one"}
    plans["caat-90-unordered"] = {"version": 1, "tp": ranks, "default": rule}
    plans["caat-90-common"] = {"version": 1, "tp": ranks, "default": rule | {"order": common}}

    say("plans: fitting affine estimates")
    calibration.ids = simulation.windows(folder, simulation.CALIBRATION, 8)
    calibration.positions = np.broadcast_to(np.arange(simulation.LENGTH), calibration.ids.shape)
    for name in ("spd-all", "deferred-25"):
        estimated = f"{name}-affine"
        save_file(calibration.estimates(plans[name]), out / f"{estimated}.safetensors")
        plans[estimated] = json.loads(json.dumps(plans[name]))
        for entry in plans[estimated]["sites"].values():
            if entry["sync"] == "drop":
                entry |= {"sync": "partial", "shared": 0.0, "rest": "deferred"}
            entry["estimate"] = f"{estimated}.safetensors"
    for name, plan in plans.items():
        (out / f"{name}.json").write_text(json.dumps(plan) + "\n")
    return plans


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", default=HERE.parents[1] / "build" / "smollm2")
    parser.add_argument("--tp", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    out = arguments.out or arguments.model / "plans"
    plans = make_plans(arguments.model, arguments.tp, out)
    say(f"wrote {len(plans)} plans to {out}")
    if arguments.check:
        from plan import Plan
        evaluation = simulation.evaluation(arguments.model, arguments.tp)
        for name in plans:
            plan = Plan.load(out / f"{name}.json", evaluation.simulator.model.hidden, arguments.tp)
            print(f"{name:20} {evaluation.perplexity(plan):8.2f}", flush=True)


if __name__ == "__main__":
    main()
