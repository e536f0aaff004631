"""PyTorch's side of training.py: a LLaMA-style model in eager mode.

    python torch_worker.py PRECISION THREADS CONTEXT BATCH
"""
import contextlib
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

LAYERS, HEADS, WIDTH, HIDDEN, VOCABULARY = 6, 6, 384, 1024, 4096
D = WIDTH // HEADS


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return x * scale * self.weight


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def attention(q, k, v):
    """Fused where this PyTorch has it."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    scores = q @ k.transpose(-2, -1) / D ** 0.5
    length = scores.shape[-1]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    scores = scores.masked_fill(later, float("-inf"))
    return F.softmax(scores, dim=-1) @ v


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(), RMSNorm()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate_up = nn.Linear(WIDTH, 2 * HIDDEN, bias=False)
        self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x, cos, sin):
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (y.view(batch, length, HEADS, D).transpose(1, 2)
                   for y in (q, k, v))
        y = attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = RMSNorm()
        nn.init.normal_(self.embed.weight, std=0.02)
        angles = torch.outer(
            torch.arange(context),
            10000.0 ** (-torch.arange(0, D, 2).float() / D))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.float().flatten(0, 1),
                               targets.flatten())


def cast(precision):
    if precision == "bf16":
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return contextlib.nullcontext()


def step(model, optimizer, ids, precision):
    with cast(precision):
        loss = model(ids[:, :-1], ids[:, 1:])
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def main():
    precision, threads, context, batch = sys.argv[1:]
    context, batch = int(context), int(batch)
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    model = Model(context)
    options = {"lr": 3e-4, "weight_decay": 0.1}
    try:
        optimizer = torch.optim.AdamW(model.parameters(), fused=True,
                                      **options)
    except (RuntimeError, TypeError):  # older ones have it for GPUs only
        optimizer = torch.optim.AdamW(model.parameters(), **options)
    ids = torch.randint(0, VOCABULARY, (batch, context + 1))
    print("ready", flush=True)
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.monotonic()
        if line.startswith("forward"):
            with torch.inference_mode(), cast(precision):
                model(ids[:, :-1], ids[:, 1:]).item()
        else:
            step(model, optimizer, ids, precision)
        cpu = time.process_time() - cpu
        print(f"{cpu:.9f} {time.monotonic() - wall:.9f}", flush=True)


if __name__ == "__main__":
    main()
