# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights of a decoder out of an ONNX file, by the order of its products and norms in the graph.

Deliberately naive and independent of caat's importer: it never looks at names. A layer is four to seven products with
constant weights (q, k, v or fused; output; gate, up, down or two), preceded by its norms in the same order.
"""
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

NORMS = ("RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "LayerNormalization")


@dataclass
class Linear:
    """y = x @ weight + bias; weight [K, N], bias [N] or None; `output` names y in the graph."""
    weight: np.ndarray
    bias: np.ndarray | None = None
    output: str = ""


@dataclass
class Norm:
    weight: np.ndarray
    bias: np.ndarray | None
    epsilon: float
    rms: bool


@dataclass
class Layer:
    attention_norm: Norm
    q: Linear
    k: Linear
    v: Linear
    out: Linear
    mlp_norm: Norm
    gate: Linear | None
    up: Linear
    down: Linear


@dataclass
class Model:
    """What `simulate` needs. Families: llama, gpt2, opt, mlp (one block: no norms, attention or vocabulary)."""
    family: str
    hidden: int
    layers: list[Layer]
    activation: str = "silu"
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    embedding: np.ndarray | None = None
    positions: np.ndarray | None = None      # learned position table, or None
    position_offset: int = 0
    positions_from_mask: bool = False
    rotary: tuple | None = None              # cos, sin tables [max, head_dim / 2]
    final_norm: Norm | None = None
    head: Linear | None = None
    inputs: list[str] = field(default_factory=list)


class Graph:
    """Lookups in one ONNX graph: constants, producers, users."""

    def __init__(self, path):
        model = onnx.load(path)
        self.graph = model.graph
        self.nodes = list(model.graph.node)
        self.tensors = {t.name: t for t in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.tensors[node.output[0]] = node.attribute[0].t
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.users = {}
        for node in self.nodes:
            for name in node.input:
                self.users.setdefault(name, []).append(node)
        self.cache = {}

    def constant(self, name) -> np.ndarray | None:
        """The value of `name` if it is stored in the file, or its transpose is."""
        if name in self.tensors:
            if name not in self.cache:
                self.cache[name] = numpy_helper.to_array(self.tensors[name])
            return self.cache[name]
        node = self.producer.get(name)
        if node is not None and node.op_type == "Transpose" and self.is_constant(node.input[0]):
            return self.constant(node.input[0]).transpose(attribute(node, "perm"))
        return None

    def is_constant(self, name) -> bool:
        return self.constant(name) is not None

    def users_of(self, name, op=None):
        return [n for n in self.users.get(name, []) if op is None or n.op_type == op]


def attribute(node, name, default=None):
    for a in node.attribute:
        if a.name == name:
            return onnx.helper.get_attribute_value(a)
    return default


def products(g: Graph) -> list[Linear]:
    """All MatMul and Gemm by a stored matrix, in graph order, each with its bias."""
    found = []
    for node in g.nodes:
        weight = g.constant(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if weight is None or weight.ndim != 2:
            continue
        linear = Linear(weight.T if attribute(node, "transB", 0) else weight, None, node.output[0])
        if node.op_type == "Gemm":
            linear.bias = g.constant(node.input[2])
        else:
            for add in g.users_of(node.output[0], "Add"):
                bias = g.constant([i for i in add.input if i != node.output[0]][0])
                if bias is not None and bias.ndim == 1:
                    linear.bias, linear.output = bias, add.output[0]
        found.append(linear)
    return found


def norms(g: Graph) -> list[Norm]:
    found = []
    for node in g.nodes:
        if node.op_type not in NORMS:
            continue
        skip = node.op_type.startswith("Skip")
        bias = g.constant(node.input[2]) if not skip and len(node.input) > 2 and node.input[2] else None
        found.append(Norm(g.constant(node.input[2 if skip else 1]), bias, attribute(node, "epsilon", 1e-5),
                          node.op_type != "LayerNormalization"))
    return found


def decomposed_norms(g: Graph, hidden: int) -> list[Norm]:
    """RMS norms that the exporter wrote as Pow, ReduceMean, Add, …, Mul by the weight."""
    epsilons = []
    for node in g.nodes:
        if node.op_type == "ReduceMean":
            for add in g.users_of(node.output[0], "Add"):
                epsilons += [float(g.constant(i).reshape(())) for i in add.input if g.is_constant(i)]
    weights = []
    for node in g.nodes:
        if node.op_type == "Mul":
            weights += [c for i in node.input if (c := g.constant(i)) is not None and c.shape == (hidden,)]
    return [Norm(w, None, e, True) for w, e in zip(weights, epsilons, strict=True)]


def head_dim_of(g: Graph, name: str, width: int) -> int:
    """The last dimension, below `width`, that the query (or fused) product `name` is reshaped to."""
    frontier = [name]
    for _ in range(8):
        users = [node for name in frontier for node in g.users_of(name)]
        for node in users:
            if node.op_type == "Reshape":
                shape = node.input[1]
                if not g.is_constant(shape):
                    shape = g.producer[shape].input[-1]      # a Concat: its last piece
                if (last := g.constant(shape)) is not None and 0 < last.reshape(-1)[-1] < width:
                    return int(last.reshape(-1)[-1])
        frontier = [n.output[0] for n in users if n.op_type in ("Add", "Mul", "Reshape", "Split")]
    raise ValueError("no head size found")


def rotary_tables(g: Graph, head_dim: int):
    """cos and sin [positions, head_dim / 2]: stored tables, or made of the stored inverse frequencies."""
    for node in g.nodes:
        if node.op_type == "GroupQueryAttention":
            return g.constant(node.input[7]), g.constant(node.input[8])
    for tensor in g.tensors.values():
        shape = [d for d in tensor.dims if d != 1]
        if shape == [head_dim // 2] and tensor.data_type == onnx.TensorProto.FLOAT:
            angles = np.outer(np.arange(2048, dtype=np.float32), numpy_helper.to_array(tensor).reshape(-1))
            return np.cos(angles), np.sin(angles)
    return None


def split_qkv(fused: Linear, q_width: int, kv_width: int):
    cuts = [q_width, q_width + kv_width]
    weights = np.split(fused.weight, cuts, axis=1)
    biases = np.split(fused.bias, cuts) if fused.bias is not None else [None] * 3
    return [Linear(w, b, fused.output) for w, b in zip(weights, biases)]


def load(path) -> Model:
    g = Graph(Path(path))
    linears, normals = products(g), norms(g)
    inputs = [i.name for i in g.graph.input]
    if "input_ids" not in inputs:
        activation = next(n.op_type.lower() for n in g.nodes if n.op_type in ("Gelu", "Relu"))
        up, down = linears
        layer = Layer(None, None, None, None, None, None, None, up, down)
        return Model("mlp", down.weight.shape[1], [layer], activation, inputs=inputs)

    gathers = [n for n in g.nodes if n.op_type == "Gather"
               and (c := g.constant(n.input[0])) is not None and c.ndim == 2 and c.dtype == np.float32]
    embedding = g.constant(gathers[0].input[0])
    hidden = embedding.shape[1]
    normals = normals or decomposed_norms(g, hidden)
    head = linears.pop()
    rms = normals[0].rms
    family = "llama" if rms else "opt" if any(n.op_type == "Relu" for n in g.nodes) else "gpt2"
    fused = linears[0].weight.shape[1] > linears[0].weight.shape[0] and linears[1].weight.shape[1] == hidden
    attention = [n for n in g.nodes if n.op_type == "GroupQueryAttention"]
    per_layer = (1 if fused else 3) + 1 + (3 if family == "llama" else 2)
    if len(linears) % per_layer or len(normals) != 2 * (len(linears) // per_layer) + 1:
        raise ValueError(f"{path}: {len(linears)} products and {len(normals)} norms do not make {family} layers")

    first = linears[:per_layer]
    out_width = first[1 if fused else 3].weight.shape[0]
    head_dim = (out_width // attribute(attention[0], "num_heads") if attention else head_dim_of(g, first[0].output, out_width))
    heads = out_width // head_dim
    kv_heads = ((first[0].weight.shape[1] // head_dim - heads) // 2 if fused
                else first[1].weight.shape[1] // head_dim)
    layers = []
    for i in range(len(linears) // per_layer):
        part = linears[i * per_layer:(i + 1) * per_layer]
        if fused:
            part = split_qkv(part[0], heads * head_dim, kv_heads * head_dim) + part[1:]
        q, k, v, out, *mlp = part
        gate = None
        if family == "llama":
            *pair, down = mlp
            gate, up = sorted(pair, key=lambda linear: not g.users_of(linear.output, "Sigmoid"))
        else:
            up, down = mlp
        layers.append(Layer(normals[2 * i], q, k, v, out, normals[2 * i + 1], gate, up, down))
    model = Model(family, hidden, layers, {"llama": "silu", "opt": "relu", "gpt2": "gelu_tanh"}[family], heads,
                  kv_heads, head_dim, embedding, final_norm=normals[-1], head=head, inputs=inputs)
    if family == "llama":
        model.rotary = rotary_tables(g, head_dim)
    else:
        model.positions = g.constant(gathers[1].input[0])
        model.position_offset = 2 if family == "opt" else 0
        model.positions_from_mask = family == "opt"
    return model
