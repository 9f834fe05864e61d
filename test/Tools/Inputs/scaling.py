# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that four times the nodes take about four times as long: scaling.py MODEL.onnx FOLDER

Processor time of caat-opt beyond its start, the best of several runs, through import, raising, sharding and synchronisation.
A stage that looks at all of the program for each part of it would take sixteen times as long.
"""
import os
import resource
import subprocess
import sys

import repeat_layers

SMALL, LARGE, BOUND = 10000, 40000, 7.5


def seconds(*arguments):
    best = float("inf")
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["caat-opt", *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def main():
    model, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    paths = {}
    for nodes in (SMALL, LARGE):
        paths[nodes] = os.path.join(folder, f"{nodes}.onnx")
        repeat_layers.make(model, paths[nodes], nodes=nodes)
    start = seconds("--version")
    failed = False
    for arguments in (["--tp-check=size=2"], ["--tp-pipeline=size=2", "-o", os.devnull]):
        small, large = (seconds(paths[nodes], *arguments) - start for nodes in (SMALL, LARGE))
        ratio = large / max(small, 1e-3)
        print(f"{arguments[0]}: {SMALL} nodes {small:.3f} s, {LARGE} nodes {large:.3f} s: {ratio:.2f} times")
        failed |= ratio > BOUND
    sys.exit(f"more than {BOUND} times for {LARGE // SMALL} times the nodes" if failed else 0)


if __name__ == "__main__":
    main()
