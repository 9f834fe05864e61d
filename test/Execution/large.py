#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Peak memory of compiling and running a model that is large for what the tools may hold.

Without arguments, as a test: a model of about 400 MB; compiling may hold one weight of it at a time, running 1.15 times
its weights. By hand, for the figures in docs/performance.md, a model of 6 GB (and as much again for the ranks' weights):

    large.py --layers=24 --hidden=4096 --ffn=11008 --bytes=6e9 --tp=2,4 --folder=/tmp/large [--random]

The file of the weights is sparse (zeros that take no disk until they are read) unless --random. The peak is what wait4
says of the process (ru_maxrss): all of its memory, pages of mapped files included.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import programs

MIB = 1 << 20


def llama(folder: Path, layers: int, hidden: int, ffn: int, vocabulary: int, random: bool, length: int = 128) -> dict:
    """Writes model.onnx in the form of onnxruntime-genai's builder, and its weights; returns sizes in bytes."""
    heads = hidden // 128 or 1
    size = hidden // heads
    folder.mkdir(parents=True, exist_ok=True)
    nodes, weights, offset, largest = [], [], 0, 0
    data = open(folder / "model.onnx.data", "wb")
    block = np.random.default_rng(1).standard_normal(1 << 20).astype(np.float32) * 0.02

    def weight(name, *shape):
        nonlocal offset, largest
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        length = 4 * int(np.prod(shape))
        for key, value in (("location", "model.onnx.data"), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        if random:
            for begin in range(0, length, block.nbytes):
                data.write(block.tobytes()[:length - begin])
        offset += length
        largest = max(largest, length)
        weights.append(tensor)
        return name

    def node(kind, inputs, *outputs, domain="", **attributes):
        nodes.append(helper.make_node(kind, list(inputs), list(outputs), outputs[0], domain=domain, **attributes))
        return outputs[0]

    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    scalar = helper.make_tensor("scalar", TensorProto.INT64, [], [1])
    weights += [one, scalar]
    node("ReduceSum", ["attention_mask", "one"], "filled", keepdims=0)
    node("Sub", ["filled", "one"], "last")
    node("Cast", ["last"], "lengths", to=TensorProto.INT32)
    node("Shape", ["attention_mask"], "mask_shape")
    node("Gather", ["mask_shape", "scalar"], "total64", axis=0)
    node("Cast", ["total64"], "total", to=TensorProto.INT32)
    angles = np.outer(np.arange(length), 1e4 ** (-np.arange(size // 2) / (size // 2)))
    for name, table in (("cos", np.cos(angles)), ("sin", np.sin(angles))):
        weights.append(onnx.numpy_helper.from_array(table.astype(np.float32), name))

    stream = node("Gather", [weight("embed", vocabulary, hidden), "input_ids"], "x")
    normed = node("SimplifiedLayerNormalization", [stream, weight("norm.first", hidden)], "x.norm", epsilon=1e-5, axis=-1)
    inputs, outputs = [], []
    for i in range(layers):
        p = f"layers.{i}."
        qkv = node("MatMul", [normed, weight(p + "qkv", hidden, 3 * hidden)], p + "qkv.out")
        past, present = ([f"{which}.{i}.{part}" for part in ("key", "value")] for which in ("past_key_values", "present"))
        inputs += past
        outputs += present
        attention = node("GroupQueryAttention", [qkv, "", "", *past, "lengths", "total", "cos", "sin"], p + "attn", *present,
                         domain="com.microsoft", num_heads=heads, kv_num_heads=heads, do_rotary=1)
        added = node("MatMul", [attention, weight(p + "o", hidden, hidden)], p + "o.out")
        normed = node("SkipSimplifiedLayerNormalization", [stream, added, weight(p + "norm1", hidden)], p + "n1", "", "",
                      p + "s1", domain="com.microsoft", epsilon=1e-5)
        gate = node("MatMul", [normed, weight(p + "gate", hidden, ffn)], p + "gate.out")
        up = node("MatMul", [normed, weight(p + "up", hidden, ffn)], p + "up.out")
        product = node("Mul", [node("Mul", [gate, node("Sigmoid", [gate], p + "sig")], p + "silu"), up], p + "act")
        added = node("MatMul", [product, weight(p + "down", ffn, hidden)], p + "down.out")
        normed = node("SkipSimplifiedLayerNormalization", [p + "s1", added, weight(p + "norm2", hidden)], p + "n2", "", "",
                      p + "s2", domain="com.microsoft", epsilon=1e-5)
        stream = p + "s2"
    node("MatMul", [normed, weight("head", hidden, vocabulary)], "logits")
    data.truncate(offset)
    data.close()

    def value(name, type, *shape):
        return helper.make_tensor_value_info(name, type, shape)

    cache = lambda name, dim: value(name, TensorProto.FLOAT, "batch", heads, dim, size)
    graph = helper.make_graph(
        nodes, "llama", [value("input_ids", TensorProto.INT64, "batch", "seq"),
                         value("attention_mask", TensorProto.INT64, "batch", "total"), *(cache(n, "past") for n in inputs)],
        [value("logits", TensorProto.FLOAT, "batch", "seq", vocabulary), *(cache(n, "total") for n in outputs)], weights)
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)]
    (folder / "model.onnx").write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return {"weights": offset, "largest": largest}


def measured(*command) -> tuple[int, float, str]:
    """Peak memory in bytes and seconds of a command that has to succeed, and what it wrote to standard error."""
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([programs.BIN / command[0], *map(str, command[1:])], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read()
    if status:
        raise programs.Failed(f"{command[0]}: status {process.returncode}: {text[-500:]}")
    return usage.ru_maxrss * 1024, time.monotonic() - start, text


def rank_bytes(program: Path) -> list[int]:
    return [file.stat().st_size for file in sorted(program.glob("weights-*.safetensors"))]


def study(folder: Path, sizes: dict, model: Path, tp: int, base: dict | None) -> dict:
    """Compiles and runs a model; with a `base` (the same of a tiny model) checks the limits."""
    program = folder / f"out-{tp}"
    compiling, seconds, text = measured("caat-compile", model / "model.onnx", f"--tp={tp}", "--max-length=128", "-o", program)
    ranks = rank_bytes(program)
    tokens = folder / "tokens.npy"
    np.save(tokens, np.arange(8, dtype=np.int64).reshape(1, 8))
    running, run_seconds, _ = measured("caat-run", "generate", program, f"--tokens={tokens}", "--max-new-tokens=2",
                                       "-o", folder / "new.npy")
    result = {"compile": compiling, "run": running}
    print(f"{model.name}, {sizes['weights'] / 1e9:.2f} GB, tp={tp}: compile {seconds:.1f} s, peak {compiling / MIB:.0f} MiB "
          f"(a rank's weights: {max(ranks) / MIB:.0f} MiB); run {run_seconds:.1f} s, peak {running / MIB:.0f} MiB "
          f"(all ranks' weights: {sum(ranks) / MIB:.0f} MiB)", flush=True)
    if base:
        extra = compiling - base["compile"]
        if extra > sizes["largest"] * 1.2 + 32 * MIB:
            raise programs.Failed(f"compiling held {extra / MIB:.0f} MiB, the largest weight has {sizes['largest'] / MIB:.0f}")
        if compiling > max(ranks) + 1e9:
            raise programs.Failed("compiling held more than a rank's weights and 1 GB")
        extra = running - base["run"]
        if extra > sum(ranks) * 1.15:
            raise programs.Failed(f"running held {extra / MIB:.0f} MiB for weights of {sum(ranks) / MIB:.0f} MiB")
        if "weights" not in text:
            raise programs.Failed("no progress of the weights was reported")
    shutil.rmtree(program)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=1536)
    parser.add_argument("--ffn", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--bytes", type=float, help="as many layers as make a model of this size")
    parser.add_argument("--tp", default="2", help="numbers of ranks, e.g. 2,4")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--random", action="store_true", help="random weights instead of a sparse file of zeros")
    options = parser.parse_args()
    if options.bytes:
        layer = 4 * options.hidden * (4 * options.hidden + 3 * options.ffn)
        options.layers = max(1, round((options.bytes - 8 * options.vocabulary * options.hidden) / layer))
    with tempfile.TemporaryDirectory(dir=options.folder and options.folder.parent) as temporary:
        folder = Path(temporary)
        tiny = llama(folder / "tiny", options.layers, 128, 128, 256, options.random)
        sizes = llama(folder / "large", options.layers, options.hidden, options.ffn, options.vocabulary, options.random)
        for tp in map(int, options.tp.split(",")):
            base = study(folder, tiny, folder / "tiny", tp, None)
            study(folder, sizes, folder / "large", tp, base)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except programs.Failed as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
