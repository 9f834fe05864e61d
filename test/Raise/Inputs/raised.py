#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""raised.py MODELS_DIR MODEL...: what raising makes of each model, one line of ops, one for each kind of mask, one for
each candidate that was missed."""
import collections
import re
import subprocess
import sys
from pathlib import Path

OPS = ("Attention", "RMSNormalization", "LayerNormalization", "RotaryEmbedding", "Gelu", "Swish")


def main():
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        done = subprocess.run(["caat-opt", folder / name / "model.onnx", "--onnx-raise-pipeline", "--remarks-filter=caat"],
                              capture_output=True, text=True, check=True)
        counts = collections.Counter(re.findall(r"= onnx\.(\w+)", done.stdout))
        print(f"{name}: " + ", ".join(f"{counts[op]} {op}" for op in OPS if counts[op]))
        said = collections.Counter()
        for line in done.stderr.splitlines():
            if match := re.search(r"\[Passed\] raise-masks .*Remark=\"(.*)\"", line):
                said[f"mask {match[1]}"] += 1
            elif match := re.search(r"\[Passed\] raise-rotary .*Remark=\"?(.*?)\"?$", line):
                said[match[1]] += 1
            elif match := re.search(r"\[Missed\] (raise-\w+) .*Reason=\"(.*)\"", line):
                said[f"missed {match[1]}: {match[2]}"] += 1
        for text, times in sorted(said.items()):
            print(f"  {times} {text}")


if __name__ == "__main__":
    main()
