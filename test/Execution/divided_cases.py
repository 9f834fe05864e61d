# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small decoders, with something between the embedding and the attention, or behind it, that may or may not be divided."""
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEADS, HEAD, WIDTH, ROWS = 2, 16, 32, 64


class Graph:
    """Nodes by calls: g.Add(a, b) gives the name of the sum; arrays and numbers become constants."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value) -> str:
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else array.dtype if array.dtype == bool else np.int64)
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def __getattr__(self, op):
        def node(*inputs, results=1, domain="", **attributes):
            names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
            outputs = [f"v{len(self.nodes)}_{k}" for k in range(results)]
            self.nodes.append(helper.make_node(op, names, outputs, f"{op}_{len(self.nodes)}", domain=domain, **attributes))
            return outputs[0] if results == 1 else outputs
        return node

    def size(self, name, axis):
        return self.Gather(self.Shape(name), axis, axis=0)


class Sizes:
    """Of a run, as scalars and as arrays of one element."""

    def __init__(self, g):
        self.n, self.p = g.size("input_ids", 1), g.size("past_key_values.0.key", 2)
        self.t = g.Add(self.n, self.p)
        self.b = g.size("input_ids", 0)
        self.n1, self.p1, self.t1, self.b1 = (g.Reshape(s, [1]) for s in (self.n, self.p, self.t, self.b))


TABLE = np.random.default_rng(3).standard_normal((ROWS, WIDTH)) * 0.5
to_float = TensorProto.FLOAT
INPUT, OUTPUT, PROVED = {}, {}, set()


def before(proved=False):
    return lambda f: add(INPUT, f, proved)


def behind(proved=False):
    return lambda f: add(OUTPUT, f, proved)


def add(where, function, proved):
    where[function.__name__] = function
    if proved:
        PROVED.add(function.__name__)
    return function


def rows(g, x, positions):
    return g.Add(x, g.Gather(TABLE, positions))


@before(proved=True)
def positions_behind_the_past(g, x, s): return rows(g, x, g.Range(s.p, s.t, 1))


@before(proved=True)
def positions_with_the_past_added(g, x, s): return rows(g, x, g.Add(g.Range(0, s.n, 1), s.p))


@before()
def positions_from_zero(g, x, s): return rows(g, x, g.Range(0, s.n, 1))


@before()
def positions_with_the_past_twice(g, x, s): return rows(g, x, g.Add(g.Range(s.p, s.t, 1), s.p))


@before()
def positions_from_the_end(g, x, s): return rows(g, x, g.Sub(g.Sub(s.t, 1), g.Range(s.p, s.t, 1)))


@before()
def positions_by_number(g, x, s): return rows(g, x, g.Mod(g.Range(s.p, s.t, 1), s.n))


@before(proved=True)
def positions_of_a_prefix_sum(g, x, s):
    return rows(g, x, g.Slice(g.Sub(g.CumSum("attention_mask", 1), 1), s.p1, s.t1, [1]))


@before()
def positions_of_the_last_sums(g, x, s):
    return rows(g, x, g.Slice(g.Sub(g.CumSum("attention_mask", 1), 1), g.Neg(s.n1), [2**40], [1]))


@before()
def positions_of_the_first_sums(g, x, s):
    return rows(g, x, g.Slice(g.Sub(g.CumSum("attention_mask", 1), 1), [0], s.n1, [1]))


@before()
def positions_of_a_sum_over_tokens(g, x, s):
    return rows(g, x, g.Sub(g.CumSum(g.Slice("attention_mask", s.p1, s.t1, [1]), 1), 1))


@before()
def positions_of_a_reverse_sum(g, x, s):
    return rows(g, x, g.Slice(g.Sub(g.CumSum("attention_mask", 1, reverse=1), 1), s.p1, s.t1, [1]))


@before(proved=True)
def table_of_all_positions(g, x, s):
    return g.Add(x, g.Gather(g.Gather(TABLE, g.Range(0, s.t, 1)), g.Range(s.p, s.t, 1)))


@before(proved=True)
def table_cut_behind_the_past(g, x, s): return g.Add(x, g.Slice(g.Gather(TABLE, g.Range(0, s.t, 1)), s.p1, s.t1, [0]))


@before()
def table_cut_one_earlier(g, x, s):
    return g.Add(x, g.Slice(g.Gather(TABLE, g.Range(0, g.Add(s.t, 1), 1)), g.Add(s.p1, 1), g.Add(s.t1, 1), [0]))


@before()
def table_of_tokens(g, x, s): return g.Add(x, g.Slice(TABLE, [0], s.n1, [0]))


@before()
def last_row_of_all_positions(g, x, s): return g.Add(x, g.Gather(g.Gather(TABLE, g.Range(0, s.t, 1)), -1))


@before(proved=True)
def first_row_of_all_positions(g, x, s): return g.Add(x, g.Gather(g.Gather(TABLE, g.Range(0, s.t, 1)), 0))


@before()
def scrambled_positions(g, x, s):
    wide = g.Expand(g.Unsqueeze(g.Range(s.p, s.t, 1), [1]), g.Concat(s.n1, [2], axis=0))
    turned = g.Transpose(g.Reshape(wide, g.Concat([2], s.n1, axis=0)), perm=[1, 0])
    return rows(g, x, g.Gather(turned, 0, axis=1))


@before()
def number_of_tokens(g, x, s): return g.Add(x, g.Cast(s.n, to=to_float))


@before()
def number_of_cached(g, x, s): return g.Add(x, g.Cast(s.p, to=to_float))


@before()
def number_of_keys(g, x, s): return g.Add(x, g.Cast(g.Unsqueeze(g.ReduceSum("attention_mask", [1]), [2]), to=to_float))


@before(proved=True)
def numbers_that_cancel(g, x, s): return g.Add(x, g.Cast(g.Sub(s.t, g.Add(s.n, s.p)), to=to_float))


@before()
def row_by_number(g, x, s): return g.Add(x, g.Gather(TABLE, s.n))


@before()
def cut_by_number(g, x, s): return g.Add(x, g.Slice(TABLE, s.p1, g.Add(s.p1, 1), [0]))


@before()
def last_position(g, x, s): return g.Add(x, g.Cast(g.ReduceMax(g.Range(0, s.t, 1), keepdims=0), to=to_float))


@before()
def zeros_for_the_past(g, x, s):
    past = g.ConstantOfShape(g.Concat(s.b1, s.p1, axis=0), value=numpy_helper.from_array(np.zeros(1, np.int64)))
    marked = g.CumSum(g.Concat(past, "input_ids", axis=1), 1)
    return g.Add(x, g.Unsqueeze(g.Cast(g.Slice(marked, s.p1, s.t1, [1]), to=to_float), [2]))


@before(proved=True)
def positions_in_two_parts(g, x, s):
    return rows(g, x, g.Slice(g.Concat(g.Range(0, s.p, 1), g.Range(s.p, s.t, 1), axis=0), s.p1, s.t1, [0]))


@before(proved=True)
def copies_for_tokens(g, x, s): return g.Mul(x, g.Expand(TABLE[:1], g.Concat(s.n1, [WIDTH], axis=0)))


@before(proved=True)
def early_tokens(g, x, s):
    return g.Where(g.Unsqueeze(g.Less(g.Range(s.p, s.t, 1), 4), [1]), x, g.Mul(x, 0.5))


@before()
def first_tokens(g, x, s): return g.Where(g.Unsqueeze(g.Less(g.Range(0, s.n, 1), 4), [1]), x, g.Mul(x, 0.5))


@behind(proved=True)
def merged_and_back(g, y, s): return g.Reshape(g.Relu(g.Reshape(y, [-1])), g.Concat(s.b1, s.n1, [WIDTH], axis=0))


@behind(proved=True)
def channels_in_reverse(g, y, s): return g.Slice(y, [-1], [-2**40], [2], [-1])


@behind(proved=True)
def softmax_of_channels(g, y, s): return g.Softmax(y, axis=2)


@behind(proved=True)
def best_channels(g, y, s): return g.TopK(y, [3], axis=2, results=2)[0]


@behind()
def tokens_in_reverse(g, y, s): return g.Slice(y, [-1], [-2**40], [1], [-1])


@behind()
def rolled(g, y, s): return g.Concat(g.Slice(y, [1], [2**40], [1]), g.Slice(y, [0], [1], [1]), axis=1)


@behind()
def shifted(g, y, s): return g.Slice(g.Pad(y, [0, 1, 0, 0, 0, 0]), [0], s.n1, [1])


@behind()
def first_token_added(g, y, s): return g.Add(y, g.Slice(y, [0], [1], [1]))


@behind()
def last_token(g, y, s): return g.Slice(y, [-1], [2**40], [1])


@behind()
def mean_of_tokens(g, y, s): return g.Sub(y, g.ReduceMean(y, [1], keepdims=1))


@behind()
def largest_of_all(g, y, s): return g.Div(y, g.ReduceMax(y, keepdims=0))


@behind()
def softmax_of_tokens(g, y, s): return g.Softmax(y, axis=1)


@behind()
def sums_of_tokens(g, y, s): return g.CumSum(y, 1)


@behind()
def rounded_together(g, y, s): return g.DequantizeLinear(*g.DynamicQuantizeLinear(y, results=3))


@behind()
def mixed_by_a_reshape(g, y, s):
    return g.Reshape(g.Transpose(y, perm=[0, 2, 1]), g.Concat(s.b1, s.n1, [WIDTH], axis=0))


@behind()
def convolution(g, y, s):
    kernel = np.random.default_rng(4).standard_normal((WIDTH, 1, 3))
    return g.Transpose(g.Conv(g.Transpose(y, perm=[0, 2, 1]), kernel, group=WIDTH, pads=[2, 0]), perm=[0, 2, 1])


@behind()
def products_of_tokens(g, y, s): return g.MatMul(g.MatMul(y, g.Transpose(y, perm=[0, 2, 1])), y)


@behind()
def lower_products_of_tokens(g, y, s): return g.MatMul(g.Trilu(g.MatMul(y, g.Transpose(y, perm=[0, 2, 1])), upper=0), y)


@behind(proved=True)
def number_of_samples(g, y, s): return g.Add(y, g.Cast(s.b, to=to_float))


@behind(proved=True)
def mean_of_samples(g, y, s): return g.Sub(y, g.ReduceMean(y, [0], keepdims=1))


@behind(proved=True)
def softmax_of_samples(g, y, s): return g.Softmax(y, axis=0)


@behind(proved=True)
def first_sample_added(g, y, s): return g.Add(y, g.Slice(y, [0], [1], [0]))


@behind()
def norm_of_samples(g, y, s):
    turned = g.Transpose(y, perm=[1, 2, 0])
    root = g.Sqrt(g.Add(g.ReduceMean(g.Mul(turned, turned), [-1], keepdims=1), 1e-6))
    return g.Transpose(g.Mul(g.Div(turned, root), np.ones(1)), perm=[2, 0, 1])


@behind()
def samples_in_reverse(g, y, s): return g.Slice(y, [-1], [-2**40], [0], [-1])


@behind()
def numbered_samples(g, y, s):
    return g.Add(y, g.Unsqueeze(g.Cast(g.Range(0, s.b, 1), to=to_float), [1, 2]))


@behind()
def row_by_number_of_samples(g, y, s): return g.Add(y, g.Gather(TABLE, s.b))


def write(name: str, file: Path):
    """Tokens, one layer of onnxruntime-genai's attention, and the case."""
    g, rng = Graph(), np.random.default_rng(2)
    x = g.Gather(rng.standard_normal((ROWS, WIDTH)) * 0.5, "input_ids", axis=0)
    sizes = Sizes(g)
    if name in INPUT:
        x = INPUT[name](g, x, sizes)
    query, key, value = (g.MatMul(x, rng.standard_normal((WIDTH, HEADS * HEAD)) * 0.2) for _ in range(3))
    seen = g.Cast(g.Sub(g.ReduceSum("attention_mask", [1], keepdims=0), [1]), to=TensorProto.INT32)
    total = g.Cast(g.size("attention_mask", 1), to=TensorProto.INT32)
    y, present_key, present_value = g.GroupQueryAttention(
        query, key, value, "past_key_values.0.key", "past_key_values.0.value", seen, total, results=3, domain="com.microsoft",
        num_heads=HEADS, kv_num_heads=HEADS)
    y = g.Add(x, y)
    if name in OUTPUT:
        y = OUTPUT[name](g, y, sizes)
    for result, output in ((y, "logits"), (present_key, "present.0.key"), (present_value, "present.0.value")):
        g.nodes.append(helper.make_node("Identity", [result], [output]))
    tensor = helper.make_tensor_value_info
    cache = ["batch", HEADS, "past", HEAD]
    inputs = [tensor("input_ids", TensorProto.INT64, ["batch", "seq"]), tensor("attention_mask", TensorProto.INT64, ["batch", "total"]),
              tensor("past_key_values.0.key", to_float, cache), tensor("past_key_values.0.value", to_float, cache)]
    outputs = [tensor(name, to_float, None) for name in ("logits", "present.0.key", "present.0.value")]
    graph = helper.make_graph(g.nodes, name, inputs, outputs, g.constants)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), file)
