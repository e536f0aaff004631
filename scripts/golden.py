#!/usr/bin/env python3
"""Golden files: an independent model of the transformer, in PyTorch, float64.

Written from the formulas in src/op/op.h, src/route/*.h and the papers they
name, not from the C sources, and differentiated by autograd. For each small
configuration below it writes tests/golden/<name>/:
  config.json, model.safetensors  what moh reads (weights F32)
  golden.safetensors              batch, logits, losses, gradients of the total
                                  loss, parameters after ten AdamW steps (F64)
tests/unit/test_golden.c compares them with the library built in double.

    scripts/golden.py [NAME]...          write those, or all of them
    scripts/golden.py --check [NAME]...  compute again, compare with what is
                                         there

Needs PyTorch and NumPy (Debian: python3-torch); the tests do not.
"""

import argparse
import json
import math
import pathlib
import sys
from dataclasses import dataclass

import numpy as np
import torch

from golden_files import (VOCAB, config_json, read_safetensors,
                          write_safetensors)

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"
STEPS = 10
ADAM = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8}
DECAY = 0.1  # decoupled, on two-dimensional tensors
CLIP = 1.0  # global norm
# A smaller distance between the last chosen and the first rejected score of
# a router would leave the choice to rounding.
MARGIN = 1e-6


@dataclass
class Config:
    """One small model; names as in src/model/config.h."""

    name: str
    seed: int
    lengths: tuple  # tokens of the sequences of the batch
    d_model: int = 16
    d_ff: int = 24
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int = 4
    d_head: int = 4
    max_seq_len: int = 16
    norm: str = "rms"  # rms, layer, dyt
    pre_norm: bool = True
    final_norm: bool = True
    ffn: str = "swiglu"  # swiglu, relu
    position: str = "rope"  # rope, learned, cope, none
    rope_theta: float = 10000.0
    # ("linear", factor), ("llama3", factor, low, high, original length)
    rope_scaling: tuple = ()
    cope_positions: int = 5
    tied: bool = False
    output_projection: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    heads: str = "all"  # all, moh, static, norm
    by_group: bool = False  # norm: n_shared and k count KV heads
    n_shared: int = 0
    k: int = 0
    n_static: int = 0
    gate_scale: str = "unit"  # unit, paper, one
    balance_weight: float = 0.0
    z_weight: float = 0.0
    n_experts: int = 0  # routed; 0: one dense feed-forward
    k_experts: int = 0
    n_shared_experts: int = 0
    expert_width: int = 0
    expert_balance: float = 0.0
    expert_z: float = 0.0

    @property
    def norm_eps(self):
        return 1e-5 if self.norm == "layer" else 1e-6

    @property
    def n_routed(self):
        candidates = self.n_kv_heads if self.by_group else self.n_heads
        return candidates - self.n_shared


CONFIGS = [
    # The shape of LLaMA checkpoints.
    Config("llama", 1, (7, 3, 9), n_kv_heads=2, tied=True),
    # The transformer of 2017 with learned positions: post-norm, ReLU.
    Config("original", 2, (4, 9), norm="layer", ffn="relu", pre_norm=False,
           final_norm=False, position="learned"),
    # The shape of the preset seed.
    Config("seed", 3, (9, 5), n_heads=8, n_kv_heads=4, d_head=2,
           pre_norm=False, final_norm=False, position="cope",
           output_projection=False, heads="moh", n_shared=2, k=4,
           balance_weight=0.01),
    # Equations 5 and 6 of the paper, with one shared head and a z-loss.
    Config("moh-paper", 4, (3, 8, 6), heads="moh", n_shared=1, k=2,
           gate_scale="paper", balance_weight=0.3, z_weight=0.01),
    # 0/1 gates with the straight-through estimator, heads wider than
    # d_model / n_heads.
    Config("moh-one", 5, (9, 4), n_heads=6, n_kv_heads=3, d_head=4,
           tied=True, heads="moh", n_shared=2, k=2, gate_scale="one",
           balance_weight=0.1),
    # No shared head, one KV head, no positions.
    Config("moh-routed", 6, (8, 7), n_kv_heads=1, norm="layer", ffn="relu",
           position="none", heads="moh", k=2, balance_weight=0.05,
           z_weight=0.001),
    # Only the first heads are in use; post-norm with a final norm.
    Config("static", 7, (6, 9), n_kv_heads=2, norm="layer", pre_norm=False,
           position="learned", heads="static", n_static=3, tied=True),
    # Contextual positions that reach the last row of their table.
    Config("cope", 8, (9, 6, 3), n_kv_heads=2, d_head=6, ffn="relu",
           position="cope", cope_positions=3),
    # Every head is shared: a router without W_r.
    Config("moh-shared", 9, (5, 7), pre_norm=False, final_norm=False,
           heads="moh", n_shared=4, balance_weight=0.01),
    # Experts: two of five by a router, one shared, and heads by theirs.
    Config("experts", 10, (9, 4, 6), n_kv_heads=2, heads="moh", n_shared=1,
           k=2, balance_weight=0.1, n_experts=5, k_experts=2,
           n_shared_experts=1, expert_width=7, expert_balance=0.2,
           expert_z=0.01),
    # One of four, whose weight is 1: the router learns by its losses alone.
    Config("experts-one", 11, (8, 7), norm="layer", ffn="relu",
           pre_norm=False, position="learned", tied=True, n_experts=4,
           k_experts=1, expert_width=10, expert_balance=0.3, expert_z=0.1),
    # Dynamic tanh in place of norms.
    Config("tanh", 12, (8, 4), n_kv_heads=2, norm="dyt"),
    # LLaMA 3.1's positions, of which pairs are fast, slow and in between,
    # and all the biases that LLaMA may have.
    Config("llama-biases", 13, (9, 6), n_kv_heads=2, d_head=10,
           rope_scaling=("llama3", 8.0, 1.0, 4.0, 12), qkv_bias=True,
           output_bias=True, mlp_bias=True),
    # The shapes of Qwen2 and Qwen3.
    Config("qwen2", 14, (5, 8), n_kv_heads=2, tied=True, qkv_bias=True),
    Config("qwen3", 15, (8, 3), n_kv_heads=1, d_head=6, qk_norm=True),
    # Mixture of heads on all that these families have.
    Config("moh-qwen", 16, (9, 7), n_heads=6, n_kv_heads=3, qkv_bias=True,
           output_bias=True, mlp_bias=True, qk_norm=True,
           rope_scaling=("linear", 3.0), heads="moh", n_shared=1, k=2,
           balance_weight=0.1),
    # Heads by the norms of their queries, a small LLaMA otherwise.
    Config("norm", 17, (9, 5, 7), n_heads=8, n_kv_heads=4, heads="norm",
           n_shared=4, k=2, gate_scale="one", balance_weight=0.2, tied=True),
    # The same by KV group, none shared.
    Config("norm-group", 18, (8, 6), n_heads=6, n_kv_heads=3, heads="norm",
           k=2, by_group=True, gate_scale="one", balance_weight=0.1,
           qkv_bias=True, qk_norm=True),
]


# ---- parameters ----------------------------------------------------------


def router_shapes(c):
    """The matrices of one layer's router, those that the shape has."""
    shapes = {}
    if c.n_routed > 0:
        shapes["wg.weight"] = (c.n_routed, c.d_model)
    if c.n_shared > 1:
        shapes["wg_1.weight"] = (c.n_shared, c.d_model)
    if c.n_shared > 0:
        shapes["wg_0.weight"] = (2, c.d_model)
    return shapes


def norm_shapes(c, name):
    shapes = {f"{name}.weight": (c.d_model,)}
    if c.norm != "rms":
        shapes[f"{name}.bias"] = (c.d_model,)
    if c.norm == "dyt":
        shapes[f"{name}.alpha"] = (1,)
    return shapes


def attention_shapes(c):
    shapes = {
        "q_proj.weight": (c.n_heads * c.d_head, c.d_model),
        "k_proj.weight": (c.n_kv_heads * c.d_head, c.d_model),
        "v_proj.weight": (c.n_kv_heads * c.d_head, c.d_model),
    }
    if c.output_projection:
        shapes["o_proj.weight"] = (c.d_model, c.n_heads * c.d_head)
    if c.qkv_bias:
        for which, heads in (("q", c.n_heads), ("k", c.n_kv_heads),
                             ("v", c.n_kv_heads)):
            shapes[f"{which}_proj.bias"] = (heads * c.d_head,)
    if c.output_bias:
        shapes["o_proj.bias"] = (c.d_model,)
    if c.qk_norm:
        shapes["q_norm.weight"] = shapes["k_norm.weight"] = (c.d_head,)
    if c.position == "cope":
        shapes["cope.weight"] = (c.n_heads, c.cope_positions, c.d_head)
    if c.heads == "moh":
        shapes.update(router_shapes(c))
    return {f"self_attn.{name}": shape for name, shape in shapes.items()}


def layer_shapes(c):
    shapes = norm_shapes(c, "input_layernorm")
    shapes.update(attention_shapes(c))
    shapes.update(norm_shapes(c, "post_attention_layernorm"))
    name, hidden = "mlp", c.d_ff
    if c.n_experts > 0:
        name = "mlp.experts"
        hidden = (c.n_shared_experts + c.n_experts) * c.expert_width
    if c.ffn == "swiglu":
        shapes[f"{name}.gate_proj.weight"] = (hidden, c.d_model)
    shapes[f"{name}.up_proj.weight"] = (hidden, c.d_model)
    shapes[f"{name}.down_proj.weight"] = (c.d_model, hidden)
    if c.mlp_bias:
        if c.ffn == "swiglu":
            shapes[f"{name}.gate_proj.bias"] = (hidden,)
        shapes[f"{name}.up_proj.bias"] = (hidden,)
        shapes[f"{name}.down_proj.bias"] = (c.d_model,)
    if c.n_experts > 0:
        shapes["mlp.wg.weight"] = (c.n_experts, c.d_model)
    return shapes


def model_shapes(c):
    shapes = {"model.embed_tokens.weight": (VOCAB, c.d_model)}
    if c.position == "learned":
        shapes["model.embed_positions.weight"] = (c.max_seq_len, c.d_model)
    if c.norm == "dyt":
        shapes["model.embed_scale"] = (1,)
    for layer in range(c.n_layers):
        for name, shape in layer_shapes(c).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    if c.final_norm:
        shapes.update(norm_shapes(c, "model.norm"))
    if not c.tied:
        shapes["lm_head.weight"] = (VOCAB, c.d_model)
    return shapes


def initial_value(rng, name, shape):
    """Large enough for every part to matter, exact in float32."""
    if "norm.weight" in name:
        value = 1.0 + 0.3 * rng.standard_normal(shape)
    elif name.endswith(".alpha"):
        value = 0.5 + 0.2 * rng.standard_normal(shape)
    elif name.endswith(".bias"):
        value = 0.3 * rng.standard_normal(shape)
    elif "cope" in name or "embed" in name:
        value = 0.7 * rng.standard_normal(shape)
    else:
        value = rng.standard_normal(shape) * math.sqrt(2.0 / shape[-1])
    return value.astype(np.float32).astype(np.float64)


def make_params(c):
    rng = np.random.default_rng(c.seed)
    return {
        name: torch.tensor(initial_value(rng, name, shape),
                           requires_grad=True)
        for name, shape in model_shapes(c).items()
    }


# ---- the model, one sequence at a time -----------------------------------


def rms_norm(c, gain, x):
    mean_square = (x * x).mean(dim=-1, keepdim=True)
    return gain * x / torch.sqrt(mean_square + c.norm_eps)


def affine(p, name, x):
    """W x, plus the bias where there is one."""
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def normalise(c, p, name, x):
    """RMSNorm (1910.07467, eq. 4), LayerNorm (1607.06450) or dynamic tanh
    (2503.10622)."""
    gain = p[f"{name}.weight"]
    if c.norm == "dyt":
        return gain * torch.tanh(p[f"{name}.alpha"] * x) + p[f"{name}.bias"]
    if c.norm == "rms":
        return rms_norm(c, gain, x)
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    return gain * centred / torch.sqrt(variance + c.norm_eps) \
        + p[f"{name}.bias"]


def scaled(c, rate):
    """The rate of one pair, as LLaMA 3.1 changes it: by its wavelength."""
    if not c.rope_scaling:
        return rate
    kind, factor = c.rope_scaling[:2]
    if kind == "linear":
        return rate / factor
    low, high, original = c.rope_scaling[2:]
    wavelength = 2 * math.pi / rate
    if wavelength < original / high:
        return rate
    if wavelength > original / low:
        return rate / factor
    smooth = (original / wavelength - low) / (high - low)
    return (1 - smooth) * rate / factor + smooth * rate


def rotate(c, x):
    """x (T, heads, d): rotary positions (2104.09864, eq. 34), pairs
    (i, i + d/2) turned by position * theta^(-2i/d)."""
    half = c.d_head // 2
    rates = torch.tensor([scaled(c, c.rope_theta ** (-2.0 * i / c.d_head))
                          for i in range(half)], dtype=torch.float64)
    angles = torch.arange(len(x), dtype=torch.float64)[:, None] * rates
    cos, sin = torch.cos(angles)[:, None, :], torch.sin(angles)[:, None, :]
    low, high = x[..., :half], x[..., half:]
    return torch.cat([low * cos - high * sin, low * sin + high * cos], -1)


def cope_scores(c, q, scores, table):
    """Contextual positions (2405.18719) of one head: what they add to its
    scores (T, T), of which the upper triangle is not used."""
    T = len(q)
    gates = torch.sigmoid(scores) * torch.tril(torch.ones(T, T,
                                                          dtype=q.dtype))
    # p_ij = sum over m = j..i of G_im, from the right to the left
    p = torch.flip(torch.cumsum(torch.flip(gates, [1]), 1), [1])
    p = torch.clamp(p, max=c.cope_positions - 1)
    low = torch.floor(p).detach()
    share = p - low
    z = q @ table.T
    z_low = torch.gather(z, 1, low.long())
    high = torch.clamp(low + 1, max=c.cope_positions - 1)
    z_high = torch.gather(z, 1, high.long())
    return (1 - share) * z_low + share * z_high


def head_outputs(c, p, layer, x):
    """All heads of causal attention, (T, n_heads, d_head)."""
    name = f"model.layers.{layer}.self_attn"
    T = len(x)
    q, k, v = (
        affine(p, f"{name}.{which}_proj", x).view(T, -1, c.d_head)
        for which in "qkv")
    if c.qk_norm:
        q = rms_norm(c, p[f"{name}.q_norm.weight"], q)
        k = rms_norm(c, p[f"{name}.k_norm.weight"], k)
    if c.position == "rope":
        q, k = rotate(c, q), rotate(c, k)
    hidden = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    outputs = []
    for head in range(c.n_heads):
        kv_head = head // (c.n_heads // c.n_kv_heads)
        scores = q[:, head] @ k[:, kv_head].T / math.sqrt(c.d_head)
        if c.position == "cope":
            scores = scores + cope_scores(c, q[:, head], scores,
                                          p[f"{name}.cope.weight"][head])
        scores = scores.masked_fill(hidden, -math.inf)
        outputs.append(torch.softmax(scores, dim=-1) @ v[:, kv_head])
    return torch.stack(outputs, dim=1)


def select(logits, k, state):
    """Mask (T, candidates) of the k largest logits of each token."""
    order = torch.sort(logits, dim=1, descending=True)
    if k < logits.shape[1]:
        gap = order.values[:, k - 1] - order.values[:, k]
        state["margin"] = min(state["margin"], gap.min().item())
    mask = torch.zeros_like(logits)
    return mask.scatter(1, order.indices[:, :k], 1.0)


def shared_gates(c, p, name, x, a):
    """(T, n_shared); a (T, 2) or None without shared heads."""
    ones = torch.ones(len(x), c.n_shared, dtype=x.dtype)
    if c.n_shared == 0 or c.gate_scale == "one":
        return ones
    p_s = ones
    if c.n_shared > 1:
        p_s = torch.softmax(x @ p[f"{name}.wg_1.weight"].T, dim=1)
    gates = a[:, :1] * p_s
    return 2 * c.n_shared * gates if c.gate_scale == "unit" else gates


def routed_gates(c, p_r, mask, a):
    """(T, n_routed), zero outside the mask."""
    if c.gate_scale == "one":  # straight through: 1, with the slope of p_r
        return mask * (1.0 + p_r - p_r.detach())
    chosen = p_r * mask
    if c.gate_scale == "paper":
        return chosen if a is None else a[:, 1:] * chosen
    gates = c.k * chosen / chosen.sum(dim=1, keepdim=True)
    return gates if a is None else 2 * a[:, 1:] * gates


def query_gates(c, p, layer, x, state):
    """(T, n_heads): heads, or KV groups with all their query heads, by the
    l2 norm of their queries (2410.11842, section 4.4), with their bias,
    before their norm and rotary positions. Their softmax is that of the norms divided by the token's
    standard deviation of them."""
    heads = affine(p, f"model.layers.{layer}.self_attn.q_proj", x).view(
        len(x), c.n_heads, c.d_head)
    each = c.n_heads // c.n_kv_heads if c.by_group else 1
    squares = (heads * heads).sum(dim=2).view(len(x), -1, each).sum(dim=2)
    norms = torch.sqrt(squares[:, c.n_shared:])
    mask = select(norms.detach(), c.k, state)
    centred = norms - norms.mean(dim=1, keepdim=True)
    variance = (centred * centred).mean(dim=1, keepdim=True)
    scores = centred / torch.sqrt(variance + 1e-6)
    p_r = torch.softmax(scores, dim=1)
    state["routes"][layer].append((scores, p_r, mask))
    shared = torch.ones(len(x), c.n_shared, dtype=x.dtype)
    gates = torch.cat([shared, routed_gates(c, p_r, mask, None)], dim=1)
    return gates.repeat_interleave(each, dim=1)


def gates_of(c, p, layer, x, state):
    """(T, n_heads). Keeps what the auxiliary losses need in state."""
    T = len(x)
    if c.heads == "all":
        return torch.ones(T, c.n_heads, dtype=x.dtype)
    if c.heads == "static":
        used = torch.arange(c.n_heads) < c.n_static
        return used.to(x.dtype).expand(T, c.n_heads)
    if c.heads == "norm":
        return query_gates(c, p, layer, x, state)
    name = f"model.layers.{layer}.self_attn"
    a = None
    if c.n_shared > 0:
        a = torch.softmax(x @ p[f"{name}.wg_0.weight"].T, dim=1)
    shared = shared_gates(c, p, name, x, a)
    if c.n_routed == 0:
        return shared
    logits = x @ p[f"{name}.wg.weight"].T
    p_r = torch.softmax(logits, dim=1)
    mask = select(logits, c.k, state)
    state["routes"][layer].append((logits, p_r, mask))
    return torch.cat([shared, routed_gates(c, p_r, mask, a)], dim=1)


def attention(c, p, layer, x, state):
    gates = gates_of(c, p, layer, x, state)
    y = head_outputs(c, p, layer, x) * gates[:, :, None]
    y = y.reshape(len(x), -1)
    if not c.output_projection:
        return y
    return affine(p, f"model.layers.{layer}.self_attn.o_proj", y)


def hidden_units(c, p, name, x):
    hidden = affine(p, f"{name}.up_proj", x)
    if c.ffn == "relu":
        return torch.relu(hidden)
    gate = affine(p, f"{name}.gate_proj", x)  # 2002.05202
    return gate * torch.sigmoid(gate) * hidden


def expert_weights(c, p, layer, x, state):
    """(T, experts): 1 for shared ones, the softmax of the chosen logits for
    the others (2401.04088), zero where not chosen."""
    logits = x @ p[f"model.layers.{layer}.mlp.wg.weight"].T
    mask = select(logits, c.k_experts, state)
    state["expert_routes"][layer].append(
        (logits, torch.softmax(logits, dim=1), mask))
    chosen = torch.softmax(logits.masked_fill(mask == 0, -math.inf), dim=1)
    shared = torch.ones(len(x), c.n_shared_experts, dtype=x.dtype)
    return torch.cat([shared, chosen], dim=1)


def feed_forward(c, p, layer, x, state):
    name = f"model.layers.{layer}.mlp"
    if c.n_experts == 0:
        return affine(p, f"{name}.down_proj", hidden_units(c, p, name, x))
    weights = expert_weights(c, p, layer, x, state)
    name += ".experts"
    hidden = hidden_units(c, p, name, x).view(len(x), -1, c.expert_width)
    down = p[f"{name}.down_proj.weight"].view(c.d_model, -1, c.expert_width)
    outputs = torch.einsum("tew,dew->ted", hidden, down)
    return (weights[:, :, None] * outputs).sum(dim=1)


def sequence_logits(c, p, tokens, state):
    x = p["model.embed_tokens.weight"][tokens]
    if c.position == "learned":
        x = x + p["model.embed_positions.weight"][:len(tokens)]
    if c.norm == "dyt":
        x = p["model.embed_scale"] * x
    for layer in range(c.n_layers):
        prefix = f"model.layers.{layer}"
        for norm, part in ((f"{prefix}.input_layernorm", attention),
                           (f"{prefix}.post_attention_layernorm",
                            feed_forward)):
            if c.pre_norm:
                x = x + part(c, p, layer, normalise(c, p, norm, x), state)
            else:
                x = normalise(c, p, norm, x + part(c, p, layer, x, state))
    if c.final_norm:
        x = normalise(c, p, "model.norm", x)
    output = "model.embed_tokens.weight" if c.tied else "lm_head.weight"
    return x @ p[output].T


def auxiliary_losses(c, layers):
    """Mean over layers of L_b = n sum_i P_i f_i and of the z-loss
    (2202.08906); both over all tokens of the batch."""
    balance = z = torch.zeros((), dtype=torch.float64)
    for routes in layers:
        if not routes:
            continue
        logits, p_r, mask = (torch.cat(parts) for parts in zip(*routes))
        n = logits.shape[1]
        balance = balance + n * (p_r.mean(0) * mask.mean(0)).sum()
        z = z + (torch.logsumexp(logits, dim=1) ** 2).mean()
    return balance / c.n_layers, z / c.n_layers


def losses(c, p, batch):
    state = {"routes": [[] for _ in range(c.n_layers)],
             "expert_routes": [[] for _ in range(c.n_layers)],
             "margin": math.inf}
    tokens = torch.split(torch.tensor(batch["tokens"]), list(c.lengths))
    logits = torch.cat([sequence_logits(c, p, t, state) for t in tokens])
    targets = torch.tensor(batch["targets"])
    predicted = targets >= 0
    chosen = torch.log_softmax(logits[predicted], dim=1).gather(
        1, targets[predicted][:, None])
    task = -chosen.mean()
    balance, z = auxiliary_losses(c, state["routes"])
    expert_balance, expert_z = auxiliary_losses(c, state["expert_routes"])
    if state["margin"] < MARGIN:
        sys.exit(f"{c.name}: two router scores tie; choose another seed")
    result = {
        "logits": logits,
        "loss": task,
        "balance_loss": balance,
        "z_loss": z,
        "total_loss": task + c.balance_weight * balance + c.z_weight * z,
    }
    if c.n_experts > 0:
        result["expert_balance_loss"] = expert_balance
        result["expert_z_loss"] = expert_z
        result["total_loss"] = (result["total_loss"] + c.expert_z * expert_z
                                + c.expert_balance * expert_balance)
    return result


# ---- training ------------------------------------------------------------


def gradients(p, total):
    grads = torch.autograd.grad(total, list(p.values()), allow_unused=True)
    return {
        name: torch.zeros_like(w) if g is None else g
        for (name, w), g in zip(p.items(), grads)
    }


def adamw_steps(c, p, batch):
    """Parameters after ten steps (1711.05101, algorithm 2)."""
    m = {name: torch.zeros_like(w) for name, w in p.items()}
    v = {name: torch.zeros_like(w) for name, w in p.items()}
    for t in range(1, STEPS + 1):
        grads = gradients(p, losses(c, p, batch)["total_loss"])
        norm = math.sqrt(sum((g * g).sum().item() for g in grads.values()))
        factor = min(1.0, CLIP / norm)
        after = {}
        for name, w in p.items():
            g = grads[name] * factor
            m[name] = ADAM["beta1"] * m[name] + (1 - ADAM["beta1"]) * g
            v[name] = ADAM["beta2"] * v[name] + (1 - ADAM["beta2"]) * g * g
            m_hat = m[name] / (1 - ADAM["beta1"] ** t)
            v_hat = v[name] / (1 - ADAM["beta2"] ** t)
            decay = DECAY if w.dim() == 2 else 0.0
            step = m_hat / (torch.sqrt(v_hat) + ADAM["eps"]) + decay * w
            after[name] = (w - ADAM["lr"] * step).detach()
        p = {name: w.requires_grad_(True) for name, w in after.items()}
    return p


# ---- files ---------------------------------------------------------------


def make_batch(c):
    """Random tokens; targets are random too, some rows have none."""
    rng = np.random.default_rng(1000 + c.seed)
    n = sum(c.lengths)
    tokens = rng.integers(0, VOCAB, n)
    targets = rng.integers(0, VOCAB, n)
    targets[np.cumsum(c.lengths)[:-1] - 1] = -1
    return {"tokens": tokens, "targets": targets}


def golden_tensors(c, p):
    batch = make_batch(c)
    result = losses(c, p, batch)
    tensors = {}
    for name, value in result.items():
        tensors[name] = value.detach().numpy().reshape(
            (-1, VOCAB) if name == "logits" else (1,))
    for name, g in gradients(p, result["total_loss"]).items():
        tensors[f"grad.{name}"] = g.numpy()
    for name, w in adamw_steps(c, p, batch).items():
        tensors[f"after.{name}"] = w.detach().numpy()
    # last, so that all doubles lie at multiples of eight
    tensors["tokens"] = batch["tokens"].astype("<i4")
    tensors["targets"] = batch["targets"].astype("<i4")
    tensors["lengths"] = np.array(c.lengths, "<i4")
    return tensors


def write(c):
    folder = ROOT / c.name
    folder.mkdir(parents=True, exist_ok=True)
    p = make_params(c)
    text = json.dumps(config_json(c), indent=2) + "\n"
    (folder / "config.json").write_text(text)
    write_safetensors(folder / "model.safetensors",
                      {name: w.detach().numpy().astype("<f4")
                       for name, w in p.items()})
    write_safetensors(folder / "golden.safetensors", golden_tensors(c, p))
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{c.name}: {len(p)} tensors, {size} bytes")


def check(c):
    """The largest difference from the stored files, relative to the largest
    value of the tensor."""
    stored = read_safetensors(ROOT / c.name / "golden.safetensors")
    worst = 0.0
    for name, value in golden_tensors(c, make_params(c)).items():
        difference = np.abs(stored[name] - value.ravel()).max()
        worst = max(worst, difference / max(np.abs(value).max(), 1e-30))
    print(f"{c.name}: {worst:.1e}")
    return worst < 1e-9


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    configs = [c for c in CONFIGS if not args.names or c.name in args.names]
    if args.check:
        return 0 if all([check(c) for c in configs]) else 1
    for c in configs:
        write(c)
    return 0


if __name__ == "__main__":
    sys.exit(main())
