# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes an estimate for layers.0.attn (3 ranks, 10 channels), with a small-rank one and a wrong one for two other sites, and an order."""
import sys

import numpy as np
from safetensors.numpy import save_file

a = np.arange(30, dtype=np.float32).reshape(3, 10)
save_file({"layers.0.attn.a": a, "layers.0.attn.b": a + 0.5,
           "layers.0.mlp.a": a, "layers.0.mlp.b": a, "layers.0.mlp.u": a, "layers.0.mlp.v": a,
           "layers.1.attn.a": a[:2], "layers.1.attn.b": a[:2]}, sys.argv[1])
np.save(sys.argv[2], np.array([1, 0, 2, 3, 4, 5, 6, 7, 8, 9]))
