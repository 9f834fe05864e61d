# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sizes of the decoders that are measured: those of Llama 3."""
from dataclasses import dataclass


@dataclass
class Shape:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int

    @property
    def head(self) -> int:
        return self.hidden // self.heads


SHAPES = {"8b": Shape(4096, 32, 32, 8, 14336, 128256), "1b": Shape(2048, 16, 32, 8, 8192, 128256)}
