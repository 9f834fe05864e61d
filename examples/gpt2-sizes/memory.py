#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Peak memory of a rank for the four GPT-2-like models of the RTP paper, with each strategy.

    memory.py [--ranks 4] [--length 256] [--batch 4] [--limit 8] [--sizes 340M,774M,1.5B,2.7B] [--work DIR]

Weights are random and written slice by slice, so that no step holds a model. Every row has the sizes by formula; those
whose process, which holds all ranks, would take less than --limit GiB are run and measured too. "Replicated" is one rank
with all weights and its share of the rows, as in data parallelism.
"""
import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("CAAT_BIN", ROOT / "build" / "bin"))
SIZES = {"340M": (1024, 24, 16), "774M": (1280, 36, 20), "1.5B": (1600, 48, 25), "2.7B": (2560, 32, 32)}
VOCABULARY = 50257
PROGRAMS = {"replicated": [], "tp": [], "rtp": ["--strategy=rtp"], "rtp in place": ["--strategy=rtp", "--rotate=in-place"]}


class Model:
    """An ONNX graph whose weights are random bytes of one file."""

    def __init__(self, folder: Path):
        self.folder, self.nodes, self.weights, self.offset = folder, [], [], 0
        self.file = open(folder / "model.onnx.data", "wb")
        self.random = np.random.default_rng(0)

    def weight(self, name: str, *shape: int, value=None) -> str:
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
        count = int(np.prod(shape))
        for key, text in (("location", "model.onnx.data"), ("offset", self.offset), ("length", 4 * count)):
            tensor.external_data.add(key=key, value=str(text))
        for begin in range(0, count, 1 << 22):
            part = min(1 << 22, count - begin)
            data = np.full(part, value, np.float32) if value is not None else \
                self.random.standard_normal(part, np.float32) * np.float32(0.02)
            self.file.write(data.tobytes())
        self.offset += 4 * count
        self.weights.append(tensor)
        return name

    def node(self, op: str, inputs: list[str], outputs=1, **attributes) -> str:
        names = [f"v{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def product(self, x: str, name: str, inner: int, outer: int) -> str:
        y = self.node("MatMul", [x, self.weight(name + ".weight", inner, outer)])
        return self.node("Add", [y, self.weight(name + ".bias", outer, value=0)])

    def norm(self, x: str, name: str, hidden: int) -> str:
        return self.node("LayerNormalization", [x, self.weight(name + ".weight", hidden, value=1),
                                                self.weight(name + ".bias", hidden, value=0)], axis=-1)


def write(folder: Path, hidden: int, layers: int, heads: int, length: int):
    model = Model(folder)
    x = model.node("Gather", [model.weight("wte", VOCABULARY, hidden), "input_ids"])
    x = model.node("Add", [x, model.weight("wpe", length, hidden)])
    for i in range(layers):
        h = model.product(model.norm(x, f"{i}.ln1", hidden), f"{i}.attn", hidden, 3 * hidden)
        q, k, v = model.node("Split", [h], 3, axis=-1, num_outputs=3)
        a = model.node("Attention", [q, k, v], is_causal=1, q_num_heads=heads, kv_num_heads=heads)
        x = model.node("Add", [x, model.product(a, f"{i}.proj", hidden, hidden)])
        h = model.product(model.norm(x, f"{i}.ln2", hidden), f"{i}.fc", hidden, 4 * hidden)
        h = model.product(model.node("Gelu", [h], approximate="tanh"), f"{i}.out", 4 * hidden, hidden)
        x = model.node("Add", [x, h])
    x = model.norm(x, "ln", hidden)
    model.nodes.append(helper.make_node("MatMul", [x, model.weight("head", hidden, VOCABULARY)], ["logits"]))
    model.file.close()
    graph = helper.make_graph(
        model.nodes, "gpt2", [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", length])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", length, VOCABULARY])], model.weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10), folder / "model.onnx")


def run(*command) -> float:
    """Peak memory in MiB of a tool that succeeds."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]}: failed")
    return usage.ru_maxrss / 1024


def computed(name: str, hidden: int, layers: int, ranks: int, tokens: int, length: int) -> tuple[float, float]:
    """MiB of a rank's weights with spare buffers, and of its activations: logits, and about twelve values of the
    residual stream's size."""
    attention, mlp = 4 * hidden * hidden + 3 * hidden, 8 * hidden * hidden + 4 * hidden
    table, whole = VOCABULARY * hidden, layers * 6 * hidden + length * hidden
    split = layers * (attention + mlp) + 2 * table
    spare = attention + mlp + table if name == "rtp" else 0  # look-up and head share theirs
    weights = split + whole if name == "replicated" else (split + spare) / ranks + whole
    activations = tokens / ranks * VOCABULARY + (tokens if name == "tp" else tokens / ranks) * 12 * hidden
    return 4 * weights / 2**20, 4 * activations / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--limit", type=float, default=8, help="GiB that all ranks together may take")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    tokens = options.batch * options.length
    print(f"MiB a rank, {options.ranks} ranks, a step of {options.batch} x {options.length} tokens")
    print(f"{'size':>5} {'program':<13} {'weights':>8} {'activations':>11} {'computed':>8} {'measured':>8}")
    for size in options.sizes.split(","):
        hidden, layers, heads = SIZES[size]
        estimates = {name: computed(name, hidden, layers, options.ranks, tokens, options.length) for name in PROGRAMS}
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            folder = Path(folder)
            fits = {name: 1.1 * sum(estimates[name]) * (1 if name == "replicated" else options.ranks) < 1024 * options.limit
                    for name in PROGRAMS}
            if any(fits.values()):
                write(folder, hidden, layers, heads, options.length)
                np.save(folder / "tokens.npy", np.random.default_rng(1).integers(0, VOCABULARY, tokens))
            for name, flags in PROGRAMS.items():
                weights, activations = estimates[name]
                row = f"{size:>5} {name:<13} {weights:>8.0f} {activations:>11.0f} {weights + activations:>8.0f}"
                if not fits[name]:
                    print(f"{row} {'-':>8}", flush=True)
                    continue
                ranks = 1 if name == "replicated" else options.ranks
                run(BIN / "caat-compile", folder / "model.onnx", f"--tp={ranks}", *flags, "--quiet", "-o", folder / "program")
                # Not infer, which joins the logits of all ranks.
                memory = run(BIN / "caat-run", "score", folder / "program", f"--tokens={folder / 'tokens.npy'}",
                             f"--length={options.length}", f"--batch={options.batch * ranks // options.ranks}",
                             f"--samples={options.batch * ranks // options.ranks}", "--quiet")
                print(f"{row} {memory / ranks:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
