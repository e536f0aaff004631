#!/usr/bin/env python3
"""Shows that the gradient checks see wrong gradients: plants one flaw after the
other into a copy of the sources, builds the check of whole models in double,
and expects it to fail. The flaws are mistakes that were found in real code.

    scripts/plant_flaws.py        # some four minutes
"""
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST = "test_model_gradients"

# What is wrong, the file, the right line, the wrong one.
FLAWS = [
    ("rotary backward does not turn back", "src/op/rope.c",
     "s->sign = -1;", "s->sign = 1;"),
    ("CoPE's gates are left out of backward",
     "src/kernel/reference_attention.c",
     "ds + d_gate * w.gate * (1 - w.gate));", "ds);"),
    ("CoPE's table is not trained", "src/op/attention.c",
     "moh__kernel()->add(node->table->grad, d_table_of(node, s, 0), n);",
     "(void)n;"),
    ("a group's heads add to their own keys", "src/op/attention.c",
     "node->k->cols + g * d;",
     "node->k->cols + (g + h) % node->args.n_kv_heads * d;"),
    ("backward ignores the gate", "src/op/gate.c",
     "s->gates->v[e], dy, d);", "1, dy, d);"),
    ("the gate gets no gradient", "src/op/gate.c",
     "s->gates->g[e] += kernels->dot(dy, s->x->v + e * d, d);", ""),
    ("the balance loss has no gradient", "src/op/router.c",
     "if (s->args.balance_weight != 0)", "if (tape == NULL)"),
    ("the z-loss has no gradient", "src/op/router.c",
     "if (s->args.z_weight != 0)", "if (tape == NULL)"),
    ("the router's input gets no gradient", "src/op/router.c",
     ".c = x->g, .ldc = in, .accumulate = true};\n"
     "  moh__gemm_run(tape->pool, &dx);",
     ".c = x->g, .ldc = in, .accumulate = true};\n  (void)dx;"),
    ("a norm's projection lacks the factor 1/s", "src/op/norm.c",
     "kernels->axpy(a, -along, h, d);",
     "kernels->axpy(a, -along / inverse, h, d);"),
    ("a norm's gradient lacks the factor 1/s", "src/op/norm.c",
     "kernels->scale_gain(a, a, shift, inverse, NULL, d);",
     "kernels->scale_gain(a, a, shift, 1, NULL, d);"),
    ("LayerNorm's backward forgets the mean", "src/op/norm.c",
     "? kernels->sum(a, d) / (real)d\n                   : 0;",
     "? 0\n                   : 0;"),
    ("weights of unused rows get a gradient", "src/op/plan_linear.c",
     "g.b_rows = rows;", "g.b_rows = NULL;"),
]


def build(folder):
    return subprocess.run(
        ["cmake", "--build", folder / "build", "--target", TEST],
        capture_output=True, text=True)


def test_passes(folder):
    """None when it does not build."""
    if build(folder).returncode != 0:
        return None
    return subprocess.run([folder / "build" / "tests" / TEST],
                          capture_output=True).returncode == 0


def plant(folder, flaw):
    what, name, right, wrong = flaw
    path = folder / name
    text = path.read_text()
    if text.count(right) != 1:
        return f"{name} has {text.count(right)} places to plant it"
    path.write_text(text.replace(right, wrong))
    passes = test_passes(folder)
    path.write_text(text)
    if passes is None:
        return "does not build"
    return "NOT SEEN" if passes else "seen"


def copy_sources(folder):
    for name in ("include", "src", "cli", "tests"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "CMakeLists.txt", folder)
    subprocess.run(["cmake", "-S", folder, "-B", folder / "build", "-G",
                    "Ninja", "-DCMAKE_C_FLAGS=-Wno-error"],
                   check=True, capture_output=True)


def main():
    n_seen = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        copy_sources(folder)
        if not test_passes(folder):
            print("the check fails before anything is planted")
            return 1
        for flaw in FLAWS:
            result = plant(folder, flaw)
            n_seen += result == "seen"
            print(f"{result:8}  {flaw[0]}", flush=True)
    print(f"{n_seen} of {len(FLAWS)} flaws are seen")
    return 0 if n_seen == len(FLAWS) else 1


if __name__ == "__main__":
    raise SystemExit(main())
