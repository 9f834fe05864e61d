# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs expanded sync points on all ranks at once, and compares with the reference simulation for random plans.

    interpret.py REFERENCE FOLDER [ROUNDS]

The program has four sites; each partial is an argument plus what the rank reads of the stream.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, sys.argv[1])
import plan as reference
import rounding
from simulate import Stream

FOLDER, ROUNDS = Path(sys.argv[2]), int((sys.argv[3:] or [24])[0])
CHANNELS, TOKENS = 20, 3
SITES = ["layers.0.attn", "layers.0.mlp", "layers.1.attn", "layers.1.mlp"]


def program(ranks: int, element: str) -> str:
    """Sites with a bias and without one, in turn."""
    stream, vector = f"tensor<?x{CHANNELS}x{element}>", f"tensor<{CHANNELS}x{element}>"
    shard = f"{{tp.shard = #tp.shard<dim = 0, global = {ranks}, pieces = {[[[m, 1]] for m in range(ranks)]}>}}"
    names = ", ".join(f"%p{i}: {stream} {shard}" for i in range(4))
    lines = [f'tp.mesh @mesh <["tp" = {ranks}]>',
             f"func.func @main(%b: {vector}, %y0: {stream}, {names}) -> ({stream} {shard}) {{"]
    before = "base(%y0)"
    for i, site in enumerate(SITES):
        bias, types = (" bias(%b)", f"{stream}, {vector}") if i % 2 == 0 else ("", stream)
        lines += [f"  %n{i} = onnx.Relu %y{i} : ({stream}) -> {stream}",
                  f"  %q{i} = onnx.Add %p{i}, %n{i} : ({stream}, {stream}) -> {stream}",
                  f'  %s{i}:2 = tp.sync_point {before} partial(%q{i}) input(%n{i}){bias} on @mesh ["tp"] '
                  f'{{site = "{site}", policy = #tp.policy<full>}} : {types}',
                  f"  %y{i + 1} = tp.read_stream %s{i}#0, %s{i}#1 : {stream}"]
        before = f"base(%s{i}#0) pending(%s{i}#1)"
    return "\n".join(lines + [f"  return %y4 : {stream}", "}"])


def constant(text: str) -> np.ndarray:
    """The value of a dense attribute: dense<…> : tensor<2x8xf32>."""
    values, shape, kind = re.search(r"dense<(.*?)> : tensor<((?:\d+x)*)(\w+)>", text).groups()
    dtype = {"i64": np.int64, "i1": bool, "f32": np.float32, "f64": np.float64}[kind]
    shape = [int(n) for n in shape.split("x") if n]
    if values.startswith('"0x'):
        return np.frombuffer(bytes.fromhex(values[3:-1]), dtype).reshape(shape)
    return np.broadcast_to(np.array(json.loads(values), dtype), shape)


def interpret(text: str, ranks: int, arguments: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The returned value of each rank. `text` is in the generic form; an argument has one array per rank."""
    values = {f"%arg{i}": argument for i, argument in enumerate(arguments)}
    for line in text.splitlines():
        found = re.match(r'\s*(?:(%\w+(?::\d)?) = )?"([\w.]+)"\((.*?)\)(.*)', line)
        if not found or found[2] in ("builtin.module", "func.func", "tp.mesh"):
            continue
        result, op, operands, rest = found.groups()
        x = [values[name] for name in operands.split(", ") if name]
        axis = int((re.search(r"axis = (\d+)", rest) or [0, 0])[1])
        if op == "func.return":
            return x[0]
        if op == "onnx.Constant":
            values[result] = [constant(rest)] * ranks
        elif op == "tp.all_reduce":
            values[result] = [sum(x[0][1:], x[0][0])] * ranks
        elif op == "tp.quantized_all_reduce":
            bits, block = (int(re.search(rf"{name} = (\d+)", rest)[1]) for name in ("bits", "block"))
            exact = re.search(r"exact = array<i64: ([\d, ]+)>", rest)
            total, errors = rounding.all_reduce(np.stack(x[0]), bits, block, json.loads(f"[{exact[1]}]") if exact else [])
            name = result.split(":")[0]
            values[f"{name}#0"], values[f"{name}#1"] = [total] * ranks, list(errors)
        elif op == "tp.shard":
            pieces = [[int(n) for n in p.split(", ")] for p in re.findall(r"array<i64: ([\d, ]+)>", rest)]
            values[result] = [x[0][m][start:start + length] for m, (start, length) in enumerate(pieces)]
        else:
            run = {"onnx.Add": np.add, "onnx.Mul": np.multiply, "onnx.Where": np.where, "onnx.MatMul": np.matmul,
                   "onnx.Transpose": np.transpose, "onnx.Relu": lambda data: np.maximum(data, 0),
                   "onnx.Gather": lambda data, indices: np.take(data, indices, axis),
                   "onnx.Concat": lambda *parts: np.concatenate(parts, axis),
                   "onnx.Reshape": lambda data, shape: data.reshape(shape),
                   "onnx.Cast": lambda data: data.astype(np.float64),
                   "onnx.Slice": lambda data, first, last, axes:
                       np.take(data, range(first[0], min(last[0], data.shape[axes[0]])), axes[0])}[op]
            values[result] = [run(*(operand[m] for operand in x)) for m in range(ranks)]
    raise ValueError("the program does not return")


def random_estimate(random, site: str, ranks: int, estimates: dict, metadata: dict):
    """Of small rank, affine, or both."""
    names = str(random.choice(["ab", "uv", "auv", "abuv"]))
    feature = str(random.choice(["pending", "input", "pending+input"]))
    shapes = {"a": (ranks, CHANNELS), "b": (ranks, CHANNELS), "u": (ranks, CHANNELS, 2),
              "v": (ranks, 2, CHANNELS * (1 + ("+" in feature)))}
    for name in names:
        estimates[f"{site}.{name}"] = random.integers(-8, 8, shapes[name]).astype(np.float32) / 16
    if "u" in names:
        metadata[f"{site}.f"] = feature


def random_rounding(random, reduced: list) -> dict:
    settings = {"bits": int(random.choice([8, 4, 3])), "block": int(random.choice([8, 16]))}
    if random.random() < 0.5:
        settings["exact"] = random.permutation(reduced)[:2].tolist()
    if random.random() < 0.5:
        settings["feedback"] = bool(random.random() < 0.5)
    return settings


def random_entry(random, site: str, ranks: int, rounds: bool, estimates: dict, metadata: dict) -> dict:
    kind = random.choice(["full", "drop", "deferred", "private"])
    entry = {"sync": str(kind)} if kind in ("full", "drop") else {
        "sync": "partial", "shared": float(random.choice([0, 0.25, 0.49, 0.9, 1])), "rest": str(kind)}
    shared = int(entry.get("shared", kind == "full") * CHANNELS)
    rounds = rounds and shared > 0 and random.random() < 0.7
    if (kind != "full" or rounds) and random.random() < 0.6:
        entry["order"] = random.permutation(CHANNELS).tolist()
    if rounds:
        entry |= random_rounding(random, entry.get("order", list(range(CHANNELS)))[:shared])
    if kind == "private":
        entry["scale"] = [str(random.choice(["one", "sqrt"])), 0.75][random.integers(2)]
    elif kind != "full" and random.random() < 0.5:
        entry["estimate"] = "estimate.safetensors"
        random_estimate(random, site, ranks, estimates, metadata)
    return entry


def main():
    seen = set()
    for seed in range(ROUNDS):
        random = np.random.default_rng(seed)
        ranks, rounds = int(random.integers(2, 5)), seed % 2 == 1
        estimates, metadata = {"unused": np.zeros(1, np.float32)}, {"format": "np"}
        plan = {"version": 1, "tp": ranks,
                "sites": {s: random_entry(random, s, ranks, rounds, estimates, metadata) for s in SITES}}
        save_file(estimates, FOLDER / "estimate.safetensors", metadata)
        (FOLDER / "plan.json").write_text(json.dumps(plan))
        bias, start = random.normal(size=CHANNELS), random.normal(size=(TOKENS, CHANNELS))
        partials = random.normal(size=(4, ranks, TOKENS, CHANNELS))

        stream = Stream(start[None], ranks)   # the reference's stream has a batch dimension
        for i, site in enumerate(SITES):
            policy = reference.policy(plan["sites"][site], site, CHANNELS, ranks, FOLDER)
            seen.add((policy.rest, policy.shared == CHANNELS, policy.feature if policy.u is not None else policy.a is not None,
                      policy.bits > 0, policy.feedback, stream.pending is not None))
            module_input = np.maximum(stream.read(), 0)
            stream.sync(site, policy, partials[i][:, None] + module_input, bias if i % 2 == 0 else None, module_input,
                        is_last=i == len(SITES) - 1)
        stream.flush()
        want = np.broadcast_to(stream.read()[:, 0], (ranks, TOKENS, CHANNELS))

        passes = f"tp-apply-plan{{plan={FOLDER}/plan.json}},tp-expand-sync-points,cse,func.func(tp-verify-replication)"
        done = subprocess.run(["caat-opt", "-", f"--pass-pipeline=builtin.module({passes})", "--mlir-print-op-generic"],
                              input=program(ranks, "f32" if rounds else "f64"), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"seed {seed}: {done.stderr[-2000:]}")
        arguments = [[bias] * ranks, [start] * ranks, *(list(p) for p in partials)]
        got = np.stack(interpret(done.stdout, ranks, arguments))
        tolerance = 1e-5 if rounds else 1e-12     # factors are constants of the program's type
        if not np.allclose(got, want, rtol=tolerance, atol=tolerance):
            sys.exit(f"seed {seed}: off by {abs(got - want).max():.3g} with {json.dumps(plan)}")
    print(f"{ROUNDS} plans agree, {len(seen)} situations")


main()
