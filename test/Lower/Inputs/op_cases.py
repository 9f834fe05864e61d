# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The table of op_check.py: one row per case."""
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Case:
    name: str
    op: str
    inputs: list
    attributes: dict = field(default_factory=dict)
    outputs: int = 1
    constant: tuple = ()        # positions of inputs that are initializers
    static: tuple = ()          # (input, dimension) pairs that are not symbolic
    static_from: int = 99       # dimensions from here on are static
    passes: tuple = ()          # before onnx-to-linalg
    expected: list = None       # where the reference implementation has none, or another meaning
    tolerance: float = 2e-5


random = np.random.default_rng(0)


def f(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def elementwise():
    for op in ["Neg", "Abs", "Sigmoid", "Relu", "LeakyRelu", "Swish", "Mish", "HardSwish", "HardSigmoid", "Elu", "Celu", "Selu",
               "ThresholdedRelu", "Softplus", "Floor", "Ceil", "Round", "Exp", "Sin", "Cos", "Tanh", "Erf", "Sign", "Gelu"]:
        yield Case(op.lower(), op, [f(3, 5)])
    yield Case("gelu_tanh", "Gelu", [f(3, 5)], {"approximate": "tanh"})
    yield Case("sqrt", "Sqrt", [np.abs(f(4))])
    yield Case("reciprocal", "Reciprocal", [f(4) + 3])
    yield Case("log", "Log", [np.abs(f(4)) + 0.1])
    special = np.array([1, np.nan, np.inf, -np.inf], np.float32)
    yield Case("isnan", "IsNaN", [special])
    yield Case("isinf", "IsInf", [special], {"detect_negative": 0})
    yield Case("relu_nan", "Relu", [special])
    for op in ["Add", "Sub", "Mul", "Div", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", "Max", "Min", "Sum", "Mean"]:
        yield Case(op.lower(), op, [f(2, 3, 4), f(3, 1)], static=((1, 1),))
    a, b = np.array([7, -7, 7, -7], np.int64), np.array([3, 3, -3, -3], np.int64)
    yield Case("div_int", "Div", [a, b])
    yield Case("mod_int", "Mod", [a, b])
    yield Case("fmod_int", "Mod", [a, b], {"fmod": 1})
    yield Case("equal_int", "Equal", [a, b])
    yield Case("pow", "Pow", [np.abs(f(3, 4)), np.array(2.5, np.float32)])
    yield Case("pow_square", "Pow", [f(3, 4), np.array(2, np.float32)], constant=(1,))
    yield Case("pow_int_exponent", "Pow", [f(3, 4), np.array(3, np.int64)])
    yield Case("clip", "Clip", [f(3, 4), np.array(-0.5, np.float32), np.array(0.25, np.float32)])
    yield Case("clip_max", "Clip", [f(3, 4), None, np.array(0.25, np.float32)])
    yield Case("prelu", "PRelu", [f(3, 4), f(1, 4)])
    flags = random.integers(0, 2, (3, 1)).astype(bool)
    yield Case("where", "Where", [flags, f(3, 4), f(4)])
    yield Case("and", "And", [flags, ~flags])
    yield Case("xor", "Xor", [flags, flags])
    yield Case("not", "Not", [flags])
    yield Case("cast_float_int", "Cast", [f(3, 4, scale=9)], {"to": 7})
    yield Case("cast_int_bool", "Cast", [ints(0, 2, -1)], {"to": 9})
    yield Case("cast_bool_float", "Cast", [flags], {"to": 1})
    yield Case("cast_half", "Cast", [f(3, 4)], {"to": 10})
    yield Case("half", "Sigmoid", [f(3, 4).astype(np.float16)], tolerance=2e-3)


    for op in ["Softsign", "Shrink"]:
        yield Case(op.lower(), op, [f(3, 5)])
    bytes_ = random.integers(0, 256, (2, 5)).astype(np.uint8)
    for op in ["Add", "Div", "Mod", "Less", "Max", "BitwiseXor"]:
        yield Case(f"{op.lower()}_unsigned", op, [bytes_, bytes_[::-1] | 1])
    yield Case("bit_shift", "BitShift", [bytes_, np.array([0, 1, 3, 7, 8], np.uint8)], {"direction": "RIGHT"})
    yield Case("pow_int", "Pow", [ints(2, -3, 1, -1), ints(5, 3, -2, -3)], expected=[ints(32, -27, 1, -1)])
    yield Case("cast_unsigned", "Cast", [np.array([200, 255], np.uint8)], {"to": 1})


def reductions():
    for op in ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]:
        yield Case(f"reduce_{op.lower()}", f"Reduce{op}", [f(2, 3, 4), ints(-1)], constant=(1,))
        yield Case(f"reduce_{op.lower()}_02", f"Reduce{op}", [f(2, 3, 4), ints(0, 2)], {"keepdims": 0}, constant=(1,))
    yield Case("reduce_all", "ReduceSum", [f(2, 3, 4)])
    yield Case("reduce_all_scalar", "ReduceSum", [f(2, 3, 4)], {"keepdims": 0})
    yield Case("reduce_sum_int", "ReduceSum", [random.integers(0, 9, (2, 5)), ints(1)], constant=(1,))
    tied = random.integers(0, 4, (3, 9)).astype(np.float32)
    yield Case("argmax", "ArgMax", [tied], {"axis": 1})
    yield Case("argmax_last", "ArgMax", [tied], {"axis": -1, "select_last_index": 1, "keepdims": 0})
    yield Case("argmin", "ArgMin", [tied], {"axis": 0})
    for exclusive in (0, 1):
        for reverse in (0, 1):
            yield Case(f"cumsum_{exclusive}{reverse}", "CumSum", [f(2, 5, 3), np.array(1, np.int64)],
                       {"exclusive": exclusive, "reverse": reverse}, constant=(1,))
    yield Case("cumsum_int", "CumSum", [random.integers(0, 2, (3, 6)), np.array(-1, np.int64)], constant=(1,))
    yield Case("topk", "TopK", [tied, ints(4)], {"axis": 1}, outputs=2, constant=(1,))
    yield Case("topk_smallest", "TopK", [tied, ints(2)], {"axis": 0, "largest": 0}, outputs=2, constant=(1,))
    yield Case("softmax", "Softmax", [f(2, 3, 7)])
    yield Case("softmax_axis1", "Softmax", [f(2, 3, 7)], {"axis": 1})
    yield Case("softmax_1d", "Softmax", [f(7)])
    yield Case("logsoftmax", "LogSoftmax", [f(2, 3, 7, scale=10)])
    x = f(2, 3, 8) + 3
    yield Case("rmsnorm", "RMSNormalization", [x, f(8)], {"epsilon": 1e-5})
    yield Case("layernorm", "LayerNormalization", [x, f(8), f(8)], {"epsilon": 1e-5})
    yield Case("layernorm_stats", "LayerNormalization", [x, f(3, 8)], {"axis": 1}, outputs=3, static_from=1)
    yield Case("groupnorm", "GroupNormalization", [f(2, 6, 5), f(6), f(6)], {"num_groups": 3}, static=((0, 1), (1, 0), (2, 0)))


def movement():
    x = f(2, 3, 4)
    yield Case("transpose", "Transpose", [x], {"perm": [1, 2, 0]})
    yield Case("transpose_reverse", "Transpose", [x])
    yield Case("concat", "Concat", [x, f(2, 5, 4), f(2, 1, 4)], {"axis": 1})
    yield Case("split", "Split", [f(2, 7), ints(3, 4)], {"axis": 1}, outputs=2, constant=(1,))
    yield Case("split_equal", "Split", [f(7, 2)], {"num_outputs": 3}, outputs=3)
    yield Case("slice", "Slice", [f(6, 8), ints(1, -3), ints(5, 2 ** 62), ints(0, 1)], constant=(1, 2, 3))
    yield Case("slice_step", "Slice", [f(9, 8), ints(1), ints(-1), ints(0), ints(3)], constant=(1, 2, 3, 4))
    yield Case("slice_reverse", "Slice", [f(9, 8), ints(-1), ints(-2 ** 62), ints(0), ints(-2)], constant=(1, 2, 3, 4))
    yield Case("slice_dynamic", "Slice", [f(9, 8), ints(2), ints(-1), ints(1)], constant=(3,))
    yield Case("expand", "Expand", [f(3, 1), ints(2, 1, 4)], constant=(1,), static=((0, 1),))
    yield Case("tile", "Tile", [f(2, 3), ints(2, 2)], constant=(1,))
    for mode in ["constant", "edge", "reflect", "wrap"]:
        yield Case(f"pad_{mode}", "Pad", [f(4, 5), ints(1, 2, 0, 1)], {"mode": mode}, constant=(1,))
    y = f(4, 5)
    yield Case("pad_negative", "Pad", [y, ints(-1, 2, 1, -2), np.array(7, np.float32)], constant=(1,),
               expected=[np.pad(y[1:, :3], ((0, 1), (2, 0)), constant_values=7)])
    yield Case("trilu_upper", "Trilu", [x, np.array(1, np.int64)])
    yield Case("trilu_lower", "Trilu", [x], {"upper": 0})
    yield Case("range", "Range", [np.array(v, np.int64) for v in (3, 17, 4)])
    yield Case("range_down", "Range", [np.array(v, np.float32) for v in (3, -2, -0.75)])
    yield Case("constant_of_shape", "ConstantOfShape", [ints(2, 3)], constant=(0,))
    yield Case("shape", "Shape", [x], {"start": 1})
    yield Case("size", "Size", [x])
    yield Case("reshape", "Reshape", [f(2, 3, 8), ints(0, -1, 2, 4)], constant=(1,), static_from=2)
    yield Case("reshape_swap", "Reshape", [f(2, 6), ints(3, 2, 2)], constant=(1,))
    yield Case("reshape_dynamic", "Reshape", [f(2, 6), ints(4, -1)], static=((1, 0),))
    yield Case("reshape_scalar", "Reshape", [f(1, 1), ints()], constant=(1,))
    yield Case("flatten", "Flatten", [f(2, 3, 4)], {"axis": 2})
    yield Case("flatten0", "Flatten", [f(2, 3, 4)], {"axis": 0})
    yield Case("squeeze", "Squeeze", [f(1, 3, 1, 2), ints(0, 2)], constant=(1,))
    yield Case("unsqueeze", "Unsqueeze", [f(3, 2), ints(0, 3, 1)], constant=(1,))
    yield Case("unsqueeze_scalar", "Unsqueeze", [np.array(2, np.float32), ints(0, 1)], constant=(1,))
    yield Case("depth_to_space", "DepthToSpace", [f(2, 8, 2, 3)], {"blocksize": 2}, static=((0, 1),))
    yield Case("depth_to_space_crd", "DepthToSpace", [f(2, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}, static=((0, 1),))
    yield Case("space_to_depth", "SpaceToDepth", [f(2, 2, 4, 6)], {"blocksize": 2}, static=((0, 1),))


def gathers():
    x = f(4, 5, 6)
    yield Case("gather", "Gather", [x, ints(3, -1, 0)])
    yield Case("gather_axis1", "Gather", [x, np.array([[0, 4], [-5, 2]], np.int64)], {"axis": 1})
    yield Case("gather_scalar", "Gather", [x, np.array(-2, np.int64)], {"axis": 1}, constant=(1,))
    yield Case("gather_run", "Gather", [x, ints(2, 3, 4)], {"axis": 2}, constant=(1,))
    yield Case("gather_order", "Gather", [x, ints(2, 0, 4)], {"axis": 2}, constant=(1,))
    yield Case("gather_elements", "GatherElements", [x, random.integers(-5, 5, (4, 3, 6))], {"axis": 1})
    yield Case("gather_nd", "GatherND", [x, np.array([[0, 1], [-1, 4]], np.int64)], static_from=1)
    yield Case("gather_nd_batch", "GatherND", [x, np.array([[1], [0], [4], [2]], np.int64)], {"batch_dims": 1}, static_from=1)
    yield Case("one_hot", "OneHot", [ints(0, 2, -1, 9), np.array(4, np.int64), np.array([0.5, 2], np.float32)], constant=(1,))
    yield Case("scatter_elements", "ScatterElements", [f(3, 4), np.array([[1, 0, -1]], np.int64), f(1, 3)], {"axis": 1})
    yield Case("scatter_elements_add", "ScatterElements", [f(3, 4), np.array([[1, 1, 1]], np.int64), f(1, 3)],
               {"axis": 1, "reduction": "add"})
    yield Case("scatter_nd", "ScatterND", [f(4, 5), np.array([[2], [0]], np.int64), f(2, 5)], static_from=1)
    yield Case("scatter_nd_max", "ScatterND", [f(4, 5), np.array([[2, 1], [2, 1]], np.int64), f(2)], {"reduction": "max"}, static_from=1)


def products():
    yield Case("matmul", "MatMul", [f(3, 4), f(4, 5)])
    yield Case("matmul_batch", "MatMul", [f(2, 6, 3, 4), f(1, 6, 4, 5)])
    yield Case("matmul_flat", "MatMul", [f(2, 6, 3, 4), f(4, 5)])
    yield Case("matmul_broadcast", "MatMul", [f(3, 4), f(2, 4, 5)])
    yield Case("matmul_row", "MatMul", [f(4), f(2, 4, 5)])
    yield Case("matmul_dot", "MatMul", [f(4), f(4)])


    yield Case("gemm", "Gemm", [f(3, 4), f(4, 5), f(5)], {"alpha": 0.5, "beta": 2.0})
    yield Case("gemm_transposed", "Gemm", [f(4, 3), f(5, 4)], {"transA": 1, "transB": 1})
    yield Case("einsum_heads", "Einsum", [f(2, 3, 5, 4), f(2, 3, 6, 4)], {"equation": "bhqd,bhkd->bhqk"})
    yield Case("einsum_implicit", "Einsum", [f(3, 4), f(4, 5)], {"equation": "ij, jk"})
    yield Case("einsum_ellipsis", "Einsum", [f(2, 3, 4), f(4, 5)], {"equation": "...ij,...jk->...ik"})
    yield Case("einsum_diagonal", "Einsum", [f(2, 4, 4)], {"equation": "bii->bi"}, static_from=1)
    yield Case("max_pool", "MaxPool", [f(2, 3, 7, 9)], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]})
    yield Case("average_pool", "AveragePool", [f(2, 3, 8)], {"kernel_shape": [3], "strides": [2], "ceil_mode": 1})
    yield Case("average_pool_padding", "AveragePool", [f(2, 3, 7)],
               {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1})
    yield Case("reverse_sequence", "ReverseSequence", [f(5, 3, 2), ints(1, 5, 3)])
    yield Case("conv", "Conv", [f(2, 4, 7, 9), f(6, 2, 3, 2), f(6)],
               {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]}, static=((0, 1), (1, 1), (1, 2), (1, 3)))
    yield Case("conv_same", "Conv", [f(2, 3, 10), f(4, 3, 4)], {"auto_pad": "SAME_UPPER", "strides": [3]},
               static=((0, 1), (1, 1), (1, 2)))
    small = random.integers(-100, 100, (3, 8)).astype(np.int8)
    yield Case("dequantize", "DequantizeLinear", [small, np.array(0.1, np.float32), np.array(3, np.int8)])
    yield Case("dequantize_axis", "DequantizeLinear", [small, np.abs(f(3))], {"axis": 0})
    yield Case("dequantize_blocks", "DequantizeLinear", [small, np.abs(f(3, 2))], {"axis": 1, "block_size": 4})
    yield Case("quantize", "QuantizeLinear", [f(3, 8, scale=20), np.array(0.1, np.float32), np.array(3, np.int8)])


def rotary():
    cos, sin = np.cos(f(11, 4)), np.sin(f(11, 4))
    positions = random.integers(0, 11, (2, 3))
    for interleaved in (0, 1):
        yield Case(f"rotary_{interleaved}", "RotaryEmbedding", [f(2, 5, 3, 8), cos, sin, positions], {"interleaved": interleaved},
                   static_from=3, static=((0, 1), (1, 1), (2, 1)))
        yield Case(f"rotary_rows_{interleaved}", "RotaryEmbedding", [f(2, 5, 3, 8), f(2, 3, 4), f(2, 3, 4)],
                   {"interleaved": interleaved}, static=((0, 1), (0, 3), (1, 2), (2, 2)))
        yield Case(f"rotary_partial_{interleaved}", "RotaryEmbedding", [f(2, 5, 3, 12), cos, sin, positions],
                   {"interleaved": interleaved, "rotary_embedding_dim": 8}, static=((0, 1), (0, 3), (1, 1), (2, 1)))
        yield Case(f"rotary_flat_{interleaved}", "RotaryEmbedding", [f(2, 3, 40), cos, sin, positions],
                   {"interleaved": interleaved, "num_heads": 5}, static=((0, 2), (1, 1), (2, 1)))


def attention():
    def heads(name, tokens, keys, past=0, group=3, **options):
        """Grouped heads; masks and so on come in `options`."""
        q, k, v = f(2, 2 * group, tokens, 8), f(2, 2, keys, 8), f(2, 2, keys, 6)
        inputs = [q, k, v, options.pop("mask", None)]
        if past:
            inputs += [f(2, 2, past, 8), f(2, 2, past, 6)]
        lengths = options.pop("lengths", None)
        if lengths is not None:
            inputs += [None, None, lengths]
        static = tuple((i, d) for i in (0, 1, 2, 4, 5) for d in (1, 3))
        return Case(name, "Attention", inputs, options, outputs=3 if past else 1, static=static)

    for kind, tokens in (("decode", 2), ("prefill", 150)):
        yield heads(f"attention_{kind}", tokens, tokens)
        yield heads(f"attention_{kind}_causal", tokens, tokens, is_causal=1)
        yield heads(f"attention_{kind}_past", tokens, tokens, past=5, is_causal=1)
        yield heads(f"attention_{kind}_cross", tokens, 9, scale=0.3)
        yield heads(f"attention_{kind}_mask", tokens, tokens, mask=f(1, 1, tokens, tokens), softcap=2.0)
        visible = np.tril(np.ones((2, 1, tokens, tokens + 4), bool), 3)
        yield heads(f"attention_{kind}_bool", tokens, tokens, past=4, mask=visible)
        yield heads(f"attention_{kind}_group1", tokens, tokens, group=1, is_causal=1)
        yield heads(f"attention_{kind}_wide", tokens, tokens, group=20, is_causal=1)
    yield heads("attention_short", 7, 7, past=3, is_causal=1)
    yield Case("attention_flat", "Attention", [f(2, 3, 48), f(2, 3, 16), f(2, 3, 16)], {"q_num_heads": 6, "kv_num_heads": 2},
               static_from=2)


def cases():
    for table in (elementwise, reductions, movement, gathers, products, rotary, attention):
        yield from table()
