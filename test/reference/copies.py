# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The r-copy simulation of any plan on any model, from the ONNX files of the *exact* plan.

Every rank keeps its own copy of the residual stream: a base that all share, what is pending and what is private. The files of the
exact program add what an all-reduce gives to the stream, so the simulation gives each rank what makes its copy the one that
the plan means. With t = pending + P:

    base += sum_j Q(t_j) ;  pending = t - Q(t) ;  what rank m gets = sum_j Q(t_j) + view' - view

where view is what the rank reads beyond base: pending, or its estimate, and private. Biases are in the files, on all channels;
on private ones they are scaled (method.md), which the difference makes up for.
"""
import json
from dataclasses import dataclass

import numpy as np
from onnx import numpy_helper

from lockstep import Ranks, communicate
from plan import Plan, estimated
from rounding import all_reduce


@dataclass
class Site:
    """A sync point of the graph. `sum` is the stream behind it; `before` the site whose stream it joins. It may defer where the
    stream is sums alone up to the next site."""
    name: str
    sum: str
    bias: np.ndarray | None
    residual: str | None
    before: "Site | None" = None
    flushes: bool = False
    defers: bool = True


class SiteFinder:
    """Finds where all-reduces join the stream, in one rank's graph."""

    def __init__(self, rank):
        self.rank, graph = rank, rank.model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.data_location != t.EXTERNAL}
        # The biases of two products that one all-reduce sums, and those of a layer scale.
        arithmetic = {"Add": np.add, "Mul": np.multiply, "Div": np.divide}
        for node in graph.node:
            if node.op_type in arithmetic and all(name in self.constants for name in node.input):
                self.constants[node.output[0]] = arithmetic[node.op_type](*(self.constants[name] for name in node.input))
        self.users = {}
        for node in graph.node:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.outputs = {v.name for v in graph.output}

    def find(self) -> list[Site]:
        known = {entry["site"] for entry in json.loads(self.rank.properties.get("caat.sites", "[]"))}
        sites = [self._follow(node) for node in self.rank.collectives if self._name(node) in known]
        by_sum = {site.sum: site for site in sites}
        for site in sites:
            site.before = by_sum.get(site.residual)
            site.flushes = self._must_be_equal(site, sites)
            site.defers = site.residual is not None and not self._is_normalised(site, sites)
        return sites

    def _follow(self, node) -> Site:
        value, bias = node.output[0], None
        while True:
            users = self.users.get(value, [])
            if len(users) != 1 or users[0].op_type != "Add":
                return Site(self._name(node), value, bias, None)     # a norm reads the sum
            other = next(name for name in users[0].input if name != value)
            value = users[0].output[0]
            if other not in self.constants:
                return Site(self._name(node), value, bias, other)
            bias = self.constants[other].reshape(-1)

    @staticmethod
    def _name(node) -> str:
        return node.name.removesuffix("/AllReduce")

    def _must_be_equal(self, site: Site, sites: list[Site]) -> bool:
        """Whether the stream behind a site has to be complete: it is an output, or no later site will complete it."""
        joins = {s.sum for s in sites if s.residual}
        work, seen, reaches = [site.sum], set(), False
        while work:
            value = work.pop()
            if value in self.outputs and self.rank.shard(value) is None:
                return True
            for node in self.users.get(value, []):
                if node in self.rank.collectives or (node.output[0] in joins and node.output[0] != site.sum):
                    reaches |= node not in self.rank.collectives or any(s.name == self._name(node) for s in sites)
                elif node.output[0] not in seen:
                    seen.add(node.output[0])
                    work += [name for name in node.output if name]
        return not reaches


    def _is_normalised(self, site: Site, sites: list[Site]) -> bool:
        """Whether the stream behind a site joins a later one after anything else than sums."""
        residuals = {s.sum: s.residual for s in sites if s.residual}
        work, seen = [site.sum], set()
        while work:
            value = work.pop()
            for node in self.users.get(value, []):
                if node in self.rank.collectives:
                    continue
                output = node.output[0]
                if output in residuals and output != site.sum:
                    if residuals[output] == value and value != site.sum:
                        return True
                elif output not in seen:
                    seen.add(output)
                    work += [name for name in node.output if name]
        return False


@dataclass
class State:
    """Of all ranks [r, ...]."""
    pending: np.ndarray | float = 0.0
    private: np.ndarray | float = 0.0
    view: np.ndarray | float = 0.0


class Copies:
    def __init__(self, exact: Ranks):
        self.exact = exact
        self.sites = {site.name: site for site in SiteFinder(exact.ranks[0]).find()}
        graph = exact.ranks[0].model.graph
        types = {v.name: v.type.tensor_type.shape.dim for v in (*graph.value_info, *graph.output)}
        widths = {types[site.sum][-1].dim_value for site in self.sites.values() if site.sum in types}
        assert len(widths) < 2, widths
        self.width = widths.pop() if widths else 0
        # What every rank must have equal cannot come from channels that are private to the end.
        self.may_be_private = all(exact.ranks[0].shard(v.name) for v in graph.output)

    def run(self, inputs: dict, plan: Plan) -> dict:
        states = {}

        def network(node, sent):
            site = self.sites.get(SiteFinder._name(node))
            if site is None:
                return communicate(node, sent)
            before = states.get(site.before.name, State()) if site.before else State()
            total, after = step(site, plan[site.name], before, np.stack(sent).astype(np.float64))
            states[site.name] = after
            gets = total + after.view - before.view
            return [part.astype(sent[0].dtype) for part in np.broadcast_to(gets, (len(sent), *sent[0].shape))]

        return self.exact.run(inputs, network)


def step(site: Site, policy, before: State, partials: np.ndarray):
    """(what is added to base, the state behind the site)."""
    width = partials.shape[-1]
    t = partials + before.pending
    deferred, is_all = policy.rest == "deferred", policy.shared == width
    feedback = site.defers if policy.feedback is None else policy.feedback
    bits = 0 if site.flushes and feedback else policy.bits
    if is_all or (deferred and site.flushes):
        if not bits:
            return t.sum(0), State(0.0, before.private, before.private)
        if not is_all or not feedback:
            order = np.arange(width) if not is_all else policy.order
            places = [place for place, channel in enumerate(order) if channel in policy.exact]
            total = np.empty(t.shape[1:])
            total[..., order] = all_reduce(t[..., order], bits, policy.block, places)[0]
            return total, State(0.0, before.private, before.private)
    total, errors = np.zeros(partials.shape[1:]), 0.0
    sent = t[..., policy.reduced]
    if bits:
        total[..., policy.reduced], errors = all_reduce(sent, bits, policy.block, policy.exact_places)
    else:
        total[..., policy.reduced] = sent.sum(0)
    errors = errors if feedback else 0.0
    if deferred or is_all:
        pending = t.copy()
        pending[..., policy.reduced] = errors
        return total, State(pending, before.private, estimated(policy, pending, None) + before.private)
    bias = np.zeros(width) if site.bias is None else site.bias
    own = np.zeros_like(partials)
    own[..., policy.kept] = (policy.scale * (partials + bias) - bias)[..., policy.kept]
    pending = before.pending + np.zeros_like(partials)
    pending[..., policy.reduced] = errors
    if site.flushes:
        total, pending = total + pending.sum(0), np.zeros_like(partials)
    private = before.private + own
    return total, State(pending, private, pending + private)
