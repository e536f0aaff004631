"""Files of golden models (scripts/golden.py): config.json and safetensors, by
themselves, as moh reads them."""

import json
import struct

import numpy as np

VOCAB = 29


def write_safetensors(path, tensors):
    """8 bytes header length, JSON header padded with spaces, data."""
    names = {np.dtype("<f8"): "F64", np.dtype("<f4"): "F32",
             np.dtype("<i4"): "I32"}
    header, data = {}, b""
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": names[value.dtype],
                        "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    types = {"F64": "<f8", "F32": "<f4", "I32": "<i4"}
    tensors = {}
    for name, entry in json.loads(raw[8:8 + size]).items():
        begin, end = (8 + size + at for at in entry["data_offsets"])
        tensors[name] = np.frombuffer(raw[begin:end],
                                      types[entry["dtype"]])
    return tensors


def heads_json(c):
    if c.heads == "all":
        return {"strategy": "all"}
    if c.heads == "static":
        return {"strategy": "static", "n_static": c.n_static}
    if c.heads == "norm":
        heads = {"strategy": "norm", "n_shared": c.n_shared, "k": c.k,
                 "gate_scale": "one", "balance_weight": c.balance_weight}
        return heads | ({"route_by": "group"} if c.by_group else {})
    return {"strategy": "moh", "n_shared": c.n_shared, "k": c.k,
            "gate_scale": c.gate_scale, "balance_weight": c.balance_weight,
            "z_weight": c.z_weight, "router_init_std": 0.02}


def moh_json(c):
    moh = {"architecture": "transformer", "norm": c.norm,
           "pre_norm": c.pre_norm, "final_norm": c.final_norm,
           "ffn": c.ffn, "position": c.position}
    if c.position == "cope":
        moh["cope_positions"] = c.cope_positions
    if c.n_experts > 0:
        moh["experts"] = {
            "n_shared": c.n_shared_experts, "k": c.k_experts,
            "n_routed": c.n_experts, "width": c.expert_width,
            "balance_weight": c.expert_balance, "z_weight": c.expert_z,
            "router_init_std": 0.02}
    moh["output_projection"] = c.output_projection
    moh.update((name, True) for name in
               ("qkv_bias", "output_bias", "mlp_bias", "qk_norm")
               if getattr(c, name))
    moh["heads"] = heads_json(c)
    return moh


def family(c):
    """The type of the model, and the name of its class."""
    if not (c.norm == "rms" and c.pre_norm and c.final_norm
            and c.ffn == "swiglu" and c.position == "rope"
            and c.output_projection and c.heads == "all"
            and c.n_experts == 0):
        return "moh", "MohForCausalLM"
    if c.qk_norm:
        return "qwen3", "Qwen3ForCausalLM"
    if c.qkv_bias and not c.output_bias:
        return "qwen2", "Qwen2ForCausalLM"
    return "llama", "LlamaForCausalLM"


def scaling_json(c):
    names = ("rope_type", "factor", "low_freq_factor", "high_freq_factor",
             "original_max_position_embeddings")
    return dict(zip(names, c.rope_scaling))


def config_json(c):
    """config.json, see src/model/config_json.c."""
    kind, class_name = family(c)
    root = {
        "architectures": [class_name],
        "model_type": kind,
        "vocab_size": VOCAB,
        "hidden_size": c.d_model,
        "intermediate_size": c.d_ff,
        "num_hidden_layers": c.n_layers,
        "num_attention_heads": c.n_heads,
        "num_key_value_heads": c.n_kv_heads,
        "head_dim": c.d_head,
        "max_position_embeddings": c.max_seq_len,
        "hidden_act": "silu" if c.ffn == "swiglu" else "relu",
        "rms_norm_eps": c.norm_eps,
        "initializer_range": 0.02,
        "tie_word_embeddings": c.tied,
        "torch_dtype": "float32",
    }
    if c.position == "rope":
        root["rope_theta"] = c.rope_theta
    if c.rope_scaling:
        root["rope_scaling"] = scaling_json(c)
    if kind == "moh":
        root["moh"] = moh_json(c)
    elif c.output_bias:
        root["attention_bias"] = True
    if kind == "llama" and c.mlp_bias:
        root["mlp_bias"] = True
    return root
