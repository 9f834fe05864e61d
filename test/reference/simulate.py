# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a tensor-parallel program with a plan computes: one process that carries r copies of what is pending.

The judge of the compiled programs. Per rank the residual stream is base + pending (+ what is private); a sync point
moves some of what is pending to base on all ranks and keeps the rest:

    t = pending + P ;  base += sum over ranks of Q(t) ;  pending = t - Q(t)

Heads go to ranks by KV group, ceil(kv / N) to a rank; columns and vocabulary in slices of ceil(n / N).
"""
from math import erf, pi, sqrt

import numpy as np

from model import Linear, Model, Norm
from plan import Plan, Policy, estimated
from rounding import all_reduce

_erf = np.vectorize(erf, otypes=[np.float64])


def activate(kind: str, x: np.ndarray) -> np.ndarray:
    if kind == "silu":
        return x / (1 + np.exp(-x))
    if kind == "relu":
        return np.maximum(x, 0)
    if kind == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(x.dtype.type(sqrt(2 / pi)) * (x + x.dtype.type(0.044715) * x ** 3)))
    return (0.5 * x * (1 + _erf(x / sqrt(2)))).astype(x.dtype)


def normalise(norm: Norm, x: np.ndarray) -> np.ndarray:
    if not norm.rms:
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt(np.mean(x * x, -1, keepdims=True) + x.dtype.type(norm.epsilon))
    x = x * norm.weight.astype(x.dtype)
    return x if norm.bias is None else x + norm.bias.astype(x.dtype)


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotary embedding of halves; x [B, H, S, D], tables [B, S, D / 2]."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = cos[:, None], sin[:, None]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def attend(q, k, v, keep, scale):
    """q [B, Hq, S, D]; k, v [B, Hkv, T, D]; keep [B, S, T]. Rows that may see nothing give zeros."""
    batch, heads, length, dim = q.shape
    q = q.reshape(batch, k.shape[1], -1, dim)                      # the queries of a group are rows
    scores = (q @ k.swapaxes(-1, -2)).reshape(batch, heads, length, -1)
    scores *= scores.dtype.type(scale)
    np.copyto(scores, -np.inf, where=~keep[:, None])
    top = scores.max(-1, keepdims=True)
    np.subtract(scores, np.where(np.isfinite(top), top, 0), out=scores)
    np.exp(scores, out=scores)
    total = scores.sum(-1, keepdims=True)
    scores /= np.where(total == 0, 1, total)
    out = scores.reshape(batch, k.shape[1], -1, scores.shape[-1]) @ v
    return out.reshape(batch, heads, length, dim)


def slices(size: int, ranks: int) -> list[slice]:
    width = -(-size // ranks)
    return [slice(min(m * width, size), min((m + 1) * width, size)) for m in range(ranks)]


def head_groups(heads: int, kv_heads: int, ranks: int, order=None):
    """For each rank (query heads, KV heads); `order`: of the KV heads, in which they are dealt out. With N a multiple of the KV
    heads, the queries of a group are divided."""
    group = heads // kv_heads
    if ranks > kv_heads and ranks % kv_heads == 0:
        parts = slices(group, ranks // kv_heads)
        pairs = [(kv, parts[c]) for kv in range(kv_heads) for c in range(ranks // kv_heads)]
        return [(list(range(kv * group + p.start, kv * group + p.stop)), [kv] if p.stop > p.start else [])
                for kv, p in pairs]
    owned = [list(order or range(kv_heads))[s] for s in slices(kv_heads, ranks)]
    return [([kv * group + i for kv in kvs for i in range(group)], kvs) for kvs in owned]


class Stream:
    """The residual stream of all ranks: base [B, S, h]; pending, private [r, B, S, h] or None; the reader's estimate."""

    def __init__(self, base: np.ndarray, ranks: int, observer=None):
        self.base, self.ranks, self.observer = base, ranks, observer
        self.pending = self.private = self.estimate = self.input = None

    def read(self) -> np.ndarray:
        """What each rank reads: [r, B, S, h], or [1, B, S, h] where all ranks read the same."""
        x = self.base[None]
        if self.pending is not None:
            x = x + (self.pending if self.estimate is None else estimated(self.estimate, self.pending, self.input))
        return x if self.private is None else x + self.private

    def sync(self, site: str, policy: Policy, partials: np.ndarray, bias, module_input=None, is_last=False):
        """Joins the partials [r, B, S, h] of a row-parallel product to the stream. Behind the last site nothing can stay pending:
        what would is summed there as it is."""
        bias = self.base.dtype.type(0) if bias is None else bias.astype(self.base.dtype)
        if self.observer:
            self.observer(site, policy, partials, self.pending)
        self.estimate = None
        if policy.rest == "private" and policy.shared < len(policy.order):
            kept = policy.kept
            if self.private is None:
                self.private = np.zeros_like(partials)
            scale = self.base.dtype.type(policy.scale)
            self.private[..., kept] += scale * (partials[..., kept] + (bias[kept] if np.ndim(bias) else bias))
            partials = partials.copy()
            partials[..., kept] = 0
            if np.ndim(bias):
                bias = bias.copy()
                bias[kept] = 0
        t = partials if self.pending is None else partials + self.pending
        feedback = policy.feedback is not False
        bits = 0 if is_last and feedback else policy.bits
        is_all = policy.shared == len(policy.order)
        if is_last and policy.rest == "deferred" and bits and not is_all:   # one rounded sum of everything
            self.base, self.pending = self.base + all_reduce(t, bits, policy.block, list(policy.exact))[0] + bias, None
            return
        if not bits and is_all:
            self.base, self.pending = self.base + t.sum(0) + bias, None
            return
        self.base = self.base + bias
        sent, errors = t[..., policy.reduced], 0
        if bits:
            total, errors = all_reduce(sent, bits, policy.block, policy.exact_places)
        else:
            total = sent.sum(0)
        self.base[..., policy.reduced] += total
        if not (bits and feedback):
            errors = 0
            # Only what an earlier site deferred can be pending at a private one, and it stays pending where it is not reduced.
            if is_all or (policy.rest == "private" and self.pending is None):
                self.pending = None
                return
        self.pending = t.copy() if t is partials else t
        self.pending[..., policy.reduced] = errors
        if policy.a is not None:
            self.estimate, self.input = policy, module_input

    def flush(self):
        if self.pending is not None:
            self.base, self.pending, self.estimate = self.base + self.pending.sum(0), None, None


class Simulator:
    def __init__(self, model: Model, ranks: int, dtype=np.float64, heads=None):
        """`heads`: a plan's orders of heads."""
        self.model, self.ranks, self.dtype = model, ranks, dtype
        self.groups = [head_groups(model.heads, model.kv_heads, ranks, (heads or {}).get(f"layers.{i}.attn")) if model.heads else []
                       for i in range(len(model.layers))]
        self.layers = [self._shard_layer(layer, groups) for layer, groups in zip(model.layers, self.groups)]
        if model.head is not None:
            self.head = self._columns(model.head)

    def plan(self, data=None) -> Plan:
        return data if isinstance(data, Plan) else Plan(data, self.model.hidden, self.ranks)

    # Sharding

    def _cut(self, linear: Linear | None, indices: list, axis: int):
        """Per rank (weight, bias); a row-parallel product (axis 0) has no bias of its own."""
        if linear is None:
            return None
        weight = linear.weight.astype(self.dtype, copy=False)
        bias = linear.bias.astype(self.dtype) if linear.bias is not None and axis == 1 else None
        return [(np.ascontiguousarray(weight[:, i] if axis else weight[i]), None if bias is None else bias[i])
                for i in indices]

    def _columns(self, linear):
        return self._cut(linear, slices(linear.weight.shape[1], self.ranks) if linear else [], 1)

    def _shard_layer(self, layer, groups):
        def channels(heads):
            d = self.model.head_dim
            return np.array([h * d + i for h in heads for i in range(d)], np.int64)

        shards = {"gate": self._columns(layer.gate), "up": self._columns(layer.up),
                  "down": self._cut(layer.down, slices(layer.down.weight.shape[0], self.ranks), 0)}
        if layer.q is not None:
            query, key = ([channels(g[i]) for g in groups] for i in (0, 1))
            shards |= {"q": self._cut(layer.q, query, 1), "k": self._cut(layer.k, key, 1),
                       "v": self._cut(layer.v, key, 1), "out": self._cut(layer.out, query, 0)}
        return shards

    # Pieces of the forward pass; x is [r or 1, B, S, h]

    @staticmethod
    def _apply(shard, x):
        weight, bias = shard
        flat = x.reshape(-1, x.shape[-1]) @ weight
        y = flat.reshape(*x.shape[:-1], weight.shape[1])
        return y if bias is None else y + bias

    def _heads(self, shard, x):
        y = self._apply(shard, x)
        return y.reshape(*y.shape[:2], -1, self.model.head_dim).swapaxes(1, 2)

    def _attention(self, i, x, keep, positions, cache):
        """Partials [r, B, S, h] of the output product; extends the cache of layer i."""
        shards, partials, new = self.layers[i], [], {}
        for m, (queries, kvs) in enumerate(self.groups[i]):
            mine = x[m if len(x) > 1 else 0]
            if not queries:
                partials.append(np.zeros(mine.shape[:-1] + (self.model.hidden,), self.dtype))
                continue
            q, k, v = (self._heads(shards[name][m], mine) for name in "qkv")
            if self.model.rotary is not None:
                cos, sin = (t.astype(self.dtype)[positions] for t in self.model.rotary)
                q, k = rotate(q, cos, sin), rotate(k, cos, sin)
            if cache is not None:
                k, v = (np.concatenate([past[:, kvs].astype(self.dtype), now], 2) for past, now in zip(cache[i], (k, v)))
            for j, kv in enumerate(kvs):
                new[kv] = (k[:, j], v[:, j])
            y = attend(q, k, v, keep, self.model.head_dim ** -0.5)
            y = y.swapaxes(1, 2).reshape(*mine.shape[:-1], -1)
            partials.append(self._apply(shards["out"][m], y))
        if cache is not None:
            cache[i] = tuple(np.stack([new[kv][j] for kv in sorted(new)], 1) for j in (0, 1))
        return np.stack(partials)

    def _mlp(self, i, x):
        shards, partials = self.layers[i], []
        for m in range(self.ranks):
            mine = x[m if len(x) > 1 else 0]
            up = self._apply(shards["up"][m], mine)
            if shards["gate"] is None:
                y = activate(self.model.activation, up)
            else:
                y = activate(self.model.activation, self._apply(shards["gate"][m], mine)) * up
            partials.append(self._apply(shards["down"][m], y))
        return np.stack(partials)

    def _logits(self, stream):
        x = normalise(self.model.final_norm, stream.read())
        return np.concatenate([self._apply(self.head[m], x[m if len(x) > 1 else 0]) for m in range(self.ranks)], -1)

    # Whole passes

    def embed(self, ids, positions):
        x = self.model.embedding.astype(self.dtype, copy=False)[ids]
        if self.model.positions is not None:
            x = x + self.model.positions.astype(self.dtype)[positions + self.model.position_offset]
        return x

    def layer(self, i, stream: Stream, plan: Plan, keep, positions, cache=None):
        layer = self.model.layers[i]
        x = normalise(layer.attention_norm, stream.read())
        partials = self._attention(i, x, keep, positions, cache)
        stream.sync(f"layers.{i}.attn", plan[f"layers.{i}.attn"], partials, layer.out.bias, x)
        x = normalise(layer.mlp_norm, stream.read())
        stream.sync(f"layers.{i}.mlp", plan[f"layers.{i}.mlp"], self._mlp(i, x), layer.down.bias, x,
                    is_last=i + 1 == len(self.layers))

    def finish(self, stream: Stream):
        stream.flush()
        return self._logits(stream)

    def run(self, inputs: dict, plan=None, observer=None) -> dict:
        """The model's outputs for its inputs, by name (logits, and present.N.key / .value where it has a cache)."""
        plan = self.plan(plan)
        if self.model.family == "mlp":
            x, layer = inputs["x"].astype(self.dtype)[None, None], self.model.layers[0]
            return {"y": self._mlp(0, x).sum(0)[0] + layer.down.bias.astype(self.dtype)}
        ids = inputs["input_ids"]
        batch, length = ids.shape
        cache = None
        if any(name.startswith("past_key_values") for name in self.model.inputs):
            cache = [tuple(inputs[f"past_key_values.{i}.{kind}"] for kind in ("key", "value"))
                     for i in range(len(self.layers))]
        past = cache[0][0].shape[2] if cache else 0
        mask = inputs.get("attention_mask", np.ones((batch, past + length), np.int64)).astype(bool)
        causal = np.arange(past + length)[None] <= past + np.arange(length)[:, None]
        keep = causal[None] & mask[:, None]
        positions = np.broadcast_to(past + np.arange(length), ids.shape)
        if "position_ids" in self.model.inputs:
            positions = inputs["position_ids"]
        elif self.model.positions_from_mask:
            positions = (np.cumsum(mask, 1) * mask - 1)[:, past:]
        stream = Stream(self.embed(ids, positions), self.ranks, observer)
        for i in range(len(self.layers)):
            self.layer(i, stream, plan, keep, positions, cache)
        outputs = {"logits": self.finish(stream)}
        for i, pair in enumerate(cache or []):
            outputs |= {f"present.{i}.{kind}": t for kind, t in zip(("key", "value"), pair)}
        return outputs
