# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""weight_cases.py DIR: writes DIR/weights.bin and DIR/weights.mlir, whose results are weight expressions.
   weight_cases.py DIR OUTPUTS.npz: checks what two ranks made of it."""
import json
import sys
from pathlib import Path

import numpy as np

W = np.random.default_rng(7).standard_normal((12, 8)).astype(np.float32)
V = np.arange(8, dtype=np.float32) / 4 + 1
PIECES = [[[0, 5]], [[5, 4], [1, 1]]]  # of dimension 0, to 6 rows


def shard(x, rank, axis=0, pieces=PIECES, size=6):
    parts = [np.take(x, range(start, start + length), axis) for start, length in pieces[rank]]
    parts = np.concatenate(parts, axis)
    pad = [(0, 0)] * x.ndim
    pad[axis] = (0, size - parts.shape[axis])
    return np.pad(parts, pad)


def text(array):
    kind = {"int64": "i64", "float32": "f32"}[array.dtype.name]
    return "dense<%s> : tensor<%sx%s>" % (json.dumps(array.tolist()), "x".join(map(str, array.shape)), kind)


def ints(*values):
    return text(np.array(values, np.int64))


# Name, result shape, op with %w, %v and constants %i0.., expected value. Shards are summed over the ranks.
CASES = [
    ("transpose", (8, 12), "onnx.Transpose %w {perm = array<i64: 1, 0>} : (tensor<12x8xf32>)", [], lambda: W.T),
    ("reshape", (4, 24), "onnx.Reshape %w, %i0 : (tensor<12x8xf32>, tensor<2xi64>)", [ints(4, 24)], lambda: W.reshape(4, 24)),
    ("slice", (3, 4), "onnx.Slice %w, %i0, %i1 axes %i2 steps %i3 : (tensor<12x8xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>)",
     [ints(-3, 0), ints(100, 8), ints(0, 1), ints(1, 2)], lambda: W[-3:, ::2]),
    ("backwards", (12, 8), "onnx.Slice %w, %i0, %i1 axes %i2 steps %i3 : (tensor<12x8xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>)",
     [ints(-1), ints(-100), ints(0), ints(-1)], lambda: W[::-1]),
    ("concat", (24, 8), "onnx.Concat %w, %w {axis = 0 : i64} : (tensor<12x8xf32>, tensor<12x8xf32>)", [], lambda: np.concatenate([W, W])),
    ("pad", (13, 11), "onnx.Pad %w, %i0 : (tensor<12x8xf32>, tensor<4xi64>)", [ints(1, 2, 0, 1)], lambda: np.pad(W, ((1, 0), (2, 1)))),
    ("gather", (12, 3), "onnx.Gather %w, %i0 {axis = 1 : i64} : (tensor<12x8xf32>, tensor<3xi64>)", [ints(7, 0, -2)], lambda: W[:, [7, 0, -2]]),
    ("scale", (12, 8), "onnx.Mul %w, %v : (tensor<12x8xf32>, tensor<8xf32>)", [], lambda: W * V),
    ("add", (12, 8), "onnx.Add %v, %w : (tensor<8xf32>, tensor<12x8xf32>)", [], lambda: V + W),
    ("sub", (12, 8), "onnx.Sub %v, %w : (tensor<8xf32>, tensor<12x8xf32>)", [], lambda: V - W),
    ("div", (12, 8), "onnx.Div %w, %v : (tensor<12x8xf32>, tensor<8xf32>)", [], lambda: W / V),
    ("expand", (3, 12, 8), "onnx.Expand %w, %i0 : (tensor<12x8xf32>, tensor<3xi64>)", [ints(3, 1, 1)], lambda: np.broadcast_to(W, (3, 12, 8))),
    ("shard", (6, 8), "tp.shard %w dim 0 pieces [[[0, 5]], [[5, 4], [1, 1]]] size 6 : tensor<12x8xf32>", [], lambda: shard(W, 0) + shard(W, 1)),
    ("view", (12, 4), "tp.shard %w dim 1 pieces [[[0, 4]], [[4, 4]]] size 4 : tensor<12x8xf32>", [], lambda: W[:, :4] + W[:, 4:]),
]


def write(directory: Path):
    (directory / "weights.bin").write_bytes(W.tobytes() + V.tobytes())
    body, results, types = [], [], []
    for n, (name, shape, op, constants, _) in enumerate(CASES):
        for i, constant in enumerate(constants):
            body.append(f"    %c{n}_{i} = onnx.Constant {constant}")
            op = op.replace(f"%i{i}", f"%c{n}_{i}")
        kind = "tensor<%sxf32>" % "x".join(map(str, shape))
        if op.startswith("tp.shard"):
            body.append(f"    %s{n} = {op} -> {kind}")
            op, arrow = f'tp.all_reduce %s{n} on @mesh ["tp"] : {kind}', ""
        else:
            arrow = f" -> {kind}"
        body.append(f"    %r{n} = {op}{arrow}")
        results.append(f"%r{n}")
        types.append(kind)
    outputs = ", ".join(f'{kind} {{onnx.name = "{case[0]}", onnx.dims = [{", ".join(["%s" % chr(34) * 2] * len(case[1]))}]}}'
                        for kind, case in zip(types, CASES))
    (directory / "weights.mlir").write_text(f"""module attributes {{onnx.directory = "{directory}", onnx.file = "weights.bin", onnx.opset = 24 : i64}} {{
  onnx.initializer @w : tensor<12x8xf32> {{file = "weights.bin", offset = 0 : i64, length = 384 : i64}}
  onnx.initializer @v : tensor<8xf32> {{file = "weights.bin", offset = 384 : i64, length = 32 : i64}}
  tp.mesh @mesh <["tp" = 2]>
  func.func @main() -> ({outputs}) {{
    %w = onnx.get_initializer @w : tensor<12x8xf32>
    %v = onnx.get_initializer @v : tensor<8xf32>
{chr(10).join(body)}
    return {", ".join(results)} : {", ".join(types)}
  }}
}}
""")


def check(outputs):
    for name, shape, _, _, expected in CASES:
        np.testing.assert_array_equal(outputs[name], expected().astype(np.float32), err_msg=name)
        assert outputs[name].shape == shape
    print(len(CASES), "expressions are right")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    else:
        check(np.load(sys.argv[2]))
