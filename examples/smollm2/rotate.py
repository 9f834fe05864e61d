#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensor parallelism against rotated weights: perplexity, memory of a rank, and time over slow links.

    rotate.py MODEL_DIR [--tokens corpus.npy] [--ranks 2,4] [--length 256] [--batch 8] [--skip overlap] [--work DIR]

MODEL_DIR is what export.py makes, corpus.npy what corpus.py makes. Memory is the peak of the process divided by its ranks,
which are its threads: of a run of few tokens without what an almost empty program takes (weights), and of the whole run.
Overlap: the link is chosen so that the transfers of a step take a half, one and two times what its products take. Out of
place a step should take no more than 1.1 times the longer of both, and the longest transfer, beside which there may be no
product (the bound); in place, their sum.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CAAT_BIN", ROOT / "build" / "bin"))
PROGRAMS = {"tp": [], "rtp": ["--strategy=rtp"], "rtp in place": ["--strategy=rtp", "--rotate=in-place"]}
MIB = 2 ** 20


def run(*command) -> tuple[str, float]:
    """(standard output, peak memory in MiB) of a tool."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]}: failed")
    return output, usage.ru_maxrss / 1024


def compile_model(model: Path, ranks: int, name: str, out: Path, length: int) -> dict:
    """What the compiler says of the strategy: MiB of a rank's weights and spare buffers, and sent in a step."""
    text, _ = run(BIN / "caat-compile", model, f"--tp={ranks}", *PROGRAMS.get(name, []), f"--max-length={length}", "-o", out)
    row = re.search(rf"^  {name}  +(.*)$", text, re.MULTILINE)
    if not row:
        return {"weights": float(re.search(r"([\d.]+) MiB of weights", text)[1]), "spare": 0.0, "sends": 0.0}
    sends, _, weights, spare, *_ = map(float, row[1].split())
    return {"weights": weights, "spare": spare, "sends": sends}


def score(program: Path, tokens: Path, length: int, batch: int) -> tuple[dict, float]:
    output, memory = run(BIN / "caat-run", "score", program, f"--tokens={tokens}", f"--length={length}",
                         f"--batch={batch}", "--quiet")
    return json.loads(output), memory


def quality(options, folder: Path):
    """Perplexity and memory."""
    run(sys.executable, ROOT / "examples" / "mlp" / "make_model.py", folder / "mlp")
    run(BIN / "caat-compile", folder / "mlp" / "model.onnx", "--quiet", "-o", folder / "empty")
    _, empty = run(BIN / "caat-run", "infer", folder / "empty", f"--inputs={folder / 'mlp' / 'inputs.npz'}",
                   f"--outputs={folder / 'out.npz'}", "--quiet")
    print(f"{'ranks':>5} {'program':<13} {'perplexity':>10} {'weights MiB a rank':>19} {'computed':>9} {'peak MiB a rank':>16}")
    for ranks, name in [(1, "one rank")] + [(n, name) for n in options.ranks for name in PROGRAMS]:
        program = folder / "program"
        known = compile_model(options.model / "model.onnx", ranks, name, program, options.length)
        whole, peak = score(program, options.tokens, options.length, options.batch)
        np.save(folder / "few.npy", np.load(options.tokens)[:2 * ranks])
        _, few = score(program, folder / "few.npy", 2, ranks)
        print(f"{ranks:>5} {name:<13} {whole['perplexity']:>10.4f} {(few - empty) / ranks:>19.0f} "
              f"{known['weights'] + known['spare']:>9.0f} {peak / ranks:>16.0f}", flush=True)


def overlap(options, folder: Path):
    """Time of a step against those of its products and its transfers."""
    def bench(program: Path, repeats: int, *flags) -> tuple[float, float]:
        """(time of a step, share of waiting for transfers in it)"""
        text, _ = run(BIN / "caat-run", "bench", program, f"--prefill={options.length}", f"--batch={options.batch}",
                      "--decode=0", f"--repeats={repeats}", "--json", "--quiet", *flags)
        prefill = json.loads(text)["prefill"]
        return prefill["seconds"], prefill["share"]["communication"]

    print(f"{'ranks':>5} {'link':>10} {'products s':>10} {'transfers s':>11} {'rtp s':>7} {'bound s':>8} {'in place s':>10} {'sum s':>7}")
    for ranks in options.ranks:
        beside, place, trace = folder / "beside", folder / "place", folder / "trace.json"
        sends = compile_model(options.model / "model.onnx", ranks, "rtp", beside, options.length)["sends"] * MIB
        compile_model(options.model / "model.onnx", ranks, "rtp in place", place, options.length)
        bench(beside, 1, f"--trace={trace}")
        longest = max(e["args"]["bytes"] for e in json.loads(trace.read_text())["traceEvents"] if e.get("cat") == "permute")
        step, waiting = bench(place, options.repeats)
        products = step * (1 - waiting)
        for factor in (0.5, 1, 2):
            speed = sends / (factor * products)
            transfers = sends / speed
            link = f"{speed / 1e6:.0f}MB/s"
            out, _ = bench(beside, options.repeats, f"--link={link}")
            both, _ = bench(place, options.repeats, f"--link={link}")
            print(f"{ranks:>5} {link:>10} {products:>10.3f} {transfers:>11.3f} {out:>7.3f} "
                  f"{1.1 * max(products, transfers) + longest / speed:>8.3f} {both:>10.3f} {products + transfers:>7.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=Path, help="text to score (default: MODEL_DIR/corpus.npy)")
    parser.add_argument("--windows", type=int, default=16, help="of --length tokens, from the start of the text")
    parser.add_argument("--ranks", type=lambda text: [int(n) for n in text.split(",")], default=[2, 4])
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip", choices=["quality", "overlap"])
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        folder = Path(folder)
        text = np.load(options.tokens or options.model / "corpus.npy").reshape(-1)
        options.tokens = folder / "tokens.npy"
        np.save(options.tokens, text[:options.windows * options.length].astype(np.int64))
        if options.skip != "quality":
            quality(options, folder)
        if options.skip != "overlap":
            overlap(options, folder)


if __name__ == "__main__":
    main()
