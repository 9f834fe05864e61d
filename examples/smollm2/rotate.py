#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensor parallelism against rotated weights: perplexity, peak memory of a rank, and time over a slow link.

    rotate.py MODEL_DIR [--ranks 2,4] [--length 256] [--batch 4] [--link 1GB/s,5us] [--work DIR]

MODEL_DIR is what export.py makes. Memory is the peak of the process divided by its ranks, which are its threads.
"""
import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CAAT_BIN", ROOT / "build" / "bin"))
PROGRAMS = {"tp": [], "rtp": ["--strategy=rtp"], "rtp in place": ["--strategy=rtp", "--rotate=in-place"]}


def run(*command) -> tuple[str, float]:
    """(standard output, peak memory in MiB) of a tool."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]}: failed")
    return output, usage.ru_maxrss / 1024


def score(program: Path, tokens: Path, options, link="") -> dict:
    output, memory = run(BIN / "caat-run", "score", program, f"--tokens={tokens}", f"--length={options.length}",
                         f"--batch={options.batch}", f"--samples={2 * options.batch}", "--quiet",
                         *([f"--link={link}"] if link else []))
    return json.loads(output) | {"memory": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--ranks", default="2,4")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--link", default="1GB/s,5us")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        folder = Path(folder)
        corpus = options.model / "corpus.npy"
        ids = np.load(corpus) if corpus.exists() else np.random.default_rng(0).integers(0, 49152, 100000)
        np.save(folder / "tokens.npy", ids.reshape(-1)[:2 * options.batch * options.length].astype(np.int64))
        print(f"{'ranks':>5} {'program':<14} {'perplexity':>10} {'MiB a rank':>10} {'s':>8} {'s on ' + options.link:>16}")
        cases = [(1, "one rank")] + [(n, name) for n in map(int, options.ranks.split(",")) for name in PROGRAMS]
        for ranks, name in cases:
            program = folder / "program"
            run(BIN / "caat-compile", options.model / "model.onnx", f"--tp={ranks}", *PROGRAMS.get(name, []), "--quiet",
                f"--max-length={options.length}", "-o", program)
            fast = score(program, folder / "tokens.npy", options)
            slow = score(program, folder / "tokens.npy", options, options.link)
            print(f"{ranks:>5} {name:<14} {fast['perplexity']:>10.4f} {fast['memory'] / ranks:>10.0f} "
                  f"{fast['seconds']:>8.2f} {slow['seconds']:>16.2f}", flush=True)


if __name__ == "__main__":
    main()
