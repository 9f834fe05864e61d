#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""GPU kernels of usual widths, emulated, against the CPU's: rows of more than a warp, in several rounds, of several blocks, in 16 bits, and
attention over more keys than a chunk has. The stored models are too small for that.

    emulated_wide.py [--tolerance 1e-5]
"""
import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import large
import programs

# (hidden, ffn, type of the matrices): a multiple of everything; neither a multiple of a round nor of four; rows of three blocks, the last
# not full.
SHAPES = ((1280, 2048, "f32"), (640, 1802, "f32"), (256, 5632, "f32"), (256, 5632, "bf16"))
# What rounding activations to bf16, which only GPUs' programs do, may change.
BF16_TOLERANCE = 0.03
# (batch, tokens, past): a prompt, a token behind many (three chunks of keys), a few tokens of two rows.
STEPS = ((2, 5, 3), (1, 1, 150), (2, 3, 70))


def inputs_of(hidden: int, batch: int, tokens: int, past: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    arrays = {"input_ids": random.integers(0, 500, (batch, tokens)),
              "attention_mask": np.ones((batch, past + tokens), np.int64)}
    for part in ("key", "value"):
        arrays[f"past_key_values.0.{part}"] = random.normal(size=(batch, hidden // 128, past, 128)).astype(np.float32)
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tolerance", type=float, default=1e-5)
    arguments = parser.parse_args()
    failed = 0
    for hidden, ffn, dtype in SHAPES:
        tolerance = arguments.tolerance if dtype == "f32" else BF16_TOLERANCE
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            large.llama(folder / "model", 1, hidden, ffn, 515, True, length=256)
            typed = [] if dtype == "f32" else [f"--dtype={dtype}"]
            compiled = [programs.compile_model(folder / "model", folder / name, 1, flags=["--max-length=256", *typed, *flags])
                        for name, flags in (("cpu", []), ("gpu", ["--target=cuda", "--emulate"]))]
            for batch, tokens, past in STEPS:
                case = folder / f"inputs-{batch}-{tokens}-{past}.npz"
                np.savez(case, **inputs_of(hidden, batch, tokens, past))
                want, got = (programs.infer(program, case) for program in compiled)
                # Of the largest value: the random model's logits are small.
                worst = max(float(np.abs(got[name] - want[name]).max() / np.abs(want[name]).max()) for name in want)
                good = worst <= tolerance
                failed += not good
                print(f"hidden {hidden}, ffn {ffn}, {dtype}, {batch} x {tokens} tokens behind {past}: {worst:.2g}{'' if good else ' WRONG'}", flush=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
