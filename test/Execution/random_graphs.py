#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sharding rules on graphs that nobody wrote: ops are put together at random from a seed, compiled for 2 and 3 ranks, and
compared with ONNX Runtime. `random_graphs.py --seeds=100..200` tries others than the tests do."""
import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import programs
from graphs import Graph, onnxruntime_results, program_results, worst

WIDTHS = (12, 18, 20, 24, 30)
UNARY = ("Relu", "Tanh", "Sigmoid", "Softplus", "Neg", "Abs", "Erf", "Elu", "HardSwish", "Mish")
BINARY = ("Add", "Sub", "Mul", "Max", "Min")
LIMIT = 1e-4


class RandomGraph(Graph):
    """Values are [batch, seq, width]; each step reads some of those made so far."""

    def __init__(self, seed: int, steps: int):
        super().__init__(seed, opset=21)
        self.values = [(self.input("x", ["batch", "seq", 24]), 24), (self.input("y", ["batch", "seq", 18]), 18)]
        kinds = (self.linear, self.linear, self.linear, self.unary, self.binary, self.binary, self.norm, self.softmax,
                 self.split, self.concat, self.attention, self.reduce, self.slice, self.gather, self.where, self.einsum,
                 self.pad, self.experts)
        for _ in range(steps):
            result, width = kinds[self.random.integers(len(kinds))]()
            self.values.append((result, width))
        used = {name for node in self.nodes for name in node.input}
        ends = [(name, width) for name, width in self.values[2:] if name not in used]
        for i, (name, width) in enumerate(ends):
            self.node("Identity", [name], [f"out_{i}"])
            self.output(f"out_{i}", ["batch", "seq", width])

    def pick(self, width=None):
        fitting = [value for value in self.values if width in (None, value[1])]
        return fitting[-1 - min(int(self.random.geometric(0.4)) - 1, len(fitting) - 1)]  # rather the later ones

    def choose(self, options):
        return options[self.random.integers(len(options))]

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def project(self, x, width, out):
        return self.node("MatMul", [x, self.weight(width, out, scale=width**-0.5)])

    def linear(self):
        x, width = self.pick()
        out = self.choose(WIDTHS)
        y = self.project(x, width, out)
        return (self.node("Add", [y, self.weight(out)]) if self.random.random() < 0.5 else y), out

    def unary(self):
        x, width = self.pick()
        return self.node(self.choose(UNARY), [x]), width

    def binary(self):
        x, width = self.pick()
        other = self.pick(width)[0] if self.random.random() < 0.7 else self.weight(width)
        return self.node(self.choose(BINARY), [x, other]), width

    def norm(self):
        x, width = self.pick()
        return self.node("LayerNormalization", [x, self.weight(width), self.weight(width)], axis=-1), width

    def softmax(self):
        x, width = self.pick()
        return self.node("Softmax", [x], axis=-1), width

    def split(self):
        x, width = self.pick()
        first = self.choose([n for n in (1, 6, 8, 10, 12) if n < width] or [1])
        if width < 2:
            return self.linear()
        parts = self.node("Split", [x, self.ints(first, width - first)], 2, axis=-1)
        self.values.append((parts[1], width - first))
        return parts[0], first

    def concat(self):
        (a, m), (b, n) = self.pick(), self.pick()
        return (self.node("Concat", [a, b], axis=-1), m + n) if m + n <= 60 else self.linear()

    def attention(self):
        x, width = self.pick()
        heads, groups, size = self.choose([(4, 4, 3), (6, 2, 2), (3, 3, 4), (4, 1, 4)])

        def split(count, perm):
            y = self.node("Reshape", [self.project(x, width, count * size), self.ints(0, 0, count, size)])
            if count != heads:
                y = self.node("Reshape", [y, self.ints(0, 0, count, 1, size)])
                y = self.node("Expand", [y, self.ints(1, 1, count, heads // count, size)])
                y = self.node("Reshape", [y, self.ints(0, 0, heads, size)])
            return self.node("Transpose", [y], perm=perm)

        q, k, v = split(heads, [0, 2, 1, 3]), split(groups, [0, 2, 3, 1]), split(groups, [0, 2, 1, 3])
        y = self.node("MatMul", [self.node("Softmax", [self.node("MatMul", [q, k])], axis=-1), v])
        y = self.node("Reshape", [self.node("Transpose", [y], perm=[0, 2, 1, 3]), self.ints(0, 0, heads * size)])
        return y, heads * size

    def reduce(self):
        x, width = self.pick()
        mean = self.node(self.choose(["ReduceMean", "ReduceMax", "ReduceL2"]), [x, self.ints(-1)], keepdims=1)
        return self.node("Sub", [x, mean]), width

    def slice(self):
        x, width = self.pick()
        start = int(self.random.integers(max(1, width // 3)))
        end = int(self.random.integers(max(start + 1, 2 * width // 3), width + 1))
        return self.node("Slice", [x, self.ints(start), self.ints(end), self.ints(-1)]), end - start

    def gather(self):
        x, width = self.pick()
        out = self.choose(WIDTHS)
        return self.node("Gather", [x, self.constant(self.random.integers(0, width, out))], axis=-1), out

    def where(self):
        x, width = self.pick()
        condition = self.node("Greater", [self.pick(width)[0], self.weight(width)])
        return self.node("Where", [condition, x, self.pick(width)[0]]), width

    def einsum(self):
        x, width = self.pick()
        out = self.choose(WIDTHS)
        return self.node("Einsum", [x, self.weight(out, width, scale=width**-0.5)], equation="bsd,fd->bsf"), out

    def pad(self):
        x, width = self.pick()
        return (self.node("Pad", [x, self.ints(1, 2), self.constant(np.float32(0.5)), self.ints(-1)]), width + 3) if width < 50 \
            else self.slice()

    def experts(self):
        """All experts as one batch of products, weighted by a router."""
        x, width = self.pick()
        count, inner = self.choose([3, 4]), self.choose(WIDTHS)
        router = self.node("Softmax", [self.project(x, width, count)], axis=-1)
        wide = self.node("Unsqueeze", [x, self.ints(1)])
        up = self.node("Relu", [self.node("MatMul", [wide, self.weight(count, width, inner, scale=width**-0.5)])])
        down = self.node("MatMul", [up, self.weight(count, inner, width, scale=inner**-0.5)])
        share = self.node("Unsqueeze", [self.node("Transpose", [router], perm=[0, 2, 1]), self.ints(-1)])
        return self.node("ReduceSum", [self.node("Mul", [down, share]), self.ints(1)], keepdims=0), width


def check(seed: int, steps: int, sizes, folder: Path) -> list[str]:
    g = RandomGraph(seed, steps)
    model = g.save(folder / f"{seed}.onnx")
    feeds = {name: g.random.standard_normal((2, 3, width)).astype(np.float32) for name, width in g.values[:2]
             if any(name in node.input for node in g.nodes)}
    g.inputs = [value for value in g.inputs if value.name in feeds]
    g.save(model)
    want = onnxruntime_results(model, feeds)
    errors = []
    for size in sizes:
        try:
            program = programs.compile_model(model, folder / f"{seed}-{size}", size)
            difference, name = worst(want, program_results(program, feeds))
        except programs.Failed as failed:
            errors.append(f"seed {seed}, N={size}: {failed}")
            continue
        if not difference <= LIMIT:
            errors.append(f"seed {seed}, N={size}: {name} is off by {difference:g}")
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    # 93: two paddings share their fill, and one output was written over the other.
    parser.add_argument("--seeds", default="0..16,93..94", help="FIRST..END, or several such, separated by commas")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--sizes", default="2,3")
    options = parser.parse_args()
    seeds = [seed for part in options.seeds.split(",") for seed in range(*map(int, part.split("..")))]
    sizes = [int(size) for size in options.sizes.split(",")]
    errors = []
    with tempfile.TemporaryDirectory(prefix="caat-random-") as folder:
        for seed in seeds:
            errors += check(seed, options.steps, sizes, Path(folder))
    print(*errors, f"{len(seeds) * len(sizes) - len(errors)} of {len(seeds) * len(sizes)} programs agree", sep="\n")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
