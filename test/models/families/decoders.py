# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decoders of two layers. Head counts are such that 2, 3 and 4 ranks get padded, repeated and even shares."""
import transformers
from export import family

VOCABULARY = 61
DIMS = {"input_ids": {0: "batch", 1: "seq"}, "attention_mask": {0: "batch", 1: "seq"}}
DYNAMO = ("d18", "d18-past", "d23", "d23-past")


def tokens(batch, seq, rng):
    ids = rng.integers(3, VOCABULARY, (batch, seq), dtype="i8")
    return {"input_ids": ids, "attention_mask": ids * 0 + 1}


def decoder(name, kind, exporters=(*DYNAMO, "op-past"), attention="sdpa", text=None, **sizes):
    """A causal language model of transformers' configuration class `kind`Config."""
    fields = dict(vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=0) | sizes

    @family(name, inputs=tokens, dims=DIMS, outputs=("logits",), cache=True, exporters=exporters)
    def build():
        config = getattr(transformers, f"{kind}Config")(**fields)
        return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention)


def modern(name, kind, **sizes):
    """Names of Llama and its relatives: 36 wide, six heads of eight over three of keys."""
    decoder(name, kind, **dict(hidden_size=36, head_dim=8, intermediate_size=56, num_hidden_layers=2,
                               num_attention_heads=6, num_key_value_heads=3, max_position_embeddings=64) | sizes)


def plain(name, kind, **sizes):
    """The same where a head's width is the model's divided by the heads."""
    decoder(name, kind, **dict(hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
                               num_key_value_heads=3, max_position_embeddings=64) | sizes)


def older(name, kind, **sizes):
    """GPT-2's names: 36 wide, six heads of six."""
    decoder(name, kind, **dict(n_embd=36, n_head=6, n_layer=2, n_positions=64, n_inner=44) | sizes)


modern("llama", "Llama", exporters=(*DYNAMO, "d24", "d24-past", "op", "op-past"))
modern("llama-eager", "Llama", attention="eager")
modern("llama-mqa", "Llama", num_key_value_heads=1)
modern("llama-bias", "Llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
modern("llama3", "Llama", rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                           "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
                                           "rope_theta": 10000.0}, exporters=("d18", "d18-past"))
modern("mistral", "Mistral", sliding_window=4)
modern("mistral-eager", "Mistral", sliding_window=4, attention="eager")
plain("qwen2", "Qwen2", exporters=(*DYNAMO, "op", "op-past"))
plain("qwen2-window", "Qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1)
modern("qwen3", "Qwen3")
modern("gemma", "Gemma")
modern("gemma2", "Gemma2", sliding_window=4, query_pre_attn_scalar=8, final_logit_softcapping=3.0,
       attn_logit_softcapping=2.0, attention="eager", layer_types=["sliding_attention", "full_attention"])
modern("gemma3", "Gemma3Text", sliding_window=4, query_pre_attn_scalar=8,
       layer_types=["sliding_attention", "full_attention"])
modern("cohere2", "Cohere2", sliding_window=4, layer_types=["sliding_attention", "full_attention"], logit_scale=0.25)
plain("phi", "Phi", num_key_value_heads=6, partial_rotary_factor=0.5)
plain("phi-qknorm", "Phi", partial_rotary_factor=0.5, qk_layernorm=True)
plain("phi3", "Phi3", sliding_window=4)
older("gpt2", "GPT2", exporters=(*DYNAMO, "op", "op-past"))
older("gpt2-eager", "GPT2", attention="eager", scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=False)
older("gpt-bigcode", "GPTBigCode")
older("gptj", "GPTJ", n_embd=24, n_head=4, rotary_dim=4, attention="eager")
older("codegen", "CodeGen", rotary_dim=4, n_head=8, n_embd=64, attention="eager")
decoder("gpt-neox", "GPTNeoX", hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
        max_position_embeddings=64, rotary_pct=0.5)
decoder("gpt-neox-serial", "GPTNeoX", hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
        max_position_embeddings=64, rotary_pct=1.0, use_parallel_residual=False, attention="eager")
decoder("gpt-neo", "GPTNeo", hidden_size=48, intermediate_size=40, num_layers=2, num_heads=6,
        attention_types=[[["global", "local"], 1]], window_size=4, max_position_embeddings=64, attention="eager")
FALCON = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=6, ffn_hidden_size=40, max_position_embeddings=64)
decoder("falcon-mqa", "Falcon", **FALCON, multi_query=True, parallel_attn=True, bias=False)
decoder("falcon-alibi", "Falcon", attention="eager", **FALCON, alibi=True, multi_query=False, parallel_attn=False, bias=True)
decoder("falcon-gqa", "Falcon", **FALCON, new_decoder_architecture=True, num_kv_heads=3, parallel_attn=True)
decoder("bloom", "Bloom", hidden_size=24, n_layer=2, n_head=6, attention="eager")
decoder("mpt", "Mpt", d_model=36, n_heads=6, n_layers=2, expansion_ratio=1, max_seq_len=64, attention="eager")
plain("stablelm", "StableLm", partial_rotary_factor=0.25, use_qkv_bias=True)
plain("stablelm-parallel", "StableLm", partial_rotary_factor=0.25, use_parallel_residual=True, qk_layernorm=True)
plain("starcoder2", "Starcoder2", sliding_window=4, use_bias=True)
plain("olmo", "Olmo", clip_qkv=3.0)
plain("olmo2", "Olmo2")
plain("olmo3", "Olmo3", sliding_window=4, layer_types=["sliding_attention", "full_attention"])
plain("cohere", "Cohere", logit_scale=0.25, use_qk_norm=False)
plain("cohere-qknorm", "Cohere", logit_scale=0.25, use_qk_norm=True)
plain("granite", "Granite", embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.5,
      attention_multiplier=0.25)
plain("smollm3", "SmolLM3", no_rope_layers=[1, 0], use_sliding_window=False)
decoder("opt", "OPT", hidden_size=48, ffn_dim=44, num_hidden_layers=2, num_attention_heads=6,
        max_position_embeddings=64, word_embed_proj_dim=48, exporters=(*DYNAMO, "op", "op-past"))
decoder("opt-post", "OPT", hidden_size=48, ffn_dim=44, num_hidden_layers=2, num_attention_heads=6,
        max_position_embeddings=64, word_embed_proj_dim=24, do_layer_norm_before=False)
decoder("xglm", "XGLM", attention="eager", d_model=48, ffn_dim=44, num_layers=2, attention_heads=6, max_position_embeddings=64)
decoder("biogpt", "BioGpt", hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
        max_position_embeddings=64)
modern("helium", "Helium", hidden_size=48)
modern("glm", "Glm", partial_rotary_factor=0.5)
modern("glm4", "Glm4", partial_rotary_factor=0.5)
modern("ernie", "Ernie4_5", use_bias=True)
modern("exaone4", "Exaone4", sliding_window=4, layer_types=["sliding_attention", "full_attention"])
modern("nemotron", "Nemotron", partial_rotary_factor=0.5)
plain("persimmon", "Persimmon", partial_rotary_factor=0.5)
modern("seed-oss", "SeedOss")
modern("apertus", "Apertus")
modern("arcee", "Arcee")
modern("smollm3-bias", "SmolLM3", no_rope_layers=[0, 1], attention_bias=True, use_sliding_window=False,
       exporters=("d18-past",))
modern("hunyuan", "HunYuanDenseV1")
modern("nanochat", "NanoChat")
modern("diffllama", "DiffLlama", num_attention_heads=8, num_key_value_heads=4)
plain("minicpm3", "MiniCPM3", num_key_value_heads=6, q_lora_rank=16, kv_lora_rank=12, qk_nope_head_dim=8,
      qk_rope_head_dim=4, v_head_dim=8)
plain("deepseek-mla", "DeepseekV3", num_key_value_heads=6, q_lora_rank=16, kv_lora_rank=12, qk_nope_head_dim=8,
      qk_rope_head_dim=4, v_head_dim=8, first_k_dense_replace=2)
decoder("ctrl", "CTRL", attention="eager", n_positions=64, n_embd=48, dff=44, n_layer=2, n_head=6)
decoder("openai-gpt", "OpenAIGPT", attention="eager", n_positions=64, n_embd=48, n_layer=2, n_head=6, exporters=("d18", "d23"))
# The builder's GroupQueryAttention wants heads of a multiple of 16.
WIDE = dict(head_dim=16, hidden_size=32, num_attention_heads=4, num_key_value_heads=2, exporters=("genai",))
for name, kind in (("llama", "Llama"), ("mistral", "Mistral"), ("qwen2", "Qwen2"), ("qwen3", "Qwen3"),
                   ("gemma", "Gemma"), ("olmo", "Olmo"), ("granite", "Granite"), ("smollm3", "SmolLM3"),
                   ("ernie", "Ernie4_5")):
    modern(f"{name}-wide", kind, **WIDE)
modern("mistral-window-wide", "Mistral", sliding_window=4, **WIDE)
modern("phi3-wide", "Phi3", original_max_position_embeddings=64, **WIDE)
