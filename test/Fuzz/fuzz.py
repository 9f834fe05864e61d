#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the fuzz targets: first every input that once failed (crashes/), then new ones from generated seeds.

    fuzz.py SafeTensors Model …                    the same inputs each time, about two minutes for all targets
    fuzz.py --seconds=120 SafeTensors Model …      all in turn, for 120 s together, other inputs each time
    fuzz.py --seconds=1200 --corpus=DIR Model      a long run that keeps what it finds interesting in DIR/Model
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import seeds

BIN = Path(os.environ.get("CAAT_BIN", Path(__file__).resolve().parents[2] / "build" / "bin"))
CRASHES = Path(__file__).resolve().parent / "crashes"
SHARE = {"Model": 4, "Module": 3, "Plan": 1.5}  # of the time; others have 1
# Inputs of a run that is the same each time: about ten seconds a target, more where much is behind it.
RUNS = {"Npy": 100000, "Npz": 100000, "SafeTensors": 40000, "Manifest": 25000, "Plan": 50000, "ExternalData": 50000,
        "Model": 15000, "Module": 40000}
LIMITS = ["-timeout=20", "-rss_limit_mb=2500", "-malloc_limit_mb=1024", "-max_len=65536", "-detect_leaks=0"]


def run(target, arguments, limit):
    """The target's exit status and its output, of which it writes much; -9 where it had to be ended."""
    command = [BIN / f"caat-fuzz-{target}", *LIMITS, *map(str, arguments)]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, errors="replace",
                              text=True)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return -9, (late.stdout or b"").decode(errors="replace")


def fuzz(target, seconds, corpus, artifacts, seed):
    """Runs for `seconds`, or where it is None RUNS inputs. What failed, or None."""
    known = sorted((CRASHES / target).glob("*"))
    if known:
        status, output = run(target, known, 120)
        if status:
            print(output[-6000:])
            return f"{target}: an input of {CRASHES / target} fails again"
    start = time.monotonic()
    length = f"-max_total_time={seconds}" if seconds else f"-runs={RUNS[target]}"
    status, output = run(target, [length, f"-seed={seed}", f"-artifact_prefix={artifacts}/{target}-",
                                  "-print_final_stats=1", "-use_value_profile=0", corpus], (seconds or 200) + 90)
    runs = [line.split()[-1] for line in output.splitlines() if "number_of_executed_units" in line]
    print(f"{target}: {runs[0] if runs else '?'} runs in {time.monotonic() - start:.0f} s, {len(known)} known inputs, "
          f"corpus {len(list(corpus.iterdir()))}", flush=True)
    if status:
        print(output[-6000:])
        return f"{target}: failed, see above; the input is in {artifacts}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, help="time for all targets; default: a number of inputs for each")
    parser.add_argument("--corpus", type=Path, help="kept folder; default: seeds in a temporary one")
    parser.add_argument("--artifacts", type=Path, help="where failing inputs go; default: the working directory")
    parser.add_argument("--seed", type=int, help="default: 1, or with --seconds the time of day")
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args()
    artifacts = options.artifacts or Path.cwd()
    artifacts.mkdir(parents=True, exist_ok=True)
    failures = []
    seed = options.seed or (int(time.time()) if options.seconds else 1)
    with tempfile.TemporaryDirectory() as temporary:
        shares = {target: SHARE.get(target, 1) for target in options.targets}
        for target in options.targets:
            corpus = (options.corpus or Path(temporary)) / target
            corpus.mkdir(parents=True, exist_ok=True)
            count = seeds.write(target, corpus, BIN)
            if count == 0:
                failures.append(f"{target}: no seeds")
                continue
            seconds = options.seconds and max(2, int(options.seconds * shares[target] / sum(shares.values())))
            failure = fuzz(target, seconds, corpus, artifacts, seed)
            if failure:
                failures.append(failure)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
