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
from simulate import Stream

FOLDER, ROUNDS = Path(sys.argv[2]), int((sys.argv[3:] or [24])[0])
CHANNELS, TOKENS = 8, 3
SITES = ["layers.0.attn", "layers.0.mlp", "layers.1.attn", "layers.1.mlp"]
STREAM = f"tensor<?x{CHANNELS}xf64>"
VECTOR = f"tensor<{CHANNELS}xf64>"


def program(ranks: int) -> str:
    """Sites with a bias and without one, in turn."""
    shard = f"{{tp.shard = #tp.shard<dim = 0, global = {ranks}, pieces = {[[[m, 1]] for m in range(ranks)]}>}}"
    names = ", ".join(f"%p{i}: {STREAM} {shard}" for i in range(4))
    lines = [f'tp.mesh @mesh <["tp" = {ranks}]>',
             f"func.func @main(%b: {VECTOR}, %y0: {STREAM}, {names}) -> ({STREAM} {shard}) {{"]
    before = "base(%y0)"
    for i, site in enumerate(SITES):
        bias, types = (" bias(%b)", f"{STREAM}, {VECTOR}") if i % 2 == 0 else ("", STREAM)
        lines += [f"  %q{i} = onnx.Add %p{i}, %y{i} : ({STREAM}, {STREAM}) -> {STREAM}",
                  f'  %s{i}:2 = tp.sync_point {before} partial(%q{i}){bias} on @mesh ["tp"] '
                  f'{{site = "{site}", policy = #tp.policy<full>}} : {types}',
                  f"  %y{i + 1} = tp.read_stream %s{i}#0, %s{i}#1 : {STREAM}"]
        before = f"base(%s{i}#0) pending(%s{i}#1)"
    return "\n".join(lines + [f"  return %y4 : {STREAM}", "}"])


def constant(text: str) -> np.ndarray:
    """The value of a dense attribute: dense<…> : tensor<2x8xf32>."""
    values, shape, kind = re.search(r"dense<(.*?)> : tensor<((?:\d+x)*)(\w+)>", text).groups()
    dtype = {"i64": np.int64, "i1": bool, "f32": np.float32, "f64": np.float64}[kind]
    shape = [int(n) for n in shape.split("x") if n]
    return np.broadcast_to(np.array(json.loads(values), dtype), shape)


def interpret(text: str, ranks: int, arguments: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The returned value of each rank. `text` is in the generic form; an argument has one array per rank."""
    values = {f"%arg{i}": argument for i, argument in enumerate(arguments)}
    for line in text.splitlines():
        found = re.match(r'\s*(?:(%\w+) = )?"([\w.]+)"\((.*?)\)(.*)', line)
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
        elif op == "tp.shard":
            pieces = [[int(n) for n in p.split(", ")] for p in re.findall(r"array<i64: ([\d, ]+)>", rest)]
            values[result] = [x[0][m][start:start + length] for m, (start, length) in enumerate(pieces)]
        else:
            run = {"onnx.Add": np.add, "onnx.Mul": np.multiply, "onnx.Where": np.where,
                   "onnx.Gather": lambda data, indices: np.take(data, indices, axis),
                   "onnx.Concat": lambda *parts: np.concatenate(parts, axis),
                   "onnx.Reshape": lambda data, shape: data.reshape(shape),
                   "onnx.Cast": lambda data: data.astype(np.float64),
                   "onnx.Slice": lambda data, first, last, axes:
                       np.take(data, range(first[0], min(last[0], data.shape[axes[0]])), axes[0])}[op]
            values[result] = [run(*(operand[m] for operand in x)) for m in range(ranks)]
    raise ValueError("the program does not return")


def random_entry(random, site: str, ranks: int, estimates: dict) -> dict:
    kind = random.choice(["full", "drop", "deferred", "private"])
    if kind == "full":
        return {"sync": "full"}
    entry = {"sync": "drop"} if kind == "drop" else {
        "sync": "partial", "shared": float(random.choice([0, 0.25, 0.49, 0.9, 1])), "rest": str(kind)}
    if random.random() < 0.6:
        entry["order"] = random.permutation(CHANNELS).tolist()
    if kind == "private":
        entry["scale"] = [str(random.choice(["one", "sqrt"])), 0.75][random.integers(2)]
    elif random.random() < 0.5:
        entry["estimate"] = "estimate.safetensors"
        for name in "ab":
            estimates[f"{site}.{name}"] = random.integers(-8, 8, (ranks, CHANNELS)).astype(np.float32) / 4
    return entry


def main():
    seen = set()
    for seed in range(ROUNDS):
        random = np.random.default_rng(seed)
        ranks, estimates = int(random.integers(2, 5)), {"unused": np.zeros(1, np.float32)}
        plan = {"version": 1, "tp": ranks, "sites": {s: random_entry(random, s, ranks, estimates) for s in SITES}}
        save_file(estimates, FOLDER / "estimate.safetensors")
        (FOLDER / "plan.json").write_text(json.dumps(plan))
        bias, start = random.normal(size=CHANNELS), random.normal(size=(TOKENS, CHANNELS))
        partials = random.normal(size=(4, ranks, TOKENS, CHANNELS))

        stream = Stream(start[None], ranks)   # the reference's stream has a batch dimension
        for i, site in enumerate(SITES):
            policy = reference.policy(plan["sites"][site], site, CHANNELS, ranks, FOLDER)
            seen.add((policy.rest, policy.shared == CHANNELS, policy.a is not None, stream.pending is not None))
            stream.sync(site, policy, partials[i][:, None] + stream.read(), bias if i % 2 == 0 else None)
        stream.flush()
        want = np.broadcast_to(stream.read()[:, 0], (ranks, TOKENS, CHANNELS))

        passes = f"tp-apply-plan{{plan={FOLDER}/plan.json}},tp-expand-sync-points,cse,func.func(tp-verify-replication)"
        done = subprocess.run(["caat-opt", "-", f"--pass-pipeline=builtin.module({passes})", "--mlir-print-op-generic"],
                              input=program(ranks), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"seed {seed}: {done.stderr[-2000:]}")
        arguments = [[bias] * ranks, [start] * ranks, *(list(p) for p in partials)]
        got = np.stack(interpret(done.stdout, ranks, arguments))
        if not np.allclose(got, want, rtol=1e-12, atol=1e-12):
            sys.exit(f"seed {seed}: off by {abs(got - want).max():.3g} with {json.dumps(plan)}")
    print(f"{ROUNDS} plans agree, {len(seen)} situations")


main()
