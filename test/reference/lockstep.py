# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the ONNX files of all ranks in lockstep: each is cut at its collectives, ONNX Runtime runs the parts, and NumPy is the
network in between."""
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

COLLECTIVES = ("AllReduce", "AllGather", "AllToAll")


def is_collective(node) -> bool:
    return node.domain == "com.microsoft" and node.op_type in COLLECTIVES


def attribute(node, name: str) -> int:
    return next(a.i for a in node.attribute if a.name == name)


def communicate(node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What every rank gets for what the ranks send."""
    ranks = len(inputs)
    if node.op_type == "AllReduce":
        return [sum(inputs[1:], inputs[0])] * ranks
    assert attribute(node, "group_size") == ranks, node.name
    if node.op_type == "AllGather":
        return [np.concatenate(inputs, attribute(node, "axis"))] * ranks
    parts = [x.reshape(ranks, -1) for x in inputs]
    return [np.stack([p[m] for p in parts]).reshape(inputs[m].shape) for m in range(ranks)]


class Stage:
    """The nodes of one rank between two collectives."""

    def __init__(self, model, nodes, types: dict, wanted: set):
        initializers = {t.name: t for t in model.graph.initializer}
        made = {name for node in nodes for name in node.output if name}
        used = dict.fromkeys(name for node in nodes for name in node.input if name)
        self.inputs = [name for name in used if name not in made and name not in initializers]
        self.outputs = [name for name in dict.fromkeys(n for node in nodes for n in node.output) if name in wanted]
        graph = helper.make_graph(nodes, "stage", [types[n] for n in self.inputs], [types[n] for n in self.outputs],
                                  [initializers[n] for n in used if n in initializers])
        stage = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(stage.SerializeToString(), options, ["CPUExecutionProvider"])

    def run(self, values: dict):
        results = self.session.run(self.outputs, {name: values[name] for name in self.inputs})
        values.update(zip(self.outputs, results))


class Rank:
    """One file, cut in stages: stage i may read what collective i - 1 and those before it gave."""

    def __init__(self, path: Path):
        self.model = onnx.load(path)
        graph = self.model.graph
        self.properties = {p.key: p.value for p in self.model.metadata_props}
        self.collectives = [node for node in graph.node if is_collective(node)]
        types = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
        stage_of = {v.name: 0 for v in (*graph.input, *graph.initializer)}
        stages = [[] for _ in range(len(self.collectives) + 1)]
        wanted = {v.name for v in graph.output}
        for node in graph.node:
            stage = max((stage_of[name] for name in node.input if name), default=0)
            if is_collective(node):
                index = self.collectives.index(node)
                assert stage <= index, f"{node.name} waits for a later collective"
                stage = index + 1
                wanted.update(node.input)
            else:
                stages[stage].append(node)
                wanted.update(name for name in node.input if name and stage_of[name] < stage)
            stage_of.update(dict.fromkeys(node.output, stage))
        self.stages = [Stage(self.model, nodes, types, wanted) if nodes else None for nodes in stages]

    def shard(self, name: str):
        text = self.properties.get(f"caat.shard.{name}")
        return json.loads(text) if text else None

    def cut(self, name: str, whole: np.ndarray) -> np.ndarray:
        """This rank's part of an input."""
        shard = self.shard(name)
        if shard is None:
            return whole
        dim = shard["dim"]
        parts = [np.take(whole, range(start, start + length), dim) for start, length in shard["pieces"]]
        value = next(v for v in self.model.graph.input if v.name == name)
        missing = value.type.tensor_type.shape.dim[dim].dim_value - sum(p.shape[dim] for p in parts)
        shape = list(whole.shape)
        shape[dim] = missing
        return np.concatenate([*parts, np.zeros(shape, whole.dtype)], dim)


class Ranks:
    """The files of all ranks, by their numbers."""

    def __init__(self, paths: list[Path]):
        self.ranks = [Rank(path) for path in paths]
        for rank in self.ranks:
            assert [c.name for c in rank.collectives] == [c.name for c in self.ranks[0].collectives]

    def __len__(self):
        return len(self.ranks)

    def run(self, inputs: dict, network=communicate) -> dict:
        """The whole outputs for whole inputs. `network(node, inputs)` says what the ranks get of a collective."""
        values = [{v.name: rank.cut(v.name, inputs[v.name]) for v in rank.model.graph.input} for rank in self.ranks]
        for index in range(len(self.ranks[0].stages)):
            for rank, known in zip(self.ranks, values):
                if rank.stages[index]:
                    rank.stages[index].run(known)
            if index < len(self.ranks[0].collectives):
                node = self.ranks[0].collectives[index]
                results = network(node, [known[rank.collectives[index].input[0]] for rank, known in zip(self.ranks, values)])
                for rank, known, result in zip(self.ranks, values, results):
                    known[rank.collectives[index].output[0]] = result
        return {v.name: self._join(v.name, values) for v in self.ranks[0].model.graph.output}

    def _join(self, name: str, values: list[dict]) -> np.ndarray:
        parts = [known[name] for known in values]
        shards = [rank.shard(name) for rank in self.ranks]
        if shards[0] is None:
            for part in parts[1:]:
                np.testing.assert_allclose(part, parts[0], rtol=1e-4, atol=1e-4, err_msg=f"{name} differs between ranks")
            return parts[0]
        dim = shards[0]["dim"]
        shape = list(parts[0].shape)
        shape[dim] = shards[0]["global"]
        whole = np.zeros(shape, parts[0].dtype)
        for part, shard in zip(parts, shards):
            at = 0
            for start, length in shard["pieces"]:
                index = [slice(None)] * whole.ndim
                index[dim] = slice(start, start + length)
                whole[tuple(index)] = np.take(part, range(at, at + length), dim)
                at += length
        return whole
