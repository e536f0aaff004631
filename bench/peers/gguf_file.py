"""Writes one of our dense model directories as GGUF, for llama.cpp.

    python gguf_file.py DIR OUT.gguf f32|bf16|f16|q8_0|q4_0

Matrices take the given type, norms stay f32. Rows of W_Q and W_K go from the
order of LLaMA files (x_i turned with x_{i + d/2}) to llama.cpp's (x_2i with
x_2i+1). The tokenizer is a stand-in: tokens are fed as numbers.
"""
import json
import pathlib
import sys

import gguf
import numpy as np

NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
WHOLE = {"model.embed_tokens.weight": "token_embd.weight",
         "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def read_safetensors(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            yield name, np.frombuffer(data[begin:end], np.float32).reshape(
                entry["shape"])


def name_of(name):
    if name in WHOLE:
        return WHOLE[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def interleave(weight, heads):
    """Rows (i, i + d/2) of a head become neighbours."""
    rows, columns = weight.shape
    return (weight.reshape(heads, 2, rows // heads // 2, columns)
            .swapaxes(1, 2).reshape(rows, columns))


def add_metadata(writer, c):
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_rope_dimension_count(c["head_dim"])
    writer.add_rope_freq_base(c.get("rope_theta", 10000.0))
    writer.add_vocab_size(c["vocab_size"])
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{i}>" for i in range(c["vocab_size"])])
    writer.add_token_scores([0.0] * c["vocab_size"])
    writer.add_token_types([1] * c["vocab_size"])


def main():
    folder, out, precision = sys.argv[1:]
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(out, "llama")
    add_metadata(writer, config)
    for name, weight in read_safetensors(folder / "model.safetensors"):
        if "q_proj" in name:
            weight = interleave(weight, config["num_attention_heads"])
        if "k_proj" in name:
            weight = interleave(weight, config["num_key_value_heads"])
        if precision == "f32" or weight.ndim == 1:
            writer.add_tensor(name_of(name), np.ascontiguousarray(weight))
            continue
        kind = gguf.GGMLQuantizationType[precision.upper()]
        writer.add_tensor(name_of(name), gguf.quants.quantize(weight, kind),
                          raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
