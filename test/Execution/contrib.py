#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX Runtime's contrib operators, each in a small graph, compiled for 1, 2 and 3 ranks, against ONNX Runtime's numbers."""
import json
import tempfile
import unittest
from pathlib import Path

import numpy as np

import programs
from graphs import Graph, T, h, onnxruntime_results, program_results, worst

SIZES = (1, 2, 3)
B, S, P, H, D, KV = 2, 5, 4, 6, 8, 3  # batch, new and past tokens, heads, head size, KV heads
W = H * D


def x_input(g: Graph, name="x", width=W):
    return g.input(name, ["batch", "seq", width])


def norms(g: Graph):
    x, skip = x_input(g), x_input(g, "skip")
    gamma, beta, bias = g.weight(W), g.weight(W), g.weight(W)
    y, _, _, s = g.contrib("SkipLayerNormalization", [x, skip, gamma, beta, bias], ["a", "", "", "a_sum"], epsilon=1e-5)
    g.contrib("SkipLayerNormalization", [s, skip, gamma], ["b"])
    g.contrib("SkipSimplifiedLayerNormalization", [x, skip, gamma, bias], ["c", "", "", "c_sum"], epsilon=1e-6)
    g.node("SimplifiedLayerNormalization", [x, gamma], ["d"], epsilon=1e-6, axis=-1)
    for name in ("a", "a_sum", "b", "c", "c_sum", "d"):
        g.output(name, ["batch", "seq", W])
    return {"x": (B, S, W), "skip": (B, S, W)}


def norm_statistics(g: Graph):
    """The mean, the inverse deviation and the sum as results, and as what later nodes read."""
    x, skip = x_input(g), x_input(g, "skip")
    g.contrib("SkipLayerNormalization", [x, skip, g.weight(W), g.weight(W), g.weight(W)], ["a", "mean", "deviation", "sum"], epsilon=1e-3)
    g.node("Mul", [g.node("Sub", ["sum", "mean"]), "deviation"], ["b"])
    _, _, inverse, total = g.contrib("SkipSimplifiedLayerNormalization", [x, skip, g.weight(W)], ["c", "", "inverse", "total"], epsilon=1e-3)
    g.node("MatMul", [g.node("Mul", [total, inverse]), g.weight(W, 6)], ["d"])
    for name, width in {"a": W, "b": W, "c": W, "sum": W, "d": 6, "mean": 1, "deviation": 1}.items():
        g.output(name, ["batch", "seq", width])
    return {"x": (B, S, W), "skip": (B, S, W)}


def norm_statistics_twin(g: Graph):
    """The same without SkipLayerNormalization's statistics, which ONNX Runtime's CPU kernels do not write."""
    x, skip = x_input(g), x_input(g, "skip")
    gamma, beta, bias, scale, out = g.weight(W), g.weight(W), g.weight(W), g.weight(W), g.weight(W, 6)
    axes, epsilon = g.constant(np.array([-1])), g.constant(np.array(1e-3, np.float32))
    total = g.node("Add", [x, skip])
    g.node("Add", [total, bias], ["sum"])
    g.node("LayerNormalization", ["sum", gamma, beta], ["a", "mean", "deviation"], epsilon=1e-3)
    g.node("Mul", [g.node("Sub", ["sum", "mean"]), "deviation"], ["b"])
    square = g.node("ReduceMean", [g.node("Mul", [total, total]), axes])
    normed = g.node("Div", [total, g.node("Sqrt", [g.node("Add", [square, epsilon])])])
    g.node("Mul", [normed, scale], ["c"])
    g.node("MatMul", [normed, out], ["d"])
    for name, width in {"a": W, "b": W, "c": W, "sum": W, "d": 6, "mean": 1, "deviation": 1}.items():
        g.output(name, ["batch", "seq", width])
    return {"x": (B, S, W), "skip": (B, S, W)}


def bias_add(g: Graph, fused=True):
    """ONNX Runtime has it for CUDA only: the twin is made of additions."""
    x, skip, bias = x_input(g), x_input(g, "skip"), g.weight(W)
    h = g.node("MatMul", [x, g.weight(W, W)])
    if fused:
        g.contrib("BiasAdd", [h, bias, skip], ["s"])
    else:
        g.node("Add", [g.node("Add", [h, bias]), skip], ["s"])
    g.node("MatMul", ["s", g.weight(W, 6)], ["y"])
    g.output("s", ["batch", "seq", W])
    g.output("y", ["batch", "seq", 6])
    return {"x": (B, S, W), "skip": (B, S, W)}


def gemma_rotary(g: Graph, fused=True):
    """Queries and keys with their rotated halves; for CUDA only in ONNX Runtime too."""
    x, angles = x_input(g), g.input("angles", ["batch", "seq", D])
    heads = []
    for count in (H, KV):
        flat = g.node("MatMul", [x, g.weight(W, count * D)])
        split = g.node("Reshape", [flat, g.constant(np.array([0, 0, count, D]))])
        head = g.node("Transpose", [split], perm=[0, 2, 1, 3])
        low, high = g.node("Split", [head], 2, axis=-1, num_outputs=2)
        heads += [head, g.node("Concat", [g.node("Neg", [high]), low], axis=-1)]
    if fused:
        g.contrib("GemmaRotaryEmbedding", [angles, *heads], ["q", "k"])
    else:
        wide = g.node("Unsqueeze", [angles, g.constant(np.array([1]))])
        for name, plain, turned in (("q", *heads[:2]), ("k", *heads[2:])):
            parts = [g.node("Mul", [plain, g.node("Cos", [wide])]), g.node("Mul", [turned, g.node("Sin", [wide])])]
            g.node("Add", parts, [name])
    g.output("q", ["batch", H, "seq", D])
    g.output("k", ["batch", KV, "seq", D])
    return {"x": (B, S, W), "angles": (B, S, D)}


def activations(g: Graph):
    x = x_input(g)
    h = g.node("MatMul", [x, g.weight(W, 96)])
    bias = g.weight(96)
    parts = [g.contrib("FastGelu", [h, bias]), g.contrib("FastGelu", [h]), g.contrib("BiasGelu", [h, bias]),
             g.contrib("Gelu", [h]), g.contrib("QuickGelu", [h], alpha=1.5)]
    g.node("MatMul", [g.node("Sum", parts), g.weight(96, W)], ["y"])
    g.output("y", ["batch", "seq", W])
    return {"x": (B, S, W)}


def fused_matmul(g: Graph):
    x = x_input(g)
    h = g.contrib("FusedMatMul", [x, g.weight(96, W)], transB=1, alpha=0.5)
    g.contrib("FusedMatMul", [x, h], ["y"], transA=1, alpha=2.0)
    g.output("y", ["batch", W, 96])
    return {"x": (B, S, W)}


def embeddings(g: Graph):
    ids, segments = g.input("ids", ["batch", "seq"], T.INT32), g.input("segments", ["batch", "seq"], T.INT32)
    mask = g.input("mask", ["batch", "seq"], T.INT32)
    tables = [g.weight(50, W), g.weight(20, W), g.weight(2, W)]
    gamma, beta = g.weight(W), g.weight(W)
    g.contrib("EmbedLayerNormalization", [ids, segments, *tables, gamma, beta, mask], ["y", "index", "sum"], epsilon=1e-6)
    g.contrib("EmbedLayerNormalization", [ids, "", *tables[:2], "", gamma, beta], ["z", "none"])
    for name in ("y", "sum", "z"):
        g.output(name, ["batch", "seq", W])
    for name in ("index", "none"):
        g.output(name, ["batch"], T.INT32)
    full = np.ones((B, S), np.int32)
    full[0, 3:] = 0
    return {"ids": g.random.integers(0, 50, (B, S)).astype(np.int32), "mask": full,
            "segments": g.random.integers(0, 2, (B, S)).astype(np.int32)}


def rotary(g: Graph):
    x, ids = x_input(g), g.input("ids", ["batch", "seq"], T.INT64)
    angles = g.random.uniform(0, 6, (32, D // 2)).astype(np.float32)
    cos, sin = g.constant(np.cos(angles)), g.constant(np.sin(angles))
    y = g.contrib("RotaryEmbedding", [x, ids, cos, sin], num_heads=H)
    g.contrib("RotaryEmbedding", [y, ids, cos, sin], ["y"], interleaved=1, num_heads=H)
    offset = g.constant(np.array([3], np.int64))
    g.contrib("RotaryEmbedding", [x, offset, cos, sin], ["z"], num_heads=H)
    g.output("y", ["batch", "seq", W])
    g.output("z", ["batch", "seq", W])
    return {"x": (B, S, W), "ids": g.random.integers(0, 32, (B, S))}


def project(g: Graph, x, *widths):
    return [g.node("MatMul", [x, g.weight(W, width)]) for width in widths]


def multi_head(g: Graph, past=False, padding=None, packed=None, unpack=False, **attributes):
    """One form of MultiHeadAttention between two products; `unpack`: a packed form's operands as operands of their own."""
    x = x_input(g)
    feeds = {"x": (B, S, W)}
    q, k, v = project(g, x, W, W, W)
    inputs = [q, k, v, g.weight(3 * W)]
    if packed:
        count = len(packed)
        joined = g.node("Reshape", [g.node("MatMul", [x, g.weight(W, count * W)]), g.constant(np.array([0, 0, H, count, D]))])
        if unpack:  # what ONNX Runtime's CPU kernel knows
            parts = [g.node("Gather", [joined, g.constant(np.array(i))], axis=3) for i in range(count)]
            parts = [g.node("Reshape", [part, g.constant(np.array([0, 0, W]))]) for part in parts]
            inputs = ([] if count == 3 else [q]) + parts
        else:
            inputs = [joined, "", ""] if count == 3 else [q, joined, ""]
        inputs.append("")
    if padding == "rows":
        inputs.append(g.input("mask", ["batch", "past + seq" if past else "seq"], T.INT32))
        feeds["mask"] = np.ones((B, (P if past else 0) + S), np.int32)
        feeds["mask"][0, :2] = 0
    elif padding == "lengths":
        inputs.append(g.input("lengths", ["batch"], T.INT32))
        feeds["lengths"] = np.array([S - 2, S], np.int32)
    elif padding == "added":
        inputs += ["", g.input("added", ["batch", 1, "seq", "past + seq"])]
        feeds["added"] = (B, 1, S, (P if past else 0) + S)
    outputs = ["o"]
    if past:
        inputs += [""] * (6 - len(inputs))
        for name in ("past_key", "past_value"):
            inputs.append(g.input(name, ["batch", H, "past", D]))
            feeds[name] = (B, H, P, D)
        outputs += ["present_key", "present_value"]
        for name in outputs[1:]:
            g.output(name, ["batch", H, "past + seq", D])
    g.contrib("MultiHeadAttention", inputs, outputs, num_heads=H, **attributes)
    g.node("MatMul", ["o", g.weight(W, W)], ["y"])
    g.output("y", ["batch", "seq", W])
    return feeds


def packed_attention(g: Graph, mask=None, past=False, **attributes):
    x = x_input(g)
    feeds = {"x": (B, S, W)}
    inputs = [x, g.weight(W, 3 * W), g.weight(3 * W), "", ""]
    total = (P if past else 0) + S
    if mask == "rows":
        inputs[3] = g.input("mask", ["batch", "total"], T.INT32)
        feeds["mask"] = np.ones((B, total), np.int32)
        feeds["mask"][1, :2] = 0
    elif mask == "lengths":
        inputs[3] = g.input("lengths", ["batch"], T.INT32)
        feeds["lengths"] = np.array([S, S - 2], np.int32)
    elif mask == "ranges":
        inputs[3] = g.input("ranges", ["2*batch"], T.INT32)
        feeds["ranges"] = np.array([S, S - 1, 0, 2], np.int32)
    outputs = ["o"]
    if past:
        inputs[4] = g.input("past", [2, "batch", H, "past", D])
        feeds["past"] = (2, B, H, P, D)
        outputs.append("present")
        g.output("present", [2, "batch", H, "past + seq", D])
    g.contrib("Attention", inputs, outputs, num_heads=H, **attributes)
    g.node("MatMul", ["o", g.weight(W, W)], ["y"])
    g.output("y", ["batch", "seq", W])
    return feeds


def grouped(g: Graph, packed=True, past=P, rotary=True, ids=False, batch=1, **attributes):
    """GroupQueryAttention; every row has `past` keys already. ONNX Runtime wants head sizes of 16 and, on a cache, one row
    or one token."""
    x = x_input(g)
    B, D, S = batch, 16, 1 if batch > 1 and past else globals()["S"]
    total = past + S
    feeds = {"x": (B, S, W), "lengths": np.full(B, total - 1, np.int32), "total": np.array([total], np.int32)}
    if packed:
        inputs = [g.node("MatMul", [x, g.weight(W, (H + 2 * KV) * D)]), "", ""]
    else:
        inputs = project(g, x, H * D, KV * D, KV * D)
    for name in ("past_key", "past_value"):
        inputs.append(g.input(name, ["batch", KV, "past", D]))
        feeds[name] = (B, KV, past, D)
    inputs += [g.input("lengths", ["batch"], T.INT32), g.input("total", [1], T.INT32)]
    if rotary:
        angles = g.random.uniform(0, 6, (32, D // 2)).astype(np.float32)
        inputs += [g.constant(np.cos(angles)), g.constant(np.sin(angles))]
        if ids:
            inputs.append(g.input("ids", ["batch", "seq"], T.INT64))
            feeds["ids"] = np.broadcast_to(np.arange(past, total), (B, S)).copy()
    g.contrib("GroupQueryAttention", inputs, ["o", "present_key", "present_value"], num_heads=H, kv_num_heads=KV,
              do_rotary=int(rotary), **attributes)
    for name in ("present_key", "present_value"):
        g.output(name, ["batch", KV, "past + seq", D])
    g.node("MatMul", ["o", g.weight(H * D, W)], ["y"])
    g.output("y", ["batch", "seq", W])
    return feeds


def quantized(g: Graph, bits=4, block=16, zero="packed", k=W, n=64, bias=True):
    """Two products, one split by columns, the other by rows."""

    def product(x, n, k):
        blocks = -(-k // block)
        inputs = [x, g.constant(g.random.integers(0, 256, (n, blocks, block * bits // 8), dtype=np.uint8)),
                  g.constant(g.random.uniform(0.005, 0.02, (n, blocks) if bits == 8 else (n * blocks,)).astype(np.float32))]
        if zero == "packed":
            inputs.append(g.constant(g.random.integers(0, 256, n * (-(-blocks * bits // 8)), dtype=np.uint8)))
        elif zero == "float":
            inputs.append(g.constant(g.random.uniform(4, 12, (n, blocks)).astype(np.float32)))
        if bias:
            inputs += [""] * (5 - len(inputs)) + [g.weight(n)]
        return g.contrib("MatMulNBits", inputs, N=n, K=k, bits=bits, block_size=block)

    x = x_input(g, width=k)
    h = g.node("Relu", [product(x, n, k)])
    g.node("Identity", [product(h, k, n)], ["y"])
    g.output("y", ["batch", "seq", k])
    return {"x": (B, S, k)}


def dequantized(g: Graph):
    """The same with ONNX's own operator: 4 bits in blocks along either side, 8 bits for each column."""
    x = x_input(g, width=64)

    def weight(type, shape, axis, block):
        low, high = (-8, 8) if type == T.INT4 else (0, 16)
        scales = [n // block if d == axis else n for d, n in enumerate(shape)]
        names = [f"{part}_{g.count}" for part in ("q", "z")]
        for name, dims in zip(names, (shape, scales)):
            values = g.random.integers(low, high, int(np.prod(dims)))
            g.initializers.append(h.make_tensor(name, type, dims, values))
        scale = g.constant(g.random.uniform(0.02, 0.1, scales).astype(np.float32))
        return g.node("DequantizeLinear", [names[0], scale, names[1]], axis=axis, block_size=block)

    up = g.node("Relu", [g.node("MatMul", [x, weight(T.INT4, [64, 96], 0, 16)])])
    mid = g.node("Relu", [g.node("MatMul", [up, weight(T.UINT4, [96, 64], 1, 32)])])
    columns = g.constant(g.random.integers(-100, 100, (64, 48)).astype(np.int8))
    last = g.node("DequantizeLinear", [columns, g.constant(g.random.uniform(0.001, 0.01, 48).astype(np.float32))], axis=1)
    g.node("MatMul", [mid, last], ["y"])
    g.output("y", ["batch", "seq", 48])
    return {"x": (B, S, 64)}


def quantized_table(g: Graph):
    ids = g.input("ids", ["batch", "seq"], T.INT64)
    table = g.constant(g.random.integers(0, 256, (20, W // 2), dtype=np.uint8))
    scale = g.constant(g.random.uniform(0.01, 0.1, (20, W // 16)).astype(np.float32))
    g.contrib("GatherBlockQuantized", [table, ids, scale], ["y"], block_size=16, bits=4, quantize_axis=1)
    g.output("y", ["batch", "seq", W])
    return {"ids": g.random.integers(0, 20, (B, S))}


def experts(g: Graph, **attributes):
    x = g.input("x", ["tokens", W])
    router = g.node("MatMul", [x, g.weight(W, 4)])
    inputs = [x, router, g.weight(4, 32, W), g.weight(4, 32), g.weight(4, W, 32), g.weight(4, W)]
    g.contrib("MoE", inputs, ["y"], k=2, **attributes)
    g.output("y", ["tokens", W])
    return {"x": (7, W)}


def decoder_layers(g: Graph):
    """Two layers as the genai builder writes them, with 4-bit weights."""
    x = x_input(g)
    B, D = 1, 16
    feeds = {"x": (B, S, W), "lengths": np.full(B, P + S - 1, np.int32), "total": np.array([P + S], np.int32)}
    lengths, total = g.input("lengths", ["batch"], T.INT32), g.input("total", [1], T.INT32)
    angles = g.random.uniform(0, 6, (32, D // 2)).astype(np.float32)
    cos, sin = g.constant(np.cos(angles)), g.constant(np.sin(angles))

    def product(x, k, n):
        blocks = -(-k // 16)
        packed = g.constant(g.random.integers(0, 256, (n, blocks, 8), dtype=np.uint8))
        return g.contrib("MatMulNBits", [x, packed, g.constant(g.random.uniform(0.005, 0.02, n * blocks).astype(np.float32))],
                         N=n, K=k, bits=4, block_size=16)

    norm = g.node("SimplifiedLayerNormalization", [x, g.weight(W)], axis=-1, epsilon=1e-5)
    stream = x
    for layer in range(2):
        qkv = product(norm, W, (H + 2 * KV) * D)
        past = [g.input(f"past.{layer}.{part}", ["batch", KV, "past", D]) for part in ("key", "value")]
        feeds |= {name: (B, KV, P, D) for name in past}
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        for name in present:
            g.output(name, ["batch", KV, "past + seq", D])
        o = g.contrib("GroupQueryAttention", [qkv, "", "", *past, lengths, total, cos, sin], [f"o{layer}", *present],
                      num_heads=H, kv_num_heads=KV, do_rotary=1)[0]
        names = [f"n{layer}", "", "", f"s{layer}"]
        norm, _, _, stream = g.contrib("SkipSimplifiedLayerNormalization", [stream, product(o, H * D, W), g.weight(W)], names, epsilon=1e-5)
        gate, up = product(norm, W, 96), product(norm, W, 96)
        mlp = product(g.node("Mul", [g.contrib("QuickGelu", [gate], alpha=1.0), up]), 96, W)
        names = [f"m{layer}", "", "", f"t{layer}"]
        norm, _, _, stream = g.contrib("SkipSimplifiedLayerNormalization", [stream, mlp, g.weight(W)], names, epsilon=1e-5)
    g.node("MatMul", [norm, g.weight(W, 50)], ["y"])
    g.output("y", ["batch", "seq", 50])
    return feeds


CASES = {
    "norms": norms,
    "norm_statistics": norm_statistics,
    "bias_add": bias_add,
    "gemma_rotary": gemma_rotary,
    "activations": activations,
    "fused_matmul": fused_matmul,
    "embeddings": embeddings,
    "rotary": rotary,
    "multi_head": multi_head,
    "multi_head_past": lambda g: multi_head(g, past=True, unidirectional=1, scale=0.3),
    "multi_head_rows": lambda g: multi_head(g, padding="rows"),
    "multi_head_lengths": lambda g: multi_head(g, padding="lengths"),
    "multi_head_added": lambda g: multi_head(g, padding="added", past=True),
    "multi_head_qkv": lambda g: multi_head(g, packed="qkv"),
    "multi_head_kv": lambda g: multi_head(g, packed="kv"),
    "packed_attention": lambda g: packed_attention(g, unidirectional=1),
    "packed_attention_rows": lambda g: packed_attention(g, mask="rows", past=True, unidirectional=1),
    "packed_attention_lengths": lambda g: packed_attention(g, mask="lengths"),
    "packed_attention_ranges": lambda g: packed_attention(g, mask="ranges"),
    "grouped": grouped,
    "grouped_rows": lambda g: grouped(g, batch=3),
    "grouped_first": lambda g: grouped(g, past=0, batch=2, packed=False, rotary_interleaved=1),
    "grouped_window": lambda g: grouped(g, local_window_size=3, softcap=5.0, scale=0.5),
    "grouped_positions": lambda g: grouped(g, ids=True),
    "grouped_plain": lambda g: grouped(g, packed=False, rotary=False),
    "quantized_2": lambda g: quantized(g, bits=2, k=48),
    "quantized_2_middle": lambda g: quantized(g, bits=2, zero=None, block=32, k=80, bias=False),
    "quantized_4": quantized,
    "quantized_4_middle": lambda g: quantized(g, zero=None, block=32, k=80, bias=False),
    "quantized_8": lambda g: quantized(g, bits=8, block=32, k=64),
    "quantized_table": quantized_table,
    "dequantized": dequantized,
    "experts": lambda g: experts(g, activation_type="silu", normalize_routing_weights=1),
    "experts_relu": lambda g: experts(g, activation_type="relu"),
    "decoder_layers": decoder_layers,
}


#: The same for ONNX Runtime, where its CPU kernels lack a form.
TWINS = {
    "norm_statistics": norm_statistics_twin,
    "bias_add": lambda g: bias_add(g, fused=False),
    "gemma_rotary": lambda g: gemma_rotary(g, fused=False),
    "multi_head_qkv": lambda g: multi_head(g, packed="qkv", unpack=True),
    "multi_head_kv": lambda g: multi_head(g, packed="kv", unpack=True),
}


class Contrib(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def make(self, case, twin=False):
        g = Graph(seed=sum(map(ord, case)))
        shapes = (TWINS if twin else CASES)[case](g)
        feeds = {name: (g.random.standard_normal(x).astype(np.float32) if isinstance(x, tuple) else x)
                 for name, x in shapes.items()}
        return g.save(self.folder / f"model-{twin}.onnx"), feeds

    def check(self, case):
        model, feeds = self.make(case)
        twin = self.make(case, twin=True)[0] if case in TWINS else model
        want = onnxruntime_results(twin, feeds)
        for size in SIZES:
            program = programs.compile_model(model, self.folder / f"program-{size}", size)
            difference, where = worst(want, program_results(program, feeds))
            self.assertLess(difference, 1e-4, f"{case}, N={size}: {where}")

    def test_rows_of_different_lengths(self):
        """Each row of a filled cache goes on behind its own past."""
        g = Graph(seed=5)
        shapes = grouped(g, batch=3)
        feeds = {name: (g.random.standard_normal(x).astype(np.float32) if isinstance(x, tuple) else x)
                 for name, x in shapes.items()}
        feeds["lengths"] = np.array([P, 1, P - 2], np.int32)  # the last key's place
        model = g.save(self.folder / "model.onnx")
        want = onnxruntime_results(model, feeds)
        for size in SIZES:
            program = programs.compile_model(model, self.folder / f"program-{size}", size, flags=["--row-lengths"])
            got = program_results(program, feeds)
            for name in ("present_key", "present_value"):  # behind its end a row holds anything
                for row, last in enumerate(feeds["lengths"]):
                    for arrays in (want, got):
                        arrays[name][row, :, last + 1:] = 0
            difference, where = worst(want, got)
            self.assertLess(difference, 1e-4, f"N={size}: {where}")
            np.savez(self.folder / "long.npz", **(feeds | {"lengths": np.array([P, P + 1, 0], np.int32)}))
            done = programs.run("caat-run", "infer", program, f"--inputs={self.folder / 'long.npz'}",
                                f"--outputs={self.folder / 'o.npz'}")
            self.assertEqual(done.returncode, 1)
            self.assertIn("a row's length (seqlens_k + 1) is not in 1 to", done.stderr)

    def test_plans(self):
        """Contrib operators make sync points like all others: leaving sums out changes the result, deferring nothing does not."""
        model, feeds = self.make("decoder_layers")
        want = onnxruntime_results(model, feeds)
        for size in (2, 3):
            for shared, exact in ((1.0, True), (0.5, False)):
                plan = {"version": 1, "tp": size, "default": {"sync": "partial", "shared": shared, "rest": "deferred"}}
                program = programs.compile_model(model, self.folder / f"plan-{size}-{shared}", size, plan)
                sites = json.loads((program / "manifest.json").read_text())["collectives"]
                self.assertGreaterEqual(len(sites), 4)
                difference, where = worst(want, program_results(program, feeds))
                self.assertEqual(difference < 1e-4, exact, f"N={size}, shared {shared}: {difference} in {where}")


for name in CASES:
    setattr(Contrib, f"test_{name}", lambda self, name=name: self.check(name))

if __name__ == "__main__":
    unittest.main()
