"""Tiny decoders and encoders with random weights, one of each family of architectures."""

import torch
import transformers

SAME = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
MORE = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "max_position_embeddings": 64}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
GPT = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "num_key_value_heads": 4}
MLA = {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "qk_nope_head_dim": 8,
    "num_key_value_heads": 4,
}

FAMILIES = {
    # the class before `ForCausalLM` or the whole class, and what its configuration takes beside SAME and MORE
    "Llama": {}, "Qwen2": {}, "Qwen3": {}, "Mistral": {}, "Gemma2": {}, "Phi": {"num_key_value_heads": 4}, "Phi3": {},
    "Cohere": {}, "StableLm": {}, "Starcoder2": {}, "Glm4": {}, "Olmo2": {}, "Granite": {}, "SmolLM3": {},
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": 32}, "GPTNeoX": {}, "GPTNeo": {
        "num_layers": 2, "num_heads": 4, "attention_types": [[["global"], 2]]},
    "Bloom": {"n_layer": 2, "n_head": 4}, "Falcon": {"multi_query": True},
    "CodeGen": GPT | {"rotary_dim": 8}, "GPTBigCode": GPT | {"multi_query": True}, "GPTJ": GPT | {"rotary_dim": 8},
    "GPT2LMHeadModel": GPT, "Mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2}, "Persimmon": {},
    "Mixtral": EXPERTS, "Qwen2Moe": EXPERTS | {"shared_expert_intermediate_size": 24}, "Qwen3Moe": EXPERTS,
    "DeepseekV3": EXPERTS | MLA | {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1},
    "GptOss": EXPERTS, "Llama4": EXPERTS, "OpenAIGPTLMHeadModel": GPT, "Mamba": {"state_size": 4},
    "Mamba2": {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1},
    "BertLMHeadModel": {"is_decoder": True},
    "Gemma3ForConditionalGeneration": {},
}  # fmt: skip

IMAGES = {"image_size": 16, "patch_size": 8, "num_labels": 5}
ENCODERS = {
    "ViTForImageClassification": IMAGES, "Dinov2ForImageClassification": IMAGES, "SiglipVisionModel": IMAGES,
    "BertForMaskedLM": {}, "ModernBertForMaskedLM": {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
        "sep_token_id": 2}, "DebertaV2ForMaskedLM": {}, "T5EncoderModel": {
        "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8, "feed_forward_proj": "gated-gelu"},
    "Wav2Vec2ConformerModel": {"conv_dim": [16], "conv_stride": [4], "conv_kernel": [8], "num_feat_extract_layers": 1,
        "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "conv_depthwise_kernel_size": 3},
}  # fmt: skip


def tiny(family: str) -> torch.nn.Module:
    """The model of a family, in evaluation mode, its weights the same each time."""
    whole = family in ENCODERS or family.endswith(("Model", "Generation"))
    kind = getattr(transformers, family if whole else f"{family}ForCausalLM")
    fields = SAME | MORE | (FAMILIES | ENCODERS)[family]
    if family == "Falcon":
        del fields["head_dim"]  # which it works out by itself
    torch.manual_seed(0)
    if family.endswith("Generation"):  # layers of the picture's part as many as of the text's
        vision = {**SAME, "image_size": 28, "patch_size": 14}
        return kind(kind.config_class(text_config=fields, vision_config=vision, mm_tokens_per_image=1)).eval()
    return kind(kind.config_class(**fields)).eval()
