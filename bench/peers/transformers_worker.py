"""The transformers package at work for exports.py:

    python transformers_worker.py make KIND DIR     a random model, saved
    python transformers_worker.py read DIR IDS N FILE
        logits of every position of the ids (separated by commas), computed in
        float32, and the N ids that follow greedily, as JSON into FILE
"""
import json
import sys

import torch
from transformers import (AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM)

SIZES = {"vocab_size": 211, "hidden_size": 48, "intermediate_size": 80,
         "num_hidden_layers": 3, "num_attention_heads": 6,
         "num_key_value_heads": 2, "max_position_embeddings": 256,
         "initializer_range": 0.2}
LLAMA_3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}

# name: class, configuration, type of the weights, size of a file
KINDS = {
    "llama": (LlamaForCausalLM,
              LlamaConfig(**SIZES, rope_parameters=LINEAR), "float32", "1GB"),
    "llama-3.1": (LlamaForCausalLM,
                  LlamaConfig(**SIZES, rope_parameters=LLAMA_3,
                              attention_bias=True, mlp_bias=True),
                  "bfloat16", "1GB"),
    "qwen2": (Qwen2ForCausalLM,
              Qwen2Config(**SIZES, tie_word_embeddings=True), "float32",
              "20KB"),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=24), "float16",
              "20KB"),
}


def make(kind, folder):
    """Norms and biases are random, too."""
    model_class, config, dtype, size = KINDS[kind]
    torch.manual_seed(1)
    model = model_class(config)
    with torch.no_grad():
        for name, w in model.named_parameters():
            if w.dim() == 1:
                w.normal_(0.0 if name.endswith("bias") else 1.0, 0.2)
    model.to(getattr(torch, dtype)).save_pretrained(folder,
                                                    max_shard_size=size)


def read(folder, ids, n, path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([[int(i) for i in ids.split(",")]])
    model.generation_config.eos_token_id = None  # on to the last token
    with torch.inference_mode():
        logits = model(ids).logits[0].tolist()
        more = model.generate(ids, attention_mask=torch.ones_like(ids),
                              max_new_tokens=int(n), do_sample=False,
                              pad_token_id=0)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"class": type(model).__name__, "logits": logits,
                   "greedy": more[0].tolist()}, file)


torch.set_num_threads(1)
{"make": make, "read": read}[sys.argv[1]](*sys.argv[2:])
