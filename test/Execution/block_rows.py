# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads the weights of artifacts, those in blocks of few bits too, as docs/runtime.md describes them."""
import json
from pathlib import Path

import numpy as np


def spread(blocks, size):
    """One number for each element of a block."""
    return np.repeat(blocks.astype(np.float32), size, 1)


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__")
    kinds = {"U8": np.uint8, "F32": np.float32, "BF16": np.uint16}
    return {name: np.frombuffer(data[8 + length:][slice(*entry["data_offsets"])], kinds[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()}


def values(rows, spec):
    """The matrix [N, K] of a linear parameter, of its array."""
    if spec["dtype"] == "bf16" and "blocks" not in spec:
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    if "blocks" not in spec:
        return rows if spec["transposed"] else rows.T
    n, k = spec["shape"]
    bits, size, kind, offset = spec["blocks"].values()
    codes, rest = np.split(rows, [k * bits // 8], 1)
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], 2).reshape(n, k)
    number = np.float16 if kind == "f16" else np.float32
    scale, rest = np.split(rest, [k // size * number().itemsize], 1)
    scale = spread(np.ascontiguousarray(scale).view(number), size)
    if offset == "minimum":
        return codes * scale + spread(np.ascontiguousarray(rest).view(number), size)
    zero = spread(rest, size) if offset == "zeros" else np.float32(2 ** (bits - 1))
    assert rest.shape[1] == (k // size if offset == "zeros" else 0)
    return (codes.astype(np.float32) - zero) * scale


def parameters(program: Path) -> list[dict]:
    return [p for p in json.loads((program / "manifest.json").read_text())["parameters"] if p["kind"] == "linear"]
