#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Caches of attention in 16 bits (`--cache`, `--dtype`): new keys and values are rounded once, and nothing else is. The reference is
the same graph with Casts that round its keys and values, run by ONNX Runtime; for 1, 2 and 3 ranks."""
import json
import tempfile
import unittest
from pathlib import Path

import ml_dtypes
import numpy as np

import programs
from contrib import P, grouped
from graphs import Graph, T, onnxruntime_results, program_results, worst

SIZES = (1, 2, 3)
HEADS, KV, D, W = 6, 3, 32, 48
TYPES = {"bf16": (T.BFLOAT16, ml_dtypes.bfloat16), "f16": (T.FLOAT16, np.float16)}
PRESENTS = ("present.key", "present.value")


def decoder(rounding=None, value_size=D, products=False, **attributes) -> Graph:
    """Attention with rotated keys, values with a bias, a mask, and a cache of heads that two query heads share. Keys and values are rounded
    to `rounding`, with `products` all other factors of products too, but for what softmax gives."""
    g = Graph(seed=7, opset=23)
    x, positions = g.input("x", ["batch", "seq", W]), g.input("positions", ["batch", "seq"], T.INT64)
    mask = g.input("mask", ["batch", 1, "seq", "past + seq"])
    angles = np.outer(np.arange(512), 10.0 ** -np.arange(D // 2)).astype(np.float32)
    cos, sin = g.constant(np.cos(angles)), g.constant(np.sin(angles))

    def stored(y):
        return g.node("Cast", [g.node("Cast", [y], to=rounding)], to=T.FLOAT) if rounding else y

    def factor(y):
        return stored(y) if products else y

    def multiplied(y, *shape):
        return g.node("MatMul", [factor(y), factor(g.weight(*shape))])

    def rotated(heads):
        return g.node("RotaryEmbedding", [multiplied(x, W, heads * D), cos, sin, positions], num_heads=heads)

    q, k = factor(rotated(HEADS)), rotated(KV)
    v = g.node("Add", [multiplied(x, W, KV * value_size), g.weight(KV * value_size)])
    pasts = [g.input("past.key", ["batch", KV, "past", D]), g.input("past.value", ["batch", KV, "past", value_size])]
    g.node("Attention", [q, stored(k), stored(v), mask, *map(stored, pasts)], ["y", *PRESENTS],
           q_num_heads=HEADS, kv_num_heads=KV, **attributes)
    g.node("Identity", [multiplied("y", HEADS * value_size, W)], ["out"])
    g.output("out", ["batch", "seq", W])
    for name, size in zip(PRESENTS, (D, value_size)):
        g.output(name, ["batch", KV, "past + seq", size])
    return g


def feeds_of(tokens: int, past: int, value_size=D) -> dict:
    """Two rows, of which the second has padding on the left."""
    random = np.random.default_rng(tokens + past)
    visible = np.tril(np.ones((2, 1, tokens, past + tokens), bool), past)
    visible[1, :, :, :(past + tokens) // 4] = False
    return {"x": random.standard_normal((2, tokens, W)).astype(np.float32),
            "positions": np.arange(past, past + tokens)[None].repeat(2, 0),
            "mask": np.where(visible, 0, -1e4).astype(np.float32),
            "past.key": random.standard_normal((2, KV, past, D)).astype(np.float32),
            "past.value": random.standard_normal((2, KV, past, value_size)).astype(np.float32)}


class Caches(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def compile(self, model, size, *flags):
        return programs.compile_model(model, self.folder / f"program-{size}{''.join(flags)}", size, flags=flags)

    def check(self, kind: str, value_size=D, **attributes):
        number, element = TYPES[kind]
        model = decoder(None, value_size, **attributes).save(self.folder / "model.onnx")
        twin = decoder(number, value_size, **attributes).save(self.folder / "rounded.onnx")
        for size in SIZES:
            program = self.compile(model, size, f"--cache={kind}")
            caches = json.loads((program / "manifest.json").read_text())["caches"]
            self.assertEqual([(cache["dtype"], cache["declared"]) for cache in caches], [(kind, "f32")] * 2)
            for tokens, past in ((1, 200), (3, 5), (40, 0), (40, 60)):
                feeds = feeds_of(tokens, past, value_size)
                want, plain = (onnxruntime_results(m, feeds) for m in (twin, model))
                got = program_results(program, feeds)
                # A number between two that can be stored becomes the other one by an error in its last bit: seldom.
                off, rounding = (np.abs(x["out"] - want["out"]).mean() for x in (got, plain))
                self.assertLess(off, rounding / 20, f"N={size}, {tokens} behind {past}")
                for name in PRESENTS:
                    self.assertEqual(got[name].dtype, np.float32)
                    self.assertTrue((got[name].astype(element).astype(np.float32) == got[name]).all())
                    self.assertLess((got[name] != want[name]).mean(), 0.002, f"N={size}, {tokens} behind {past}: {name}")

    def test_bf16(self):
        self.check("bf16")

    def test_f16(self):
        self.check("f16", softcap=4.0)

    def test_value_size(self):
        self.check("bf16", value_size=16, scale=0.2)

    def check_products(self, value_size=D, **attributes):
        """Attention of many tokens multiplies in bf16 where the matrices are bf16."""
        model = decoder(None, value_size, **attributes).save(self.folder / "model.onnx")
        twin = decoder(T.BFLOAT16, value_size, products=True, **attributes).save(self.folder / "rounded.onnx")
        for size in SIZES:
            compiled = {cache: self.compile(model, size, "--dtype=bf16", f"--cache={cache}") for cache in ("bf16", "f16", "f32")}
            for tokens, past in ((40, 0), (40, 60), (300, 7)):
                feeds = feeds_of(tokens, past, value_size)
                want, plain = (onnxruntime_results(m, feeds)["out"] for m in (twin, model))
                got = {cache: program_results(program, feeds)["out"] for cache, program in compiled.items()}
                rounding = np.abs(plain - want).mean()
                for cache in ("bf16", "f32"):  # the rounding of probabilities is not in the twin
                    self.assertLess(np.abs(got[cache] - want).mean(), rounding / 2, f"N={size}, {cache}, {tokens} behind {past}")
                self.assertLess(np.abs(got["f16"] - plain).mean(), 1.5 * rounding)

    def test_products(self):
        self.check_products()

    def test_products_capped(self):
        self.check_products(value_size=16, softcap=4.0)

    def test_products_causal(self):
        self.check_products(is_causal=1, scale=0.2)

    def test_steps(self):
        """Tokens one by one or few at a time, whose kernel reads the cache itself, as all at once, where products do."""
        feeds = feeds_of(40, 0)
        model = decoder().save(self.folder / "model.onnx")
        for size in SIZES:
            program = self.compile(model, size, "--cache=bf16")
            whole = program_results(program, feeds)
            state, outs, at = {f"past.{name}": feeds[f"past.{name}"] for name in ("key", "value")}, [], 0
            for tokens in (36, 1, 2, 1):
                end = at + tokens
                got = program_results(program, state | {"x": feeds["x"][:, at:end], "positions": feeds["positions"][:, at:end],
                                                        "mask": feeds["mask"][:, :, at:end, :end]})
                state, at = {f"past.{name}": got[f"present.{name}"] for name in ("key", "value")}, end
                outs.append(got["out"])
            # The first tokens of the second row see padding alone, all of it or what there is of it.
            self.assertLess(np.abs(np.concatenate(outs, 1) - whole["out"])[:, 10:].mean(), 2e-5)

    def test_default(self):
        """What --dtype says counts for caches too, and --cache before it."""
        model = decoder().save(self.folder / "model.onnx")
        for flags, kind in ((["--dtype=bf16"], "bf16"), (["--dtype=bf16", "--cache=f32"], "f32"), (["--cache=f16"], "f16"), ([], "f32")):
            program = self.compile(model, 2, *flags)
            caches = json.loads((program / "manifest.json").read_text())["caches"]
            self.assertEqual({cache["dtype"] for cache in caches}, {kind}, flags)

    def test_rows_of_different_lengths(self):
        g = Graph(seed=5)
        feeds = {name: (g.random.standard_normal(x).astype(np.float32) if isinstance(x, tuple) else x)
                 for name, x in grouped(g, batch=3).items()}
        feeds["lengths"] = np.array([P, 1, P - 2], np.int32)
        model = g.save(self.folder / "model.onnx")
        want = onnxruntime_results(model, feeds)
        for size in SIZES:
            got = program_results(self.compile(model, size, "--row-lengths", "--cache=f16"), feeds)
            for name in ("present_key", "present_value"):  # behind its end a row holds anything
                for row, last in enumerate(feeds["lengths"]):
                    for arrays in (want, got):
                        arrays[name][row, :, last + 1:] = 0
            difference, where = worst(want, got)
            self.assertLess(difference, 4e-3, f"N={size}: {where}")
            self.assertGreater(difference, 1e-5)

    def test_rotated_weights(self):
        """Ranks that divide the batch have their rows' caches, each of all heads."""
        model = programs.MODELS / "llama-gqa-genai"
        for inputs, outputs in programs.cases(model):
            feeds = {name: x.repeat(3, 0) for name, x in programs.load(inputs).items()}
            want = {name: x.repeat(3, 0) for name, x in programs.load(outputs).items()}
            got = program_results(self.compile(model, 2, "--strategy=rtp", "--cache=f16"), feeds)
            difference, where = programs.worst_difference(feeds, want, got)
            self.assertLess(difference, 4e-3, where)
            self.assertGreater(difference, 1e-5)


if __name__ == "__main__":
    unittest.main()
