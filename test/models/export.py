#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports tiny models with random weights through the exporters that users have, with cases computed by ONNX Runtime.

    export.py --exporter=d18 -o DIR [FAMILY ...]

Not part of the tests (PyTorch is heavy); README.md says what it needs and what it writes. Exporters:

    d18, d23, d24           torch's dynamo exporter at that opset, without a cache
    d18-past, …             the same with a cache (decoders)
    op, op-past             Optimum's TorchScript exporter, without and with a cache
    genai                   the onnxruntime-genai builder
"""
import argparse
import dataclasses
import importlib
import inspect
import logging
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime
import torch

SEED = 20


@dataclasses.dataclass
class Family:
    """One architecture: how to build it and how to call it.

    `build()` gives the module with the sizes of the family. `inputs(batch, seq, rng)` gives its arguments by name, as
    NumPy arrays; `dims` names the symbolic dimensions of each input by axis. `cache` says whether the
    module is a decoder that takes `past_key_values`; a cache's shape is read from what the module returns.
    """
    build: Callable[[], torch.nn.Module]
    inputs: Callable[[int, int, np.random.Generator], dict[str, np.ndarray]]
    dims: dict[str, dict[int, str]]
    outputs: tuple[str, ...]
    cache: bool = False
    exporters: tuple[str, ...] = ("d18", "d23", "op")
    task: str = "text-generation"  # Optimum's name
    # Cases (suffix, batch, seq) of a model without a cache; masked rows are the family's affair in `mask`.
    cases: tuple[tuple[str, int, int], ...] = (("", 2, 7), ("_alt", 3, 5), ("_one", 1, 1), ("_long", 2, 19))


FAMILIES: dict[str, Family] = {}


def family(name: str, **fields):
    """Registers a family; the decorated function builds its module."""
    def register(build):
        FAMILIES[name] = Family(build=build, **fields)
        return build
    return register


def randomise(module: torch.nn.Module):
    """Weights of order one: matrices 0.15, biases 0.2, norm weights about what they are at the start."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in sorted(module.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(0.15 * noise)
            elif parameter.numel() and name.endswith("weight"):
                parameter.copy_(parameter.mean().round() + 0.2 * noise)
            else:
                parameter.copy_(0.2 * noise)


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(SEED)
    module = FAMILIES[name].build().eval()
    randomise(module)
    return module


# ===--- torch's dynamo exporter ---===


class Stateless(torch.nn.Module):
    """Inputs by position, outputs as a tuple in the family's order."""

    def __init__(self, module, inputs, outputs):
        super().__init__()
        self.module, self.inputs, self.outputs = module, inputs, outputs

    def forward(self, *arguments):
        extra = {"use_cache": False} if getattr(self.module.config, "use_cache", None) is not None else {}
        result = self.module(**dict(zip(self.inputs, arguments)), return_dict=True, **extra)
        return tuple(result[name] for name in self.outputs)


class WithCache(torch.nn.Module):
    """Inputs by position, then key and value of each layer; gives logits, then the new keys and values."""

    def __init__(self, module, inputs):
        super().__init__()
        self.module, self.inputs = module, inputs

    def forward(self, *arguments):
        from transformers import DynamicCache
        count = len(self.inputs)
        cache = DynamicCache()
        for layer, i in enumerate(range(count, len(arguments), 2)):
            cache.update(arguments[i], arguments[i + 1], layer)
        result = self.module(**dict(zip(self.inputs, arguments[:count])), past_key_values=cache, use_cache=True,
                             return_dict=True)
        present = [tensor for layer in result.past_key_values.layers for tensor in (layer.keys, layer.values)]
        return (result.logits, *present)


def cache_shapes(module, inputs) -> list[tuple[int, ...]]:
    """Shape of each key and value after one step, batch and length as they come."""
    with torch.no_grad():
        cache = module(**inputs, use_cache=True, return_dict=True).past_key_values
    return [tuple(tensor.shape) for layer in cache.layers for tensor in (layer.keys, layer.values)]


def with_positions(inputs: dict[str, np.ndarray], past: int = 0) -> dict[str, np.ndarray]:
    """The arguments of a decoder with a cache: position_ids count what is not masked."""
    mask = inputs["attention_mask"]
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)[:, past:]
    return {**inputs, "position_ids": positions.astype("i8")}


def export_dynamo(name: str, opset: int, cache: bool, file: Path):
    entry = FAMILIES[name]
    module = build(name)
    arrays = entry.inputs(2, 3, np.random.default_rng(0))
    dims = {k: dict(v) for k, v in entry.dims.items()}
    input_names, output_names = list(arrays), list(entry.outputs)
    # Without them the exported angles have batch 1, which ONNX Runtime's RotaryEmbedding (opset 23) refuses.
    takes_positions = entry.cache and "position_ids" in inspect.signature(module.forward).parameters
    if takes_positions and (cache or opset >= 23):
        arrays = with_positions(arrays)
        dims["position_ids"] = dims["input_ids"]
        input_names = list(arrays)
    if cache:
        shapes = cache_shapes(module, {k: torch.from_numpy(v) for k, v in arrays.items()})
        past = [torch.randn(shape[0], shape[1], 4, shape[3]) for shape in shapes]
        arrays["attention_mask"] = np.ones((2, 7), "i8")
        dims["attention_mask"] = {0: "batch", 1: "total"}
        names = [f"{i // 2}.{'key' if i % 2 == 0 else 'value'}" for i in range(len(shapes))]
        wrapped = WithCache(module, input_names)
        output_names += [f"present.{n}" for n in names]
        cache_dims = [{0: "batch", 2: "past"}] * len(past)
    else:
        names, past, cache_dims = [], [], []
        wrapped = Stateless(module, input_names, entry.outputs)
    arguments = tuple(torch.from_numpy(arrays[k]) for k in input_names) + tuple(past)
    named = {}

    def dim(axis_names):
        return {a: named.setdefault(n, torch.export.Dim.DYNAMIC if n == "total" else torch.export.Dim(n, max=1 << 20))
                for a, n in axis_names.items()}

    shapes = tuple(dim(dims[k]) for k in input_names) + tuple(dim(d) for d in cache_dims)
    program = torch.onnx.export(wrapped.eval(), arguments, dynamo=True, opset_version=opset, dynamic_shapes=(shapes,),
                                input_names=input_names + [f"past_key_values.{n}" for n in names],
                                output_names=output_names, verbose=False)
    program.save(file, external_data=False)


# ===--- Optimum and onnxruntime-genai ---===



def export_optimum(name: str, cache: bool, file: Path):
    from optimum.exporters.onnx import onnx_export_from_model
    task = FAMILIES[name].task + ("-with-past" if cache else "")
    with tempfile.TemporaryDirectory() as folder:
        onnx_export_from_model(build(name), output=folder, task=task, opset=18, do_validation=False, no_post_process=False)
        shutil.copy(Path(folder, "model.onnx"), file)


def export_genai(name: str, file: Path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory() as source, tempfile.TemporaryDirectory() as target:
        build(name).save_pretrained(source)
        words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
        PreTrainedTokenizerFast(tokenizer_object=words, eos_token="b", unk_token="a").save_pretrained(source)
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", target, "-p", "fp32", "-e",
                   "cpu", "-c", target]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        onnx.save(onnx.load(Path(target, "model.onnx")), file)  # puts the external weights in


# ===--- cases ---===


def mask_rows(inputs: dict[str, np.ndarray], suffix: str, left_only: bool):
    """Row 1 masked on the left, row 2 on the right in the cases that mask."""
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return
    if suffix in ("_alt", "_leftpad") and mask.shape[0] > 1:
        mask[1, :2] = 0
        if mask.shape[0] > 2 and not left_only:
            mask[2, -1] = 0


def write_cases(name: str, file: Path, cache: bool, genai: bool):
    entry = FAMILIES[name]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    wanted = {i.name: i for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]

    def run(suffix, inputs):
        inputs = {k: np.ascontiguousarray(v) for k, v in inputs.items() if k in wanted}
        missing = set(wanted) - set(inputs)
        if missing:
            raise KeyError(f"no value for {sorted(missing)}")
        outputs = dict(zip(names, session.run(names, inputs)))
        np.savez_compressed(file.with_name(f"inputs{suffix}.npz"), **inputs)
        np.savez_compressed(file.with_name(f"outputs{suffix}.npz"), **outputs)
        return outputs

    if not cache:
        for i, (suffix, batch, seq) in enumerate(entry.cases):
            inputs = entry.inputs(batch, seq, np.random.default_rng(i + 1))
            mask_rows(inputs, suffix, left_only=False)
            if "position_ids" in wanted and "position_ids" not in inputs:
                inputs = with_positions(inputs)
            run(suffix, inputs)
        return
    pasts = [n for n in wanted if n.startswith("past_key_values")]
    for prefix, decode in (("_prefill", "_decode"),) + (() if genai else (("_leftpad", "_leftpad_decode"),)):
        inputs = entry.inputs(2, 7, np.random.default_rng(1))
        mask_rows(inputs, prefix, left_only=True)
        empty = {n: np.zeros([d if isinstance(d, int) else 2 if i == 0 else 0 for i, d in
                              enumerate(wanted[n].shape)], "f4") for n in pasts}
        if genai:  # the width of a head is symbolic there; GroupQueryAttention knows it
            width = head_width(name)
            empty = {n: np.zeros((2, wanted[n].shape[1], 0, width), "f4") for n in pasts}
        outputs = run(prefix, {**with_positions(inputs), **empty})
        step = entry.inputs(2, 1, np.random.default_rng(2))
        step["attention_mask"] = np.concatenate([inputs["attention_mask"], np.ones((2, 1), "i8")], 1)
        present = {n: outputs[n.replace("past_key_values", "present")] for n in pasts}
        run(decode, {**with_positions(step, past=7), **present})


def head_width(name: str) -> int:
    config = build(name).config
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


# ===--- driver ---===


def strip(file: Path):
    """Takes the exporter's metadata out: stack traces name source files of the machine, and all of it outweighs models."""
    model = onnx.load(file)
    for function in [model.graph, *model.functions]:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in [*getattr(function, "value_info", []), *getattr(function, "input", [])]:
            if not isinstance(value, str):
                del value.metadata_props[:]
        for value in getattr(function, "initializer", []):
            del value.metadata_props[:]
    onnx.save(model, file)


def export(name: str, exporter: str, out: Path):
    folder = out / f"{name}-{exporter}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "model.onnx"
    kind, cache = exporter.removesuffix("-past"), exporter.endswith("-past")
    try:
        if match := re.fullmatch(r"d(\d+)", kind):
            export_dynamo(name, int(match[1]), cache, file)
        elif kind == "op":
            export_optimum(name, cache, file)
        else:
            export_genai(name, file)
            cache = True
        strip(file)
        write_cases(name, file, cache, genai=kind == "genai")
    except BaseException:
        shutil.rmtree(folder)
        raise


def main():
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for module in pkgutil.iter_modules([str(Path(__file__).with_name("families"))]):
        importlib.import_module(f"families.{module.name}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="default: all; " + ", ".join(FAMILIES))
    parser.add_argument("--exporter", action="append", help="one of a family's own by default; may be repeated")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.families or FAMILIES:
        for exporter in arguments.exporter or FAMILIES[name].exporters:
            try:
                export(name, exporter, arguments.out)
                size = (arguments.out / f"{name}-{exporter}" / "model.onnx").stat().st_size
                print(f"{name}-{exporter}: {size / 1024:.0f} KiB", flush=True)
            except Exception as error:
                failed += 1
                if len(arguments.families) == 1:
                    traceback.print_exc()
                print(f"{name}-{exporter}: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}", flush=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    sys.modules["export"] = sys.modules["__main__"]
    main()
