# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""half_weights.py WIDE HALF: the weights of the artifact HALF that have 16 bits are those of WIDE, rounded to nearest even."""
import json
import sys
from pathlib import Path

import numpy as np


def tensors(file: Path) -> dict:
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return {name: (entry["dtype"], data[end:][slice(*entry["data_offsets"])])
            for name, entry in json.loads(data[8:end]).items() if name != "__metadata__"}


def rounded(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "F16":
        return values.astype(np.float16).tobytes()
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()


checked = 0
for file in sorted(Path(sys.argv[2]).glob("weights-*.safetensors")):
    wide = tensors(Path(sys.argv[1]) / file.name)
    for name, (dtype, data) in tensors(file).items():
        if dtype in ("F16", "BF16"):
            assert wide[name][0] == "F32" and data == rounded(np.frombuffer(wide[name][1], np.float32), dtype), name
            checked += 1
print(checked, "weights are rounded as they should be")
