# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a program and what tp-partition made of it, all ranks in lockstep, and compares the results.

    lockstep.py WHOLE.mlir RANKS.mlir [--dim batch=2 …]
    lockstep.py WHOLE.mlir RANKS.mlir --inputs inputs.npz --outputs outputs.npz

Both files are printed with --mlir-print-op-generic. Weights and inputs are random, the same for both, and --dim gives
the sizes of unknown dimensions; with --inputs they are the model's own, and the results are also compared with
--outputs. A file may hold several functions of the same names; each is run. Prints "equal over N ranks" and exits 0, or
says what differs.
"""
import argparse
import os
import re
import sys
import zlib

import numpy as np

TYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32, "i8": np.int8, "i1": np.bool_, "index": np.int64}
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|->|[@%^#!]"(?:[^"\\]|\\.)*"|[@%^#!]?[\w.$\-+]+(?:#\d+)?|[()<>{}\[\]=:,?]')


class Parser:
    """Generic MLIR, as far as these programs need it."""

    def __init__(self, text):
        self.tokens = TOKEN.findall(re.sub(r"//[^\n]*", "", text))
        self.at = 0

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self, expected=None):
        token = self.peek()
        if expected is not None and token != expected:
            raise SyntaxError(f"expected {expected!r}, not {self.tokens[self.at - 5:self.at + 5]}")
        self.at += 1
        return token

    def accept(self, token):
        if self.peek() == token:
            self.at += 1
            return True
        return False

    def balanced(self, opening, closing):
        """The tokens from an opening bracket to its closing one."""
        start, depth = self.at, 0
        while True:
            token = self.take()
            depth += (token == opening) - (token == closing)
            if depth == 0:
                return self.tokens[start:self.at]

    def type(self):
        if self.peek() == "tensor":
            self.take()
            text = "".join(self.balanced("<", ">"))[1:-1]
            *dims, element = text.split("x")
            return ("tensor", [None if d == "?" else int(d) for d in dims], element)
        if self.peek() == "(":
            inputs = self.types()
            self.take("->")
            return ("function", inputs, self.types())
        return ("scalar", [], self.take())

    def types(self):
        if not self.accept("("):
            return [self.type()]
        result = []
        while not self.accept(")"):
            result.append(self.type())
            self.accept(",")
        return result

    def attribute(self):
        token = self.peek()
        if token == "[":
            self.take()
            items = []
            while not self.accept("]"):
                items.append(self.attribute())
                self.accept(",")
            return items
        if token == "{":
            return self.dictionary("{", "}")
        if token == "array":
            inner = [t for t in self.balanced_after("array") if t not in "<>:,"]
            return [int(t) for t in inner[1:]]
        if token == "dense":
            return self.dense()
        if token == "#tp.shard":
            self.take()
            self.take("<")
            fields = {}
            while not self.accept(">"):
                name = self.take()
                self.take("=")
                fields[name] = self.attribute()
                self.accept(",")
            return fields
        if token.startswith("#"):
            self.take()
            return (token, self.balanced("<", ">") if self.peek() == "<" else None)
        if token in ("tensor", "("):
            return self.type()
        self.take()
        if token.startswith('"'):
            return token[1:-1]
        if token in ("true", "false"):
            return token == "true"
        if re.fullmatch(r"[-+]?(\d[\d.eE+-]*|0x[0-9A-Fa-f]+)", token):
            value = number(token)
            if self.accept(":"):
                kind = self.type()[2]
                if kind.startswith("f") and token.startswith("0x"):
                    value = float(np.array(int(token, 16), np.uint32).view(np.float32))
            return value
        return token

    def balanced_after(self, word):
        self.take(word)
        return self.balanced("<", ">")

    def dense(self):
        self.take("dense")
        body = self.balanced("<", ">")[1:-1]
        self.take(":")
        _, shape, element = self.type()
        if len(body) == 1 and body[0].startswith('"0x'):
            return np.frombuffer(bytes.fromhex(body[0][3:-1]), TYPES[element]).reshape(shape)
        values = [bits(t, element) for t in body if t not in "[],"]
        data = np.array(values, TYPES[element])
        return data.reshape(shape) if data.size == np.prod(shape, dtype=int) else np.broadcast_to(data, shape)

    def dictionary(self, opening, closing):
        self.take(opening)
        result = {}
        while not self.accept(closing):
            name = self.take().strip('"')
            result[name] = self.attribute() if self.accept("=") else True
            self.accept(",")
        return result

    def op(self):
        results = []
        while self.peek().startswith("%"):
            name = self.take()
            count = int(self.take()) if self.accept(":") else 1
            results += [name] if count == 1 else [f"{name}#{i}" for i in range(count)]
            self.accept(",")
        if results:
            self.take("=")
        op = Op(self.take().strip('"'), results)
        self.take("(")
        while not self.accept(")"):
            op.operands.append(self.take())
            self.accept(",")
        if self.accept("<"):
            op.attrs.update(self.dictionary("{", "}"))
            self.take(">")
        if self.accept("("):
            while not self.accept(")"):
                op.regions.append(self.region())
                self.accept(",")
        if self.peek() == "{":
            op.attrs.update(self.dictionary("{", "}"))
        self.take(":")
        op.type = self.type()
        return op

    def region(self):
        self.take("{")
        region = Region()
        if self.peek().startswith("^"):
            self.take()
            if self.accept("("):
                while not self.accept(")"):
                    name = self.take()
                    self.take(":")
                    region.arguments.append((name, self.type()))
                    self.accept(",")
            self.take(":")
        while not self.accept("}"):
            region.ops.append(self.op())
        return region


def number(token):
    if token.startswith(("0x", "-0x")):
        return int(token, 16)
    return int(token) if re.fullmatch(r"[-+]?\d+", token) else float(token)


def bits(token, element):
    if token in ("true", "false"):
        return token == "true"
    if token.startswith("0x") and element == "f32":
        return np.array(int(token, 16), np.uint32).view(np.float32)
    return number(token)


class Op:
    def __init__(self, name, results):
        self.name, self.results = name, results
        self.operands, self.attrs, self.regions, self.type = [], {}, [], None


class Region:
    def __init__(self):
        self.arguments, self.ops = [], []


def erf(x):
    from math import erf as scalar
    return np.vectorize(scalar, otypes=[np.float64])(x) if x.size else x


def gelu(x, a):
    if a.get("approximate", "none") == "tanh":
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def rms(a, x, scale):
    axes = tuple(range(a.get("axis", -1) % x.ndim, x.ndim))
    return x / np.sqrt((x * x).mean(axes, keepdims=True) + a.get("epsilon", 1e-5)) * scale


def layer_norm(a, x, scale, bias=0):
    axes = tuple(range(a.get("axis", -1) % x.ndim, x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + a.get("epsilon", 1e-5)) * scale + bias


def rotary(a, x, cos, sin, ids=None):
    if x.ndim == 3:
        heads = a["num_heads"]
        b, s, h = x.shape
        y = rotary(a, x.reshape(b, s, heads, h // heads).transpose(0, 2, 1, 3), cos, sin, ids)
        return y.transpose(0, 2, 1, 3).reshape(b, s, h)
    if ids is not None:
        cos, sin = cos[ids], sin[ids]
    cos, sin = cos[:, None], sin[:, None]
    half = cos.shape[-1]
    p, q, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    if a.get("interleaved", 0):
        p, q = x[..., 0:2 * half:2], x[..., 1:2 * half:2]
        return np.concatenate([np.stack([p * cos - q * sin, p * sin + q * cos], -1).reshape(x[..., :2 * half].shape), rest], -1)
    return np.concatenate([p * cos - q * sin, p * sin + q * cos, rest], -1)


def attention(op, q, k, v, mask=None, past_key=None, past_value=None, lengths=None):
    a, flat = op.attrs, q.ndim == 3
    if flat:
        split = lambda x, n: x.reshape(x.shape[0], x.shape[1], n, -1).transpose(0, 2, 1, 3)
        q, k, v = split(q, a["q_num_heads"]), split(k, a["kv_num_heads"]), split(v, a["kv_num_heads"])
    past = 0
    if past_key is not None:
        past = past_key.shape[2]
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    present = [k, v]
    group = q.shape[1] // k.shape[1]
    assert group * k.shape[1] == q.shape[1], "query heads are no multiple of key heads"
    kk, vv = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ kk.swapaxes(-1, -2) * a.get("scale", 1 / np.sqrt(q.shape[-1]))
    if a.get("softcap", 0):
        s = a["softcap"] * np.tanh(s / a["softcap"])
    low = np.finfo(np.float32).min
    if a.get("is_causal", 0):
        i, j = np.arange(s.shape[-2])[:, None], np.arange(s.shape[-1])[None]
        s = np.where(j <= i + past, s, low)
    if mask is not None:
        s = np.where(mask, s, low) if mask.dtype == np.bool_ else s + mask
    if lengths is not None:
        s = np.where(np.arange(s.shape[-1]) < lengths[:, None, None, None], s, low)
    y = softmax(s) @ vv
    if flat:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)
    return [y] + present[:len(op.results) - 1]


def reshape(a, x, shape):
    shape = [x.shape[i] if d == 0 and not a.get("allowzero", 0) else int(d) for i, d in enumerate(shape)]
    return x.reshape(shape)


def cut(x, starts, ends, axes=None, steps=None):
    index = [slice(None)] * x.ndim
    for i, axis in enumerate(range(len(starts)) if axes is None else axes):
        index[axis] = slice(starts[i], ends[i] if abs(int(ends[i])) < 2**31 else None, 1 if steps is None else steps[i])
    return x[tuple(index)]


def split(op, x, sizes=None):
    axis, count = op.attrs.get("axis", 0), len(op.results)
    if sizes is None:
        width = -(-x.shape[axis] // count)
        sizes = [min(width, x.shape[axis] - i * width) for i in range(count)]
    assert sum(sizes) == x.shape[axis], "sizes of a split do not add up"
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def reduce(function):
    def run(a, x, axes=None):
        axes = None if axes is None or len(axes) == 0 else tuple(int(i) for i in axes)
        return function(x, axis=axes, keepdims=bool(a.get("keepdims", 1)))
    return run


def with_axes(change):
    return lambda a, x, axes: change(x, tuple(int(i) for i in axes))


def one_hot(a, indices, depth, values):
    hot = np.moveaxis(indices[..., None] % int(depth) == np.arange(int(depth)), -1, a.get("axis", -1))
    return np.where(hot, values[1], values[0])


UNARY = {
    "Neg": np.negative, "Sqrt": np.sqrt, "Reciprocal": lambda x: 1 / x, "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Relu": lambda x: np.maximum(x, 0), "Not": np.logical_not, "Exp": np.exp, "Log": np.log, "Sin": np.sin, "Cos": np.cos,
    "Tanh": np.tanh, "Erf": erf, "Identity": lambda x: x, "IsNaN": np.isnan, "Abs": np.abs,
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Mod": np.mod, "Pow": np.power, "And": np.logical_and,
    "Or": np.logical_or, "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal, "Less": np.less,
    "LessOrEqual": np.less_equal, "Where": np.where, "Max": np.maximum, "Min": np.minimum, "MatMul": np.matmul,
    "Expand": lambda x, shape: np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(d) for d in shape))),
    "Range": np.arange, "Div": lambda x, y: x // y if x.dtype.kind == "i" else x / y,
}
WITH_ATTRIBUTES = {
    "Gelu": lambda a, x: gelu(x, a), "Swish": lambda a, x: x / (1 + np.exp(-a.get("alpha", 1.0) * x)),
    "Softmax": lambda a, x: softmax(x, a.get("axis", -1)), "RMSNormalization": rms, "LayerNormalization": layer_norm,
    "RotaryEmbedding": rotary, "Reshape": reshape,
    "Transpose": lambda a, x: x.transpose(a.get("perm", list(range(x.ndim))[::-1])),
    "Unsqueeze": with_axes(np.expand_dims), "Squeeze": with_axes(np.squeeze),
    "Concat": lambda a, *x: np.concatenate(x, a["axis"]), "Gather": lambda a, x, i: np.take(x, i, a.get("axis", 0)),
    "ReduceSum": reduce(np.sum), "ReduceMean": reduce(np.mean), "ReduceMax": reduce(np.max),
    "OneHot": one_hot, "CumSum": lambda a, x, axis: np.cumsum(x, int(axis)),
    "Gemm": lambda a, x, y, c=0: a.get("alpha", 1.0) * (x.T if a.get("transA", 0) else x) @ (y.T if a.get("transB", 0) else y) + c,
}
SCALARS = {"addi": np.add, "subi": np.subtract, "muli": np.multiply, "floordivsi": np.floor_divide, "divsi": np.floor_divide,
           "maxsi": np.maximum, "minsi": np.minimum}


def segments(op, values):
    """Operands of an op with optional ones, None where one is missing."""
    sizes = op.attrs.get("operandSegmentSizes")
    if not sizes:
        return values
    result, rest = [], list(values)
    for size in sizes:
        result.append(rest.pop(0) if size else None)
    return result


def run_local(op, values, program, rank):
    dialect, name = op.name.split(".", 1)
    result = op.type[2][0] if op.type[2] else None
    if op.name == "onnx.get_initializer":
        return [program.weight(op.attrs["name"])]
    if op.name in ("onnx.Constant", "arith.constant"):
        return [np.asarray(op.attrs["value"])]
    if op.name == "tensor.dim":
        return [np.int64(values[0].shape[int(values[1])])]
    if op.name == "tensor.from_elements":
        return [np.array(values).reshape([d for d in result[1]])]
    if op.name == "arith.index_cast":
        return values
    if dialect == "arith":
        return [SCALARS[name](*values)]
    if op.name == "tp.rank":
        return [np.int64(rank)]
    if op.name == "tp.shard":
        return [slice_of(values[0], op.attrs["dim"], op.attrs["pieces"][rank], op.attrs["size"])]
    if name == "Cast":
        return [values[0].astype(TYPES[result[2]])]
    if name == "Attention":
        return attention(op, *segments(op, values))
    if name == "Slice":
        return [cut(*segments(op, values))]
    if name == "Split":
        return split(op, *values)
    if name == "Clip":
        x, low, high = segments(op, values)
        return [np.clip(x, low, high)]
    if name == "check":
        assert values[0], "a check of the program does not hold"
        return []
    if name == "Custom":   # a stand-in that mixes every element of the last dimension
        return [np.cumsum(values[0], -1)]
    if name in WITH_ATTRIBUTES:
        return [WITH_ATTRIBUTES[name](op.attrs, *values)]
    if name in UNARY:
        return [UNARY[name](*values)]
    return reference(op, segments(op, values))


def reference(op, values):
    """Any other operator, by ONNX's own reference implementation."""
    import onnx
    from onnx.reference import ReferenceEvaluator
    names = ["" if value is None else f"x{i}" for i, value in enumerate(values)]
    attrs = {k: v for k, v in op.attrs.items() if k not in ("operandSegmentSizes", "resultSegmentSizes")}
    node = onnx.helper.make_node(op.name.split(".")[1], names, [f"y{i}" for i in range(len(op.results))], **attrs)
    # Operators that are functions need the types of their operands.
    types = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
             for name, value in zip(names, map(np.asarray, values)) if name]
    graph = onnx.helper.make_graph([node], "g", types, [onnx.ValueInfoProto(name=y) for y in node.output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10)
    feeds = {name: np.ascontiguousarray(value) for name, value in zip(names, values) if name}
    return ReferenceEvaluator(model).run(None, feeds)


def slice_of(x, dim, flat, size):
    parts = []
    for start, length in zip(flat[::2], flat[1::2]):
        shape = list(x.shape)
        shape[dim] = length
        parts.append(np.zeros(shape, x.dtype) if start < 0 else np.take(x, range(start, start + length), dim))
    filled = sum(part.shape[dim] for part in parts)
    shape = list(x.shape)
    shape[dim] = size - filled
    return np.concatenate(parts + [np.zeros(shape, x.dtype)], dim)


class Program:
    def __init__(self, path):
        module = Parser(open(path, encoding="utf-8").read()).op()
        self.ranks, self.weights, self.functions = 1, {}, {}
        self.files, self.directory = {}, module.attrs.get("onnx.directory", "")
        self.stored = False   # weights come from their files
        for op in module.regions[0].ops:
            if op.name == "onnx.initializer":
                self.weights[op.attrs["sym_name"]] = op.attrs["type"]
                self.files[op.attrs["sym_name"]] = (op.attrs["file"], op.attrs["offset"], op.attrs["length"])
            elif op.name == "tp.mesh":
                self.ranks = int([t for t in op.attrs["axes"][1] if t.isdigit()][-1])
            elif op.name == "func.func":
                self.functions[op.attrs["sym_name"]] = op
        self.function = next(iter(self.functions.values()))
        self.cache = {}

    def weight(self, symbol):
        name = symbol.lstrip("@").strip('"')
        if name not in self.cache:
            _, shape, element = self.weights[name]
            if self.stored:
                file, offset, length = self.files[name]
                with open(os.path.join(self.directory, file), "rb") as stream:
                    stream.seek(offset)
                    data = np.frombuffer(stream.read(length), TYPES[element]).reshape(shape)
                self.cache[name] = data.astype(np.float64) if element == "f32" else data
                return self.cache[name]
            random = np.random.default_rng(zlib.crc32(name.encode()))
            scale = 1 / np.sqrt(shape[0]) if len(shape) == 2 else 0.3
            self.cache[name] = (random.standard_normal(shape) * scale).astype(np.float64 if element == "f32" else TYPES[element])
        return self.cache[name]

    def shards(self, which):
        attrs = self.function.attrs.get(which, [])
        return [entry.get("tp.shard") for entry in attrs]

    def run(self, inputs):
        """Results of all ranks, from the ranks' inputs."""
        region = self.function.regions[0]
        environments = [dict(zip([name for name, _ in region.arguments], own)) for own in inputs]
        for op in region.ops:
            operands = [[env[name] for name in op.operands] for env in environments]
            if op.name == "func.return":
                return operands
            if op.name == "tp.all_reduce":
                total = sum(own[0] for own in operands)
                outputs = [[total] for _ in operands]
            elif op.name == "tp.all_gather":
                whole = np.concatenate([own[0] for own in operands], op.attrs["dim"])
                outputs = [[whole] for _ in operands]
            else:
                outputs = [run_local(op, own, self, rank) for rank, own in enumerate(operands)]
            for env, own in zip(environments, outputs):
                for name, value, (_, shape, element) in zip(op.results, own, op.type[2]):
                    for size, expected in zip(np.shape(value), shape):
                        assert expected in (None, size), f"{op.name} {name} has shape {np.shape(value)}, not {shape}"
                    env[name] = value
        raise SyntaxError("no return")


def make_inputs(program, dims):
    random, result = np.random.default_rng(7), []
    attrs = program.function.attrs.get("arg_attrs", [{}] * len(program.function.regions[0].arguments))
    for (_, (_, shape, element)), attr in zip(program.function.regions[0].arguments, attrs):
        names = attr.get("onnx.dims", [""] * len(shape))
        sizes = [size if size is not None else evaluate(name, dims) for size, name in zip(shape, names)]
        if element == "i1":
            result.append(random.integers(0, 4, sizes) > 0)
        elif element.startswith("i"):
            result.append(random.integers(0, attr.get("test.below", 5), sizes).astype(TYPES[element]))
        else:
            result.append(random.standard_normal(sizes))
    return result


def evaluate(text, dims):
    if not text:
        return 3
    return int(eval(text, {"__builtins__": {}}, dims))


def visible(error, mask):
    """Without masked positions: what a query that sees no key gives is not defined, and exporters differ."""
    axis = {3: 1, 4: 2}.get(error.ndim)   # [batch, sequence, width] and [batch, heads, sequence, width]
    if mask is None or axis is None:
        return error
    return np.moveaxis(error, axis, 1)[mask[:, mask.shape[1] - error.shape[axis]:].astype(bool)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("whole")
    parser.add_argument("ranks")
    parser.add_argument("--dim", action="append", default=[])
    parser.add_argument("--inputs")
    parser.add_argument("--outputs")
    arguments = parser.parse_args()
    dims = {name: int(size) for name, size in (dim.split("=") for dim in arguments.dim)}
    whole, split_program = Program(arguments.whole), Program(arguments.ranks)
    if arguments.inputs:
        whole.stored = split_program.stored = True
        stored = np.load(arguments.inputs)
        inputs = [stored[attr["onnx.name"]] for attr in whole.function.attrs["arg_attrs"]]
        inputs = [value.astype(np.float64) if value.dtype == np.float32 else value for value in inputs]
    else:
        inputs = None
    for name in whole.functions:
        whole.function, split_program.function = whole.functions[name], split_program.functions[name]
        try:
            compare(whole, split_program, inputs or make_inputs(whole, dims), arguments)
        except SystemExit as error:
            sys.exit(f"@{name}: {error}")
    print(f"equal over {split_program.ranks} ranks")


def compare(whole, split_program, inputs, arguments):
    expected = whole.run([inputs])[0]
    if arguments.outputs:
        mask = np.load(arguments.inputs).get("attention_mask")
        stored = np.load(arguments.outputs)
        for attr, value in zip(whole.function.attrs["res_attrs"], expected):
            error = visible(np.abs(stored[attr["onnx.name"]] - value), mask).max(initial=0)
            if not error < 1e-4:
                sys.exit(f"{attr['onnx.name']} of the whole program differs from {arguments.outputs} by {error}")

    ranks = split_program.ranks
    shards = split_program.shards("arg_attrs") or [None] * len(inputs)
    locals_ = []
    for rank in range(ranks):
        own = []
        for value, shard, (_, (_, shape, _)) in zip(inputs, shards, split_program.function.regions[0].arguments):
            if shard:
                flat = [n for piece in shard["pieces"][rank] for n in piece]
                value = slice_of(value, shard["dim"], flat, shape[shard["dim"]])
            own.append(value)
        locals_.append(own)
    with np.errstate(invalid="raise"):
        actual = split_program.run(locals_)

    result_shards = split_program.shards("res_attrs") or [None] * len(expected)
    for number, (want, shard) in enumerate(zip(expected, result_shards)):
        for rank in range(ranks):
            got, reference = actual[rank][number], want
            if shard:
                flat = [n for piece in shard["pieces"][rank] for n in piece]
                reference = slice_of(want, shard["dim"], flat, sum(flat[1::2]))
                got = np.take(got, range(reference.shape[shard["dim"]]), shard["dim"])
            assert got.shape == reference.shape, f"result {number} of rank {rank} has shape {got.shape}, not {reference.shape}"
            error = np.abs(np.asarray(got, float) - np.asarray(reference, float)).max(initial=0)
            if not error < 1e-7:  # constants of a program are float32
                sys.exit(f"result {number} of rank {rank} differs by {error}")
        if shard:
            covered = {i for rank in shard["pieces"] for start, length in rank for i in range(start, start + length)}
            assert covered == set(range(shard["global"])), f"result {number} is not covered by the ranks' pieces"


if __name__ == "__main__":
    main()
