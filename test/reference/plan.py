# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads a plan (version 1) into one policy per site. For the judge only: a plan's errors are caat's business."""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Policy:
    """What one sync point does. `shared` channels of `order` are reduced, perhaps in few bits; the rest is deferred or private."""
    shared: int
    order: np.ndarray
    rest: str = "deferred"
    scale: float = 1.0
    a: np.ndarray | None = None      # estimate [N, hidden]: readers see base + a * pending + b
    b: np.ndarray | None = None
    u: np.ndarray | None = None      # [N, hidden, k]: they see u (v f) beside
    v: np.ndarray | None = None      # [N, k, f]
    feature: str = ""                # what f is: pending, input, pending+input
    bits: int = 0                    # on the wire; 0: elements as they are
    block: int = 32
    exact: tuple = ()                # channels that travel unrounded
    feedback: bool | None = None     # None: where the site can defer

    @property
    def is_exact(self):
        """Whether the program is the one without a policy."""
        return self.shared == len(self.order) and not self.bits

    @property
    def exact_places(self):
        """Places of the exact channels among the reduced ones."""
        return [place for place, channel in enumerate(self.reduced) if channel in self.exact]

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
        result = Policy(hidden, order)
    elif sync == "drop":
        result = Policy(0, order)
    elif sync == "partial":
        scale = entry.get("scale", "one")
        scale = {"one": 1.0, "sqrt": ranks ** 0.5}.get(scale, scale)
        result = Policy(int(entry["shared"] * hidden), order, entry.get("rest", "deferred"), float(scale))
    else:
        raise ValueError(f"{site}: sync '{sync}' is not simulated")
    estimate = entry.get("estimate")
    if isinstance(estimate, str):
        read_estimate(result, folder / estimate, site)
    if "bits" in entry and result.shared:
        result.bits, result.block = entry["bits"], entry.get("block", 32)
        result.exact, result.feedback = tuple(entry.get("exact", ())), entry.get("feedback")
    return result


def read_estimate(policy: Policy, file: Path, site: str):
    from safetensors import safe_open
    with safe_open(file, "numpy") as tensors:
        metadata = tensors.metadata() or {}
        tensors = {name[len(site) + 1:]: tensors.get_tensor(name) for name in tensors.keys() if name.startswith(f"{site}.")}
    policy.u, policy.v = tensors.get("u"), tensors.get("v")
    zeros = np.zeros((len(policy.u), len(policy.order)), np.float32) if policy.u is not None else None
    policy.a, policy.b = tensors.get("a", zeros), tensors.get("b", zeros)
    policy.feature = metadata.get(f"{site}.f", "")


def estimated(policy: Policy, pending: np.ndarray, module_input: np.ndarray | None) -> np.ndarray:
    """What readers see of pending [r, ..., h]; `module_input` [r or 1, ..., h] is what the site's module has read."""
    if policy.a is None:
        return pending
    ranks, dtype, width = len(pending), pending.dtype, pending.shape[-1]
    rows = (ranks, *[1] * (pending.ndim - 2), width)
    seen = policy.a.reshape(rows).astype(dtype) * pending + policy.b.reshape(rows).astype(dtype)
    if policy.u is None:
        return seen
    parts = {"pending": pending, "input": module_input}
    f = np.concatenate([np.broadcast_to(parts[name], pending.shape) for name in policy.feature.split("+")], -1)
    for rank in range(ranks):
        seen[rank] += f[rank] @ policy.v[rank].T.astype(dtype) @ policy.u[rank].T.astype(dtype)
    return seen


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
