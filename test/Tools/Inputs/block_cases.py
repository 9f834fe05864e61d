# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""block_cases.py DIR: writes DIR/blocks.bin, DIR/blocks.mlir and DIR/in.npz: products with weights whose codes two ranks keep.
   block_cases.py DIR ARTIFACT [OUTPUTS.npz]: checks the artifact's files against NumPy, bit for bit, and what a run gave."""
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Execution"))
from block_rows import spread, tensors, values

R = np.random.default_rng(11)
N = 6
DTYPES = {"ui8": np.uint8, "i8": np.int8, "f32": np.float32, "f16": np.float16}


def dense(values):
    return json.dumps(np.asarray(values).tolist())


class Case:
    """The text of a weight expression, with its value on a rank of two."""

    def __init__(self, name, form, k, text, value, shape=None):
        self.name, self.form, self.k, self.text, self.value = name, form, k, text, value
        self.shape = shape or (k, N)


FILES, CASES = {}, []


def stored(name, array, type):
    """The initializer `name`."""
    FILES[name] = (np.ascontiguousarray(array, DTYPES[type]), type)
    return "tensor<%sx%s>" % ("x".join(map(str, array.shape)), type)


def pack(codes):
    """4 bits a code, the lower ones first."""
    return codes[:, ::2] | codes[:, 1::2] << 4


def scales(blocks, dtype=np.float32, rows=N):
    return R.uniform(0.01, 0.1, (rows, blocks)).astype(dtype)


def shard(x, pieces, size, axis=1):
    parts = np.concatenate([np.take(x, range(a, a + n), axis) for a, n in pieces], axis)
    pad = [(0, 0), (0, 0)]
    pad[axis] = (0, size - parts.shape[axis])
    return np.pad(parts, pad)


def transposed(rows, k):
    return f"onnx.Transpose {rows} {{perm = array<i64: 1, 0>}} : (tensor<{N}x{k}xf32>) -> tensor<{k}x{N}xf32>"


def make():
    q = R.integers(0, 16, (N, 64)).astype(np.uint8)
    s = scales(2, np.float16)
    stored("middle", pack(q), "ui8"), stored("middle_s", s, "f16")
    CASES.append(Case("middle", ["4", 32, "f16", "middle"], 64, f"""
  %p = onnx.get_initializer @middle : tensor<{N}x32xui8>
  %u = onnx.unpack %p {{bits = 4 : i64}} : (tensor<{N}x32xui8>) -> tensor<{N}x64xui8>
  %h = onnx.get_initializer @middle_s : tensor<{N}x2xf16>
  %s = onnx.Cast %h to f32 : (tensor<{N}x2xf16>) -> tensor<{N}x2xf32>
  %z = onnx.Constant dense<8> : tensor<{N}x2xui8>
  %d = onnx.DequantizeLinear %u, %s zero_point %z {{block_size = 32 : i64}} : (tensor<{N}x64xui8>, tensor<{N}x2xf32>, tensor<{N}x2xui8>) -> tensor<{N}x64xf32>
  %w = {transposed("%d", 64)}""", lambda rank: (q.astype(np.float32) - 8) * spread(s, 32)))

    # Slices that begin in the middle of a block, and end with zeros in one.
    e, t, z = R.integers(-128, 128, (N, 256)).astype(np.int8), scales(2), R.integers(-100, 100, (N, 2)).astype(np.int8)
    stored("sliced", e, "i8"), stored("sliced_s", t, "f32"), stored("sliced_z", z, "i8")
    pieces = [[[64, 96]], [[160, 90]]]
    sliced = lambda: (e.astype(np.float32) - spread(z, 128)) * spread(t, 128)
    CASES.append(Case("sliced", ["8", 32, "f32", "zeros"], 96, f"""
  %q = onnx.get_initializer @sliced : tensor<{N}x256xi8>
  %s = onnx.get_initializer @sliced_s : tensor<{N}x2xf32>
  %z = onnx.get_initializer @sliced_z : tensor<{N}x2xi8>
  %d = onnx.DequantizeLinear %q, %s zero_point %z {{block_size = 128 : i64}} : (tensor<{N}x256xi8>, tensor<{N}x2xf32>, tensor<{N}x2xi8>) -> tensor<{N}x256xf32>
  %c = tp.shard %d dim 1 pieces {dense(pieces)} size 96 : tensor<{N}x256xf32> -> tensor<{N}x96xf32>
  %w = {transposed("%c", 96)}""", lambda rank: shard(sliced(), pieces[rank], 96)))

    # Rows in another order and repeated, columns as whole blocks in another order.
    rows, order = [5, 0, 0, 3, 1, -2], [i * 32 + j for i in (2, 0, 1) for j in range(32)]
    a, b = R.integers(0, 256, (N, 96)).astype(np.uint8), scales(3)
    stored("permuted", a, "ui8"), stored("permuted_s", b, "f32")
    permuted = f"""
  %q = onnx.get_initializer @permuted : tensor<{N}x96xui8>
  %s = onnx.get_initializer @permuted_s : tensor<{N}x3xf32>
  %d = onnx.DequantizeLinear %q, %s {{block_size = 32 : i64}} : (tensor<{N}x96xui8>, tensor<{N}x3xf32>) -> tensor<{N}x96xf32>
  %i = onnx.Constant dense<{dense(rows)}> : tensor<6xi64>
  %g = onnx.Gather %d, %i {{axis = 0 : i64}} : (tensor<{N}x96xf32>, tensor<6xi64>) -> tensor<{N}x96xf32>"""
    CASES.append(Case("permuted", ["8", 32, "f32", "zeros"], 96, permuted + f"""
  %j = onnx.Constant dense<{dense(order)}> : tensor<96xi64>
  %k = onnx.Gather %g, %j {{axis = 1 : i64}} : (tensor<{N}x96xf32>, tensor<96xi64>) -> tensor<{N}x96xf32>
  %w = {transposed("%k", 96)}""", lambda rank: (a.astype(np.float32) * spread(b, 32))[rows][:, order]))
    # Columns out of their blocks are floats.
    mixed = [(7 * i) % 96 for i in range(96)]
    CASES.append(Case("mixed", None, 96, permuted + f"""
  %j = onnx.Constant dense<{dense(mixed)}> : tensor<96xi64>
  %k = onnx.Gather %g, %j {{axis = 1 : i64}} : (tensor<{N}x96xf32>, tensor<96xi64>) -> tensor<{N}x96xf32>
  %w = {transposed("%k", 96)}""", lambda rank: (a.astype(np.float32) * spread(b, 32))[rows][:, mixed]))

    # Matrices of 2 and 4 bits side by side, in blocks of 64 and 16.
    two, four = R.integers(0, 4, (N, 64)).astype(np.uint8), R.integers(-8, 8, (N, 64)).astype(np.int8)
    st, sf = scales(1), scales(4)
    stored("joined", two[:, ::4] | two[:, 1::4] << 2 | two[:, 2::4] << 4 | two[:, 3::4] << 6, "ui8")
    stored("joined_4", pack(four.view(np.uint8) & 15), "ui8"), stored("joined_s", st, "f32"), stored("joined_t", sf, "f32")
    CASES.append(Case("joined", ["4", 16, "f32", "middle"], 64, f"""
  %p = onnx.get_initializer @joined : tensor<{N}x16xui8>
  %u = onnx.unpack %p {{bits = 2 : i64}} : (tensor<{N}x16xui8>) -> tensor<{N}x64xui8>
  %s = onnx.get_initializer @joined_s : tensor<{N}x1xf32>
  %z = onnx.Constant dense<2> : tensor<{N}x1xui8>
  %a = onnx.DequantizeLinear %u, %s zero_point %z {{block_size = 64 : i64}} : (tensor<{N}x64xui8>, tensor<{N}x1xf32>, tensor<{N}x1xui8>) -> tensor<{N}x64xf32>
  %q = onnx.get_initializer @joined_4 : tensor<{N}x64xi4>
  %t = onnx.get_initializer @joined_t : tensor<{N}x4xf32>
  %b = onnx.DequantizeLinear %q, %t {{block_size = 16 : i64}} : (tensor<{N}x64xi4>, tensor<{N}x4xf32>) -> tensor<{N}x64xf32>
  %c = onnx.Concat %a, %b {{axis = 0 : i64}} : (tensor<{N}x64xf32>, tensor<{N}x64xf32>) -> tensor<{2 * N}x64xf32>
  %w = {transposed("%c", 64).replace(f"{N}x64", f"{2 * N}x64").replace(f"64x{N}", f"64x{2 * N}")}""",
                      lambda rank: np.concatenate([(two.astype(np.float32) - 2) * spread(st, 64), four.astype(np.float32) * spread(sf, 16)]),
                      (64, 2 * N)))

    # Zero points that are floats, and a slice in the middle of a block.
    f, fs, fz = R.integers(0, 16, (N, 128)).astype(np.uint8), scales(2), R.uniform(3, 12, (N, 2)).astype(np.float32)
    stored("minimum", pack(f), "ui8"), stored("minimum_s", fs, "f32"), stored("minimum_z", fz, "f32")
    CASES.append(Case("minimum", ["4", 32, "f32", "minimum"], 64, f"""
  %p = onnx.get_initializer @minimum : tensor<{N}x64xui8>
  %u = onnx.unpack %p {{bits = 4 : i64}} : (tensor<{N}x64xui8>) -> tensor<{N}x128xui8>
  %s = onnx.get_initializer @minimum_s : tensor<{N}x2xf32>
  %o = onnx.Constant dense<0> : tensor<{N}x2xui8>
  %d = onnx.DequantizeLinear %u, %s zero_point %o {{block_size = 64 : i64}} : (tensor<{N}x128xui8>, tensor<{N}x2xf32>, tensor<{N}x2xui8>) -> tensor<{N}x128xf32>
  %z = onnx.get_initializer @minimum_z : tensor<{N}x2xf32>
  %m = onnx.Mul %z, %s : (tensor<{N}x2xf32>, tensor<{N}x2xf32>) -> tensor<{N}x2xf32>
  %a2 = onnx.Constant dense<2> : tensor<1xi64>
  %e = onnx.Unsqueeze %m axes %a2 : (tensor<{N}x2xf32>, tensor<1xi64>) -> tensor<{N}x2x1xf32>
  %n3 = onnx.Constant dense<[{N}, 2, 64]> : tensor<3xi64>
  %b = onnx.Reshape %d, %n3 : (tensor<{N}x128xf32>, tensor<3xi64>) -> tensor<{N}x2x64xf32>
  %x = onnx.Sub %b, %e : (tensor<{N}x2x64xf32>, tensor<{N}x2x1xf32>) -> tensor<{N}x2x64xf32>
  %n2 = onnx.Constant dense<[{N}, 128]> : tensor<2xi64>
  %r = onnx.Reshape %x, %n2 : (tensor<{N}x2x64xf32>, tensor<2xi64>) -> tensor<{N}x128xf32>
  %c = tp.shard %r dim 1 pieces [[[32, 64]], [[0, 32], [64, 32]]] size 64 : tensor<{N}x128xf32> -> tensor<{N}x64xf32>
  %w = {transposed("%c", 64)}""", lambda rank: shard(
        f.astype(np.float32) * spread(fs, 64) - spread(fz * fs, 64), ([[32, 64]], [[0, 32], [64, 32]])[rank], 64)))

    # A scale for each column of a stored [K, N]: any block will do, and zeros behind the last element.
    c, cs = R.integers(-128, 128, (500, N)).astype(np.int8), R.uniform(0.01, 0.1, N).astype(np.float32)
    stored("columns", c, "i8"), stored("columns_s", cs, "f32")
    CASES.append(Case("columns", ["8", 256, "f32", "middle"], 512, f"""
  %q = onnx.get_initializer @columns : tensor<500x{N}xi8>
  %s = onnx.get_initializer @columns_s : tensor<{N}xf32>
  %d = onnx.DequantizeLinear %q, %s : (tensor<500x{N}xi8>, tensor<{N}xf32>) -> tensor<500x{N}xf32>
  %p = onnx.Constant dense<[0, 0, 12, 0]> : tensor<4xi64>
  %w = onnx.Pad %d, %p : (tensor<500x{N}xf32>, tensor<4xi64>) -> tensor<512x{N}xf32>""",
                      lambda rank: np.pad(c.astype(np.float32) * cs, ((0, 12), (0, 0))).T))

    # Rows backwards, and one part of a Split along K.
    v, vs = R.integers(-128, 128, (N, 96)).astype(np.int8), scales(2)
    stored("parts", v, "i8"), stored("parts_s", vs, "f32")
    CASES.append(Case("parts", ["8", 16, "f32", "middle"], 48, f"""
  %q = onnx.get_initializer @parts : tensor<{N}x96xi8>
  %s = onnx.get_initializer @parts_s : tensor<{N}x2xf32>
  %d = onnx.DequantizeLinear %q, %s {{block_size = 48 : i64}} : (tensor<{N}x96xi8>, tensor<{N}x2xf32>) -> tensor<{N}x96xf32>
  %b0 = onnx.Constant dense<-1> : tensor<1xi64>
  %b1 = onnx.Constant dense<-100> : tensor<1xi64>
  %a0 = onnx.Constant dense<0> : tensor<1xi64>
  %r = onnx.Slice %d, %b0, %b1 axes %a0 steps %b0 : (tensor<{N}x96xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<{N}x96xf32>
  %n = onnx.Constant dense<[32, 48, 16]> : tensor<3xi64>
  %f, %m, %l = onnx.Split %r sizes %n {{axis = 1 : i64}} : (tensor<{N}x96xf32>, tensor<3xi64>) -> (tensor<{N}x32xf32>, tensor<{N}x48xf32>, tensor<{N}x16xf32>)
  %w = {transposed("%m", 48)}""", lambda rank: (v.astype(np.float32) * spread(vs, 48))[::-1, 32:80]))


def write(directory: Path):
    offset, lines, body, arguments, results, types = 0, [], [], [], [], []
    with open(directory / "blocks.bin", "wb") as file:
        for name, (array, type) in FILES.items():
            shape = list(array.shape)
            if name == "joined_4":
                shape, type = [N, 64], "i4"
            lines.append(f'  onnx.initializer @{name} : tensor<{"x".join(map(str, shape))}x{type}> '
                         f'{{file = "blocks.bin", offset = {offset} : i64, length = {array.nbytes} : i64}}')
            file.write(array.tobytes() + bytes(-array.nbytes % 64))
            offset += array.nbytes + -array.nbytes % 64
    for i, case in enumerate(CASES):
        body.append("\n".join(line.replace("%", f"%c{i}_") for line in case.text.splitlines()))
        kind = f"tensor<?x{case.shape[1]}xf32>"
        body.append(f"  %p{i} = onnx.MatMul %x{i}, %c{i}_w : (tensor<?x{case.k}xf32>, tensor<{case.shape[0]}x{case.shape[1]}xf32>) -> {kind}")
        arguments.append(f'%x{i}: tensor<?x{case.k}xf32> {{onnx.name = "x.{case.name}", onnx.dims = ["rows", ""]}}')
        sharded = "tp.shard" in case.text
        if sharded:
            body.append(f'  %r{i} = tp.all_reduce %p{i} on @mesh ["tp"] : {kind}')
        results.append(f"%{'r' if sharded else 'p'}{i}")
        types.append(kind)
    outputs = ", ".join(f'{kind} {{onnx.name = "{case.name}", onnx.dims = ["rows", ""]}}' for kind, case in zip(types, CASES))
    (directory / "blocks.mlir").write_text(
        f'module attributes {{onnx.directory = "{directory}", onnx.file = "blocks.bin", onnx.opset = 24 : i64}} {{\n'
        + "\n".join(lines) + f'\n  tp.mesh @mesh <["tp" = 2]>\n  func.func @main({", ".join(arguments)}) -> ({outputs}) {{\n'
        + "\n".join(body) + f'\n  return {", ".join(results)} : {", ".join(types)}\n  }}\n}}\n')
    np.savez(directory / "in.npz", **inputs())


def inputs():
    random = np.random.default_rng(3)
    return {f"x.{case.name}": random.standard_normal((5, case.k)).astype(np.float32) for case in CASES}


def check(artifact: Path, outputs):
    manifest = json.loads((artifact / "manifest.json").read_text())
    assert manifest["format"] in (7, 8)
    files = [tensors(artifact / f"weights-{rank}.safetensors") for rank in range(2)]
    names = {}
    for p in manifest["parameters"]:  # in the order of the products
        names[CASES[len(names)].name] = p
    for case in CASES:
        spec = names[case.name]
        form = spec.get("blocks")
        got = form and [str(form["bits"]), form["size"], form["scales"], form["offset"]]
        assert got == case.form, f"{case.name}: {got}, expected {case.form}"
        wanted = [case.value(rank) for rank in range(2)]
        for rank in range(2):
            rows = spec["shape"][0 if spec["transposed"] else 1]  # half of them where the compiler divides the result
            own = wanted[rank][rank * rows:][:rows] if rows < len(wanted[rank]) else wanted[rank]
            rounding = 0 if form or spec["dtype"] == "f32" else 2**-8
            np.testing.assert_allclose(values(files[rank][spec["name"]], spec), own, rtol=rounding, err_msg=f"{case.name}, rank {rank}")
        total = sum(wanted) if "tp.shard" in case.text else wanted[0]
        if outputs:
            np.testing.assert_allclose(outputs[case.name], inputs()[f"x.{case.name}"] @ total.T, rtol=1e-4, atol=1e-3, err_msg=case.name)
    print(len(CASES), "weights have the model's codes")


make()
if __name__ == "__main__":
    if len(sys.argv) == 2:
        write(Path(sys.argv[1]))
    else:
        check(Path(sys.argv[2]), np.load(sys.argv[3]) if len(sys.argv) > 3 else None)
