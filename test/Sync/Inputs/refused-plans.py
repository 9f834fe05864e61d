# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Applies plans that must be refused to PROGRAM and prints one line per plan: its name and the error.

    refused-plans.py PROGRAM FOLDER
"""
import json
import os
import subprocess
import sys
from pathlib import Path

program, folder = sys.argv[1], Path(sys.argv[2])


def partial(site="layers.0.attn", **settings):
    return {"version": 1, "sites": {site: {"sync": "partial", "shared": 0.5, **settings}}}


def full(site="layers.0.attn", **settings):
    return {"version": 1, "sites": {site: {"sync": "full", **settings}}}


PLANS = {
    "absent": None,
    "syntax": "{ not json",
    "deep": "[" * 100000,
    "list": [1],
    "heads": {"version": 1, "heads": [[1, 0]]},
    "heads-list": {"version": 1, "heads": {"layers.0.attn": 2}},
    "heads-range": {"version": 1, "heads": {"layers.0.attn": [0, 2]}},
    "heads-repeat": {"version": 1, "heads": {"layers.0.attn": [1, 1]}},
    "no-version": {"tp": 3},
    "version": {"version": 2},
    "key": {"version": 1, "sitse": {}},
    "tp-zero": {"version": 1, "tp": 0},
    "other-tp": {"version": 1, "tp": 4},
    "size": {"version": 1, "tp": 2},
    "site": {"version": 1, "sites": {"layers.9.attn": {"sync": "drop"}}},
    "entry": {"version": 1, "sites": {"layers.0.attn": "drop"}},
    "sync": {"version": 1, "sites": {"layers.0.attn": {"sync": "some"}}},
    "no-sync": {"version": 1, "default": {}},
    "entry-key": partial(shard=1),
    "drop-key": {"version": 1, "sites": {"layers.0.attn": {"sync": "drop", "shared": 0.5}}},
    "no-shared": {"version": 1, "sites": {"layers.0.attn": {"sync": "partial"}}},
    "shared-high": partial(shared=1.5),
    "shared-low": partial(shared=-0.1),
    "shared-text": partial(shared="half"),
    "rest": partial(rest="later"),
    "scale": partial(rest="private", scale="two"),
    "scale-deferred": partial(scale=2),
    "order-range": partial(order=[0, 7]),
    "order-repeat": partial(order=[0, 1, 1]),
    "order-short": partial(order=[1, 0]),
    "order-file": partial(order="absent.npy"),
    "order-parent": partial(order="../order.npy"),
    "order-pipe": partial(order="pipe.npy"),
    "order-item": partial(order=["a"]),
    "drop-bits": {"version": 1, "sites": {"layers.0.attn": {"sync": "drop", "bits": 4}}},
    "bits": full(bits=5),
    "bits-text": partial(bits="four"),
    "block": full(bits=4, block=12),
    "block-large": full(bits=4, block=2048),
    "block-alone": full(block=32),
    "exact": full(bits=4, exact=3),
    "exact-item": full(bits=4, exact=[1.5]),
    "exact-negative": full(bits=4, exact=[-1]),
    "exact-repeat": full(bits=4, exact=[1, 2, 1]),
    "exact-range": full(bits=4, exact=[3, 10]),
    "exact-kept": partial(bits=4, exact=[0, 9]),
    "exact-alone": full(exact=[1]),
    "feedback": full(bits=4, feedback=1),
    "feedback-site": full("layers.1.mlp", bits=4, feedback=True),
    "full-order": full(order=[1, 0]),
    "bits-type": full("layers.2.mlp", bits=4),
    "estimate-private": partial(rest="private", estimate="estimate.safetensors"),
    "estimate-file": partial(estimate="absent.safetensors"),
    "estimate-absolute": partial(estimate="/etc/hostname"),
    "estimate-format": partial(estimate="order.npy"),
    "estimate-input": partial("layers.0.mlp", estimate="estimate.safetensors"),
    "estimate-shape": partial("layers.1.attn", estimate="estimate.safetensors"),
    "estimate-none": partial("layers.1.mlp", estimate="estimate.safetensors"),
    **{f"rank-{fault}": partial(estimate=f"rank-{fault}.safetensors")
       for fault in ("no-metadata", "metadata", "no-v", "no-u", "u-shape", "u-empty", "v-shape", "v-type", "u-infinite")},
    "not-deferrable": {"version": 1, "default": {"sync": "full"}, "sites": {"layers.1.mlp": {"sync": "drop"}}},
}
# The estimate of a site that cannot defer is not looked at: that site comes last and has its own plan.
DEFERRABLE = {"estimate-none"}

os.mkfifo(folder / "pipe.npy")
text = Path(program).read_text()
for name, plan in PLANS.items():
    file = folder / f"{name}.json"
    if plan is not None:
        file.write_text(plan if isinstance(plan, str) else json.dumps(plan))
    source = text.replace(', not_deferrable = "a norm"', "") if name in DEFERRABLE else text
    size = 2 if name == "size" else 3
    done = subprocess.run(["caat-opt", "-", f"--pass-pipeline=builtin.module(tp-apply-plan{{plan={file} size={size}}})"],
                          input=source, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    print(f"{name}: {errors[0].split('error: ', 1)[1] if done.returncode == 1 and errors else 'was not refused'}")
