# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Perplexity of plans, energies of channels and estimates, on windows of a token file, by simulation."""
import copy

import numpy as np

from plan import Plan
from simulate import Simulator, Stream, normalise


def losses(logits: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Negative log-likelihood [B, S - 1] of each token but the first of a row; logits [B, S, vocab]."""
    logits, wanted = logits[:, :-1], ids[:, 1:]
    top = logits.max(-1)
    total = np.log(np.exp(logits - top[..., None]).sum(-1, dtype=np.float64)) + top
    return total - np.take_along_axis(logits, wanted[..., None], -1)[..., 0]


class Evaluation:
    """A simulator and the windows [B, S] of token ids it runs on."""

    def __init__(self, simulator: Simulator, ids: np.ndarray):
        self.simulator, self.ids = simulator, ids
        length = ids.shape[1]
        self.keep = np.tril(np.ones((length, length), bool))[None]
        self.positions = np.broadcast_to(np.arange(length), ids.shape)

    def start(self, observer=None) -> Stream:
        return Stream(self.simulator.embed(self.ids, self.positions), self.simulator.ranks, observer)

    def advance(self, stream: Stream, plan: Plan, first=0, last=None):
        for i in range(first, len(self.simulator.layers) if last is None else last):
            self.simulator.layer(i, stream, plan, self.keep, self.positions)

    def loss(self, stream: Stream) -> float:
        """Mean negative log-likelihood per token, window by window (the logits are large)."""
        s = self.simulator
        stream.flush()
        x = normalise(s.model.final_norm, stream.read())
        total = []
        for b in range(len(self.ids)):
            rows = [s._apply(s.head[m], x[m if len(x) > 1 else 0][b:b + 1]) for m in range(s.ranks)]
            total.append(losses(np.concatenate(rows, -1), self.ids[b:b + 1]))
        return float(np.mean(total))

    def perplexity(self, plan) -> float:
        stream = self.start()
        self.advance(stream, self.simulator.plan(plan))
        return float(np.exp(self.loss(stream)))

    def energies(self) -> dict[str, np.ndarray]:
        """For each site [hidden]: mean over tokens, summed over ranks, of (S - P_m)², S = the sum of all P."""
        found = {}

        def observe(site, policy, partials, pending):
            found[site] = ((partials.sum(0) - partials) ** 2).mean((1, 2), dtype=np.float64).sum(0)

        self.advance(self.start(observe), self.simulator.plan())
        return found

    def estimates(self, plan) -> dict[str, np.ndarray]:
        """SITE.a and SITE.b [N, hidden]: for what each site leaves pending, the least-squares line from this rank's
        pending to the sum over ranks; site after site, with the earlier sites already rewritten."""
        found = {}

        def observe(site, policy, partials, pending):
            if policy.shared == len(policy.order) or policy.rest == "private":
                return
            t = partials if pending is None else partials + pending
            t = t.reshape(len(t), -1, t.shape[-1]).astype(np.float64)
            total = t.sum(0)
            mean, mean_total = t.mean(1), total.mean(0)
            covariance = (t * total).mean(1) - mean * mean_total
            variance = (t * t).mean(1) - mean * mean
            a = np.where(variance > 0, covariance / np.where(variance > 0, variance, 1), 1)
            b = mean_total - a * mean
            a[:, policy.reduced], b[:, policy.reduced] = 1, 0
            policy.a, policy.b = a.astype(np.float32), b.astype(np.float32)
            found[f"{site}.a"], found[f"{site}.b"] = policy.a, policy.b

        self.advance(self.start(observe), self.simulator.plan(plan))
        return found

    def loss_added_by(self, entry: dict, kind: str, progress=lambda done, total: None) -> list[float]:
        """For each layer, the loss that `entry` adds at its `kind` site alone. Layers before it run once."""
        full, count = self.simulator.plan(), len(self.simulator.layers)
        stream, added = self.start(), []
        for i in range(count):
            branch = copy.copy(stream)      # a sync replaces arrays of the stream, never changes them, when full
            branch.base = stream.base.copy()
            self.advance(branch, self.simulator.plan({"sites": {f"layers.{i}.{kind}": entry}}), i)
            added.append(self.loss(branch))
            self.advance(stream, full, i, i + 1)
            progress(i + 1, count)
        exact = self.loss(stream)
        return [loss - exact for loss in added]
