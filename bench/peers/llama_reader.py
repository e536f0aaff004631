"""llama.cpp at work for exports.py: what a GGUF file says.

    python llama_reader.py FILE.gguf IDS N TEXT ANSWER.json

Logits behind each of the ids, the ids with N that follow greedily, and the ids
of a text; keys and values in f32.
"""
import ctypes
import json
import sys

import llama_cpp as l


class Reader:
    def __init__(self, path, length):
        l.llama_backend_init()
        self.log = l.llama_log_callback(lambda level, text, data: None)
        l.llama_log_set(self.log, None)
        params = l.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = l.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            raise SystemExit(f"llama.cpp does not load {path}")
        self.vocab = l.llama_model_get_vocab(self.model)
        self.n_vocab = l.llama_vocab_n_tokens(self.vocab)
        params = l.llama_context_default_params()
        params.n_ctx = length
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type = 0
        params.type_k = params.type_v = l.GGML_TYPE_F32
        self.context = l.llama_init_from_model(self.model, params)

    def feed(self, token):
        one = (l.llama_token * 1)(token)
        if l.llama_decode(self.context, l.llama_batch_get_one(one, 1)) != 0:
            raise SystemExit("llama_decode failed")
        logits = l.llama_get_logits_ith(self.context, -1)
        return ctypes.cast(logits, ctypes.POINTER(
            ctypes.c_float * self.n_vocab)).contents[:]

    def tokens(self, text):
        room = (l.llama_token * 1024)()
        raw = text.encode()
        n = l.llama_tokenize(self.vocab, raw, len(raw), room, 1024, True,
                             False)
        return room[:n]


def main():
    path, ids, n, text, answer = sys.argv[1:]
    ids = [int(i) for i in ids.split(",")]
    reader = Reader(path, len(ids) + int(n))
    logits = [reader.feed(i) for i in ids]
    last = logits[-1]
    for _ in range(int(n)):
        ids.append(max(range(len(last)), key=last.__getitem__))
        last = reader.feed(ids[-1])
    with open(answer, "w", encoding="utf-8") as file:
        json.dump({"logits": logits, "greedy": ids,
                   "tokens": reader.tokens(text)}, file)


main()
