# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes an estimate for layers.0.attn (3 ranks, 10 channels), with one of small rank and wrong ones for other sites, and an order.

    estimate.py ESTIMATE.safetensors ORDER.npy
"""
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

a = np.arange(30, dtype=np.float32).reshape(3, 10)
u, v = np.ones((3, 10, 2), np.float32), np.full((3, 2, 20), 0.5, np.float32)
save_file({"layers.0.attn.a": a, "layers.0.attn.b": a + 0.5,
           "layers.0.mlp.u": u, "layers.0.mlp.v": v,
           "layers.1.attn.a": a[:2], "layers.1.attn.b": a[:2]}, sys.argv[1], {"layers.0.mlp.f": "pending+input"})
save_file({"layers.1.attn.u": u, "layers.1.attn.v": v}, Path(sys.argv[1]).with_name("low-rank.safetensors"),
          {"layers.1.attn.f": "pending+input"})
np.save(sys.argv[2], np.array([1, 0, 2, 3, 4, 5, 6, 7, 8, 9]))

# One fault each, all for layers.0.attn.
site = "layers.0.attn"
wrong = {
    "no-metadata": ({"u": u, "v": v}, {}),
    "metadata": ({"u": u, "v": v}, {f"{site}.f": "output"}),
    "no-v": ({"u": u}, {f"{site}.f": "input"}),
    "no-u": ({"v": v}, {f"{site}.f": "input"}),
    "u-shape": ({"u": u[:2], "v": v}, {f"{site}.f": "input"}),
    "u-empty": ({"u": u[..., :0], "v": v[:, :0]}, {f"{site}.f": "pending+input"}),
    "v-shape": ({"u": u, "v": v}, {f"{site}.f": "input"}),
    "v-type": ({"u": u, "v": v.astype(np.float16)}, {f"{site}.f": "pending+input"}),
    "u-infinite": ({"u": np.full_like(u, np.inf), "v": v}, {f"{site}.f": "pending+input"}),
}
for name, (tensors, metadata) in wrong.items():
    save_file({f"{site}.{key}": np.ascontiguousarray(value) for key, value in tensors.items()},
              Path(sys.argv[1]).with_name(f"rank-{name}.safetensors"), metadata)
