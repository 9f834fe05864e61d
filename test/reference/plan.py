# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads a plan (version 1) into one policy per site. For the judge only: a plan's errors are caat's business."""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Policy:
    """What one sync point does. `shared` channels of `order` are reduced; the rest is deferred or private."""
    shared: int
    order: np.ndarray
    rest: str = "deferred"
    scale: float = 1.0
    a: np.ndarray | None = None      # estimate [N, hidden]: readers see base + a * pending + b
    b: np.ndarray | None = None

    @property
    def reduced(self):
        return self.order[:self.shared]

    @property
    def kept(self):
        return self.order[self.shared:]


def policy(entry: dict, site: str, hidden: int, ranks: int, folder=Path(".")) -> Policy:
    order = entry.get("order", range(hidden))
    if isinstance(order, str):
        order = np.load(folder / order)
    order = np.array(list(order), np.int64)
    sync = entry.get("sync", "full")
    if sync == "full":
        return Policy(hidden, order)
    if sync == "drop":
        result = Policy(0, order)
    elif sync == "partial":
        scale = entry.get("scale", "one")
        scale = {"one": 1.0, "sqrt": ranks ** 0.5}.get(scale, scale)
        result = Policy(int(entry["shared"] * hidden), order, entry.get("rest", "deferred"), float(scale))
    else:
        raise ValueError(f"{site}: sync '{sync}' is not simulated")
    estimate = entry.get("estimate")
    if isinstance(estimate, str):
        from safetensors.numpy import load_file
        tensors = load_file(folder / estimate)
        result.a, result.b = tensors[f"{site}.a"], tensors[f"{site}.b"]
    return result


class Plan:
    def __init__(self, data: dict | None, hidden: int, ranks: int, folder=Path(".")):
        data = data or {}
        self.default = data.get("default", {"sync": "full"})
        self.sites = data.get("sites", {})
        self.hidden, self.ranks, self.folder = hidden, ranks, Path(folder)
        self.policies = {}

    @classmethod
    def load(cls, path, hidden: int, ranks: int):
        path = Path(path)
        return cls(json.loads(path.read_text()), hidden, ranks, path.parent)

    def __getitem__(self, site: str) -> Policy:
        if site not in self.policies:
            entry = self.sites.get(site, self.default)
            self.policies[site] = policy(entry, site, self.hidden, self.ranks, self.folder)
        return self.policies[site]
