"""llama.cpp's side of perplexity.py: the first tokens of a text, and the sum of
-ln p of all but the first of them in windows that lie side by side.

    perplexity_worker.py FILE.gguf TEXT N_TOKENS CONTEXT THREADS
"""
import json
import pathlib
import sys

import llama_cpp
import numpy


def nats(model, ids, context):
    total = 0.0
    for start in range(0, len(ids) - 1, context):
        inputs = ids[start:start + context]
        targets = ids[start + 1:start + 1 + context]
        model.reset()
        model.eval(inputs)
        logits = model.scores[:len(targets)].astype(numpy.float64)
        top = logits.max(axis=1)
        whole = top + numpy.log(numpy.exp(logits - top[:, None]).sum(axis=1))
        total += float((whole - logits[range(len(targets)), targets]).sum())
    return total


def main():
    path, text, n_tokens, context, threads = sys.argv[1:]
    model = llama_cpp.Llama(
        path, n_ctx=int(context), n_batch=int(context), logits_all=True,
        n_threads=int(threads), n_threads_batch=int(threads), verbose=False,
        type_k=0, type_v=0)
    raw = pathlib.Path(text).read_bytes()
    ids = model.tokenize(raw, add_bos=False, special=False)[:int(n_tokens)]
    print(json.dumps({"ids": ids, "nats": nats(model, ids, int(context))}))


main()
