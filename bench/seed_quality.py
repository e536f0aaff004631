#!/usr/bin/env python3
"""Trains `seed-train`, or another architecture of its size, on two JSON arrays of texts, facts and then dialogue, for
many seeds, with MoH and with all heads, and checks every run's final losses.

    bench/seed_quality.py --moh build/release/moh --data DIR [--seeds 20]
        [--architecture transformer|hrm|hypermixer]

DIR holds pretraining_data.json and chat_training_data.json. A loss is the mean
over sequences of their mean cross entropy, over the whole data, in nats. Takes
about two core-minutes a run; --jobs runs go side by side, one thread each.
"""
import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import tempfile

DIALOGUE_LIMIT = 0.20
# Options of an architecture, and how low its loss on the facts must be.
ARCHITECTURES = {
    "transformer": ([], 0.06),
    "hrm": (["--architecture", "hrm", "--layers", "4", "--d-ff", "192",
             "--lr", "3e-4"], 0.10),
    "hypermixer": (["--architecture", "hypermixer"], 0.10),
}
QUESTION = "User: How do mountains form? Assistant:"


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def last_losses(log):
    """Final evaluations of a run by the name of their data."""
    losses = {}
    for line in pathlib.Path(log).read_text().splitlines():
        entry = json.loads(line)
        if "eval" in entry:
            losses[entry["eval"]["data"]] = entry["eval"]["sequence_loss"]
    return losses


def one_run(arguments, heads, seed):
    facts = str(arguments.data / "pretraining_data.json")
    dialogue = str(arguments.data / "chat_training_data.json")
    with tempfile.TemporaryDirectory() as folder:
        first = f"{folder}/facts"
        second = f"{folder}/dialogue"
        common = ["--seed", str(seed), "--threads", "1", "--epochs", "100"]
        run([arguments.moh, "train", "--preset", "seed-train", "--heads",
             heads, "--data", facts, "--extra-vocab", dialogue, "--out",
             first] + common + ARCHITECTURES[arguments.architecture][0])
        run([arguments.moh, "tune", "--model", first, "--data", dialogue,
             "--mix", f"{facts}:{arguments.mix}", "--out", second] + common)
        answer = run([arguments.moh, "generate", "--model", second,
                      QUESTION]).strip()
        before = last_losses(f"{first}/log.jsonl")
        after = last_losses(f"{second}/log.jsonl")
    return {"heads": heads, "seed": seed, "facts": before["train"],
            "dialogue": after["train"], "facts_after": after.get("mix"),
            "answer": answer}


def good(result, facts_limit, expected):
    return (result["facts"] <= facts_limit
            and result["dialogue"] <= DIALOGUE_LIMIT
            and result["answer"] == expected)


def expected_answer(data):
    """What the data says, without blanks that tokenization drops."""
    for text in json.loads((data / "chat_training_data.json").read_text()):
        if text.startswith("User: How do mountains form?"):
            return text.split("Assistant: ")[1].removesuffix(" </s>")
    raise RuntimeError("the data does not have the sample question")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--moh", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--architecture", choices=list(ARCHITECTURES),
                        default="transformer")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mix", type=float, default=0.3)
    parser.add_argument("--json", help="results, a line a run")
    arguments = parser.parse_args()
    expected = expected_answer(arguments.data)
    limit = ARCHITECTURES[arguments.architecture][1]
    work = [(heads, seed) for seed in range(1, arguments.seeds + 1)
            for heads in ("moh:2+4", "all")]
    n_good = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        futures = [pool.submit(one_run, arguments, *w) for w in work]
        for future in concurrent.futures.as_completed(futures):
            r = future.result()
            ok = good(r, limit, expected)
            n_good += ok
            print(f"{r['heads']:8} seed {r['seed']:2}  facts "
                  f"{r['facts']:.4f}  dialogue {r['dialogue']:.4f}  facts "
                  f"after {r['facts_after']:.4f}  {'ok' if ok else 'NO'}",
                  flush=True)
            if arguments.json:
                with open(arguments.json, "a") as out:
                    out.write(json.dumps(r) + "\n")
    print(f"{n_good} of {len(work)} runs reach facts <= {limit} and "
          f"dialogue <= {DIALOGUE_LIMIT} and answer the question")
    return 0 if n_good == len(work) else 1


if __name__ == "__main__":
    raise SystemExit(main())
