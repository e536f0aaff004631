"""llama.cpp's side of inference.py, by its C interface.

    python llama_worker.py FILE.gguf THREADS MAX_LENGTH FLASH

Understands the words of `moh_worker run`.
"""
import ctypes
import sys
import time

import llama_cpp as l


def token(i):
    return i * 7919 % 31991


class Session:
    def __init__(self, path, threads, length, flash):
        l.llama_backend_init()
        params = l.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = l.llama_model_load_from_file(path.encode(), params)
        params = l.llama_context_default_params()
        params.n_ctx = length
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = int(flash)
        params.type_k = params.type_v = (l.GGML_TYPE_F16)
        self.context = l.llama_init_from_model(self.model, params)
        self.memory = l.llama_get_memory(self.context)
        self.batch = l.llama_batch_init(512, 0, 1)
        self.length = 0

    def forget(self, n):
        if self.length > n:
            l.llama_memory_seq_rm(self.memory, 0, n, -1)
            self.length = n

    def feed(self, n):
        while self.length < n:
            count = min(512, n - self.length)
            batch = self.batch
            batch.n_tokens = count
            for i in range(count):
                batch.token[i] = token(self.length + i)
                batch.pos[i] = self.length + i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = i == count - 1
            if l.llama_decode(self.context, batch) != 0:
                raise SystemExit("llama_decode failed")
            self.length += count

    def logits(self):
        pointer = l.llama_get_logits_ith(self.context, -1)
        return ctypes.cast(
            pointer, ctypes.POINTER(ctypes.c_float * 32000)).contents


def main():
    path, threads, length, flash = sys.argv[1:]
    session = Session(path, int(threads), int(length), int(flash))
    print("ready", flush=True)
    for line in sys.stdin:
        word, n = line.split()
        n = int(n)
        cpu, wall = time.process_time(), time.monotonic()
        if word in ("prefill", "logits"):
            session.forget(0)
        if word == "decode":
            session.forget(n)
            n += 1
        session.feed(n)
        session.logits()
        cpu = time.process_time() - cpu
        wall = time.monotonic() - wall
        if word == "logits":
            print(*(f"{x:.9g}" for x in session.logits()), end=" ")
        print(f"{cpu:.9f} {wall:.9f}", flush=True)


if __name__ == "__main__":
    main()
