# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The stand-in for the driver, cuBLASLt and NCCL, and the log of operations that it writes."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOUBLE = Path(os.environ.get("CAAT_BIN", ROOT / "build" / "bin")).parent / "lib" / "libcaat-cuda-double.so"


class Operation:
    """Of a stream: its number, how many operations of each stream came before it (and itself), what it does."""
    def __init__(self, line: str):
        stream, clock, self.name = line.split("\t")
        self.stream, self.clock = int(stream), [int(c) for c in clock.split()]

    def known(self, stream: int) -> int:
        return self.clock[stream] if stream < len(self.clock) else 0

    def is_beside(self, other: "Operation") -> bool:
        return self.known(other.stream) < other.known(other.stream) and other.known(self.stream) < self.known(self.stream)
