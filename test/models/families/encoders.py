# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Encoders of text, images and sound, halves of encoder-decoders, and decoders with a mixture of experts. Head counts
are odd, so that 2 and 4 ranks get padded shares."""
import numpy as np
import torch
import transformers
from export import family

VOCABULARY = 61
TEXT = {"input_ids": {0: "batch", 1: "seq"}, "attention_mask": {0: "batch", 1: "seq"},
        "token_type_ids": {0: "batch", 1: "seq"}, "position_ids": {0: "batch", 1: "seq"}}
SIZES = dict(vocab_size=VOCABULARY, hidden_size=20, num_hidden_layers=2, num_attention_heads=5, intermediate_size=28,
             max_position_embeddings=64)


def text(*extra):
    def inputs(batch, seq, rng):
        ids = rng.integers(3, VOCABULARY, (batch, seq), dtype="i8")
        made = {"input_ids": ids, "attention_mask": ids * 0 + 1}
        if "token_type_ids" in extra:
            made["token_type_ids"] = rng.integers(0, 2, (batch, seq), dtype="i8")
        if "position_ids" in extra:
            made["position_ids"] = np.broadcast_to(np.arange(seq), (batch, seq)).astype("i8")
        return made
    return inputs


def encoder(name, model, outputs, config=None, extra=(), task="feature-extraction", exporters=("d18",), change=None, **sizes):
    """A transformers class `model` with its configuration class, both by name."""
    @family(name, inputs=text(*extra), dims={k: v for k, v in TEXT.items()}, outputs=outputs, exporters=exporters, task=task)
    def build():
        kind = getattr(transformers, model)
        chosen = getattr(transformers, config) if config else kind.config_class
        module = kind(chosen(**(SIZES | sizes)))
        return change(module) if change else module


HIDDEN = ("last_hidden_state",)
POOLED = ("last_hidden_state", "pooler_output")
TYPES = ("token_type_ids",)
encoder("bert", "BertModel", POOLED, extra=TYPES, exporters=("d18", "d23", "d24", "op"))
encoder("bert-mlm", "BertForMaskedLM", ("logits",), extra=TYPES, task="fill-mask", exporters=("d18", "op"))
encoder("bert-classify", "BertForSequenceClassification", ("logits",), extra=TYPES, task="text-classification", num_labels=3)
encoder("bert-tokens", "BertForTokenClassification", ("logits",), extra=TYPES, task="token-classification", num_labels=5)
encoder("bert-answers", "BertForQuestionAnswering", ("start_logits", "end_logits"), extra=TYPES, task="question-answering")
encoder("roberta", "RobertaForMaskedLM", ("logits",), task="fill-mask", exporters=("d18", "op"))
encoder("electra", "ElectraForTokenClassification", ("logits",), extra=TYPES, task="token-classification", embedding_size=24)
encoder("albert", "AlbertModel", POOLED, extra=TYPES, exporters=("d18", "op"), embedding_size=24)
encoder("mpnet", "MPNetModel", POOLED, exporters=("d18", "op"))
encoder("distilbert", "DistilBertForMaskedLM", ("logits",), task="fill-mask", exporters=("d18", "op"), dim=20, n_layers=2, n_heads=5,
        hidden_dim=28)
encoder("deberta-v2", "DebertaV2Model", HIDDEN, exporters=("d18", "op"), relative_attention=True, position_buckets=8,
        norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False, type_vocab_size=0)
encoder("modernbert", "ModernBertForMaskedLM", ("logits",), task="fill-mask", exporters=("d18", "d23"), local_attention=4,
        global_attn_every_n_layers=2, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
encoder("siglip-text", "SiglipTextModel", POOLED, projection_size=20)


class Sentence(torch.nn.Module):
    """The mean over what is not masked, of length one."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, input_ids, attention_mask, **ignored):
        states = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask.unsqueeze(-1).expand(states.size()).float()
        mean = torch.sum(states * weight, 1) / torch.clamp(weight.sum(1), min=1e-9)
        return {"token_embeddings": states, "sentence_embedding": torch.nn.functional.normalize(mean, p=2, dim=1)}


encoder("sentence", "BertModel", ("token_embeddings", "sentence_embedding"), change=Sentence)

T5 = dict(vocab_size=VOCABULARY, d_model=20, d_kv=6, d_ff=28, num_layers=2, num_decoder_layers=2, num_heads=5,
          relative_attention_num_buckets=8, relative_attention_max_distance=16, attn_implementation="eager", use_cache=False)
BART = dict(vocab_size=VOCABULARY, d_model=20, encoder_layers=2, decoder_layers=2, encoder_attention_heads=5,
            decoder_attention_heads=5, encoder_ffn_dim=28, decoder_ffn_dim=28, max_position_embeddings=64, use_cache=False)


@family("t5-encoder", inputs=text(), dims=TEXT, outputs=HIDDEN)
def build_t5():
    return transformers.T5EncoderModel(transformers.T5Config(**T5))


@family("t5-gated-encoder", inputs=text(), dims=TEXT, outputs=HIDDEN, exporters=("d18", "d23"))
def build_gated_t5():
    return transformers.T5EncoderModel(transformers.T5Config(**T5, feed_forward_proj="gated-gelu"))


@family("bart-encoder", inputs=text(), dims=TEXT, outputs=HIDDEN)
def build_bart():
    return transformers.BartModel(transformers.BartConfig(**BART)).encoder


class DecoderHalf(torch.nn.Module):
    """The decoder of an encoder-decoder, with what its encoder gave."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, decoder_input_ids, encoder_hidden_states, encoder_attention_mask, **ignored):
        return {"logits": self.model(encoder_outputs=(encoder_hidden_states,), attention_mask=encoder_attention_mask,
                                     decoder_input_ids=decoder_input_ids, use_cache=False).logits}


def decoder_inputs(batch, seq, rng):
    mask = np.ones((batch, seq + 2), "i8")
    mask[-1, -1] = batch == 1
    return {"decoder_input_ids": rng.integers(3, VOCABULARY, (batch, seq), dtype="i8"),
            "encoder_hidden_states": rng.standard_normal((batch, seq + 2, 20)).astype("f4"), "encoder_attention_mask": mask}


def decoder_half(name, model, config, sizes):
    dims = {"decoder_input_ids": {0: "batch", 1: "seq"}, "encoder_hidden_states": {0: "batch", 1: "frames"},
            "encoder_attention_mask": {0: "batch", 1: "frames"}}

    @family(name, inputs=decoder_inputs, dims=dims, outputs=("logits",), exporters=("d18",))
    def build():
        return DecoderHalf(getattr(transformers, model)(getattr(transformers, config)(**sizes)))


decoder_half("t5-decoder", "T5ForConditionalGeneration", "T5Config", T5)
decoder_half("bart-decoder", "BartForConditionalGeneration", "BartConfig", BART)


# ===--- images and sound ---===

IMAGE = dict(hidden_size=20, num_hidden_layers=2, num_attention_heads=5, intermediate_size=28, image_size=16, patch_size=8)


def signal(name, model, outputs, shape, value="pixel_values", exporters=("d18",), part=None,
           task="feature-extraction", **sizes):
    """A model of inputs of one fixed shape."""
    def inputs(batch, seq, rng):
        return {value: rng.standard_normal((batch, *shape)).astype("f4")}

    @family(name, inputs=inputs, dims={value: {0: "batch"}}, outputs=outputs, exporters=exporters, task=task,
            cases=(("", 2, 0), ("_alt", 3, 0), ("_one", 1, 0)))
    def build():
        kind = getattr(transformers, model)
        module = kind(kind.config_class(**sizes))
        return getattr(module, part) if part else module


PIXELS = (3, 16, 16)
signal("vit", "ViTForImageClassification", ("logits",), PIXELS, exporters=("d18", "d23", "op"), task="image-classification",
       **IMAGE, num_labels=7)
signal("deit", "DeiTModel", POOLED, PIXELS, **IMAGE)
signal("dinov2", "Dinov2Model", HIDDEN, PIXELS, **IMAGE, mlp_ratio=2)
signal("dinov2-swiglu", "Dinov2Model", HIDDEN, PIXELS, **IMAGE, mlp_ratio=2, use_swiglu_ffn=True)
signal("clip-vision", "CLIPVisionModelWithProjection", ("image_embeds", "last_hidden_state"), PIXELS, **IMAGE, projection_dim=20)
signal("siglip-vision", "SiglipVisionModel", POOLED, PIXELS, **IMAGE)
signal("swin", "SwinModel", POOLED, PIXELS, image_size=16, patch_size=2, embed_dim=12, depths=[2, 2], num_heads=[3, 6], window_size=4,
       attn_implementation="eager")
signal("whisper-encoder", "WhisperModel", HIDDEN, (8, 24), value="input_features", part="encoder", vocab_size=VOCABULARY, d_model=20,
       encoder_layers=2, decoder_layers=1, encoder_attention_heads=5, decoder_attention_heads=5, encoder_ffn_dim=28,
       decoder_ffn_dim=28, num_mel_bins=8, max_source_positions=12, max_target_positions=16, pad_token_id=0, bos_token_id=1,
       eos_token_id=2, decoder_start_token_id=1)
signal("wav2vec2", "Wav2Vec2ForCTC", ("logits",), (400,), value="input_values", vocab_size=VOCABULARY, hidden_size=20, num_hidden_layers=2,
       num_attention_heads=5, intermediate_size=28, conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3),
       num_feat_extract_layers=2, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, layerdrop=0.0, mask_time_prob=0.0)


@family("wavlm", inputs=lambda batch, seq, rng: {"input_values": rng.standard_normal((batch, 200 + 20 * seq)).astype("f4")},
        dims={"input_values": {0: "batch", 1: "samples"}}, outputs=HIDDEN, exporters=("d18",), task="feature-extraction",
        cases=(("", 2, 0), ("_alt", 3, 7), ("_one", 1, 31)))
def build_wavlm():
    """Sound of any length: sizes behind windows, positions as the exporter computes them."""
    return transformers.WavLMModel(transformers.WavLMConfig(
        vocab_size=VOCABULARY, hidden_size=20, num_hidden_layers=1, num_attention_heads=5, intermediate_size=28,
        conv_dim=(8, 8), conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4, num_buckets=32, max_bucket_distance=80, layerdrop=0.0, mask_time_prob=0.0))


# ===--- mixtures of experts ---===

EXPERTS = dict(vocab_size=VOCABULARY, hidden_size=24, intermediate_size=16, num_hidden_layers=2, num_attention_heads=6,
               num_key_value_heads=2, max_position_embeddings=64, num_experts_per_tok=2, use_cache=False,
               experts_implementation="batched_mm")


def experts(name, model, **sizes):
    encoder(name, f"{model}ForCausalLM", ("logits",), config=f"{model}Config", extra=("position_ids",), task="text-generation",
            **(EXPERTS | sizes))


experts("mixtral", "Mixtral", num_local_experts=4, sliding_window=None)
experts("qwen2-moe", "Qwen2Moe", num_experts=5, moe_intermediate_size=16, shared_expert_intermediate_size=24, decoder_sparse_step=1)
experts("qwen3-moe", "Qwen3Moe", head_dim=8, num_experts=5, moe_intermediate_size=16, decoder_sparse_step=1, norm_topk_prob=True)
experts("olmoe", "Olmoe", num_experts=5)
experts("granite-moe", "GraniteMoe", num_local_experts=5)
experts("gpt-oss", "GptOss", head_dim=8, num_local_experts=5, sliding_window=4)
experts("deepseek-v3", "DeepseekV3", num_key_value_heads=6, n_routed_experts=6, moe_intermediate_size=16, first_k_dense_replace=1, n_group=2,
        topk_group=1, q_lora_rank=20, kv_lora_rank=12, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, n_shared_experts=1)
