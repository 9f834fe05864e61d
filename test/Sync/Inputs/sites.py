#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""sites.py MODELS_DIR SIZE MODEL...: the sync points of each model, and those where nothing can be deferred with the
reason."""
import re
import subprocess
import sys
from pathlib import Path


def main():
    folder, size = Path(sys.argv[1]), sys.argv[2]
    for name in sys.argv[3:]:
        done = subprocess.run(["caat-opt", folder / name / "model.onnx", f"--tp-pipeline=size={size}",
                               "--remarks-filter=caat"], capture_output=True, text=True, check=True)
        print(f"{name}:")
        for text in re.findall(r"\] (?:sync-point|no-sync-point) .*Remark=\"?(.*?)\"?$", done.stderr, re.MULTILINE):
            print(f"  {text}")


if __name__ == "__main__":
    main()
