# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decoders of two layers. Head counts are such that 2, 3 and 4 ranks get padded, repeated and even shares."""
import torch
import transformers
from export import family

VOCABULARY = 61
DIMS = {"input_ids": {0: "batch", 1: "seq"}, "attention_mask": {0: "batch", 1: "seq"}}


def tokens(batch, seq, rng):
    ids = rng.integers(3, VOCABULARY, (batch, seq), dtype="i8")
    return {"input_ids": ids, "attention_mask": ids * 0 + 1}


def decoder(name, kind=None, exporters=("d18", "d18-past", "d23", "op-past"), tune=None, **sizes):
    """A causal language model of transformers' configuration class `kind`Config."""
    fields = dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=0) | sizes

    @family(name, inputs=tokens, dims=DIMS, outputs=("logits",), cache=True, exporters=exporters)
    def build():
        config = getattr(transformers, f"{kind}Config")(**fields)
        config._attn_implementation = sizes.get("attn_implementation", "sdpa")
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=config._attn_implementation)
        if tune:
            tune(model)
        return model


def modern(name, kind, **sizes):
    """Names of Llama and its relatives: 36 wide, six heads of eight over three of keys."""
    decoder(name, kind, **dict(hidden_size=36, head_dim=8, intermediate_size=56, num_hidden_layers=2, num_attention_heads=6,
                               num_key_value_heads=3, max_position_embeddings=64) | sizes)


modern("llama", "Llama", exporters=("d18", "d18-past", "d23", "d24-past", "op", "op-past"))
modern("llama-eager", "Llama", attn_implementation="eager", exporters=("d18", "d18-past", "d23"))
modern("llama-wide", "Llama", head_dim=16, exporters=("genai",))
modern("mistral", "Mistral", sliding_window=4)
