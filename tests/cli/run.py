"""Tests of the moh program: exit codes, exact messages, and a small
round trip train -> generate -> chat -> tune -> inspect in a temporary folder.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from support import MOH, TINY, Case, main, moh


class Version(Case):
    def test_version(self):
        code, out, err = moh("--version")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^moh \d+\.\d+\.\d+ \(\w+ kernels\)\n$")

    def test_instruction_sets(self):
        for cpu, expected in [
            ("base", (0, "base kernels", "")),
            ("reference", (0, "reference kernels", "")),
            ("486", (2, "", "moh: MOH_CPU is '486', which"))]:
            code, out, err = moh("--version", env={"MOH_CPU": cpu})
            self.assertEqual(code, expected[0])
            self.assertIn(expected[1], out)
            self.assertIn(expected[2], err)


class Usage(Case):
    def test_commands(self):
        self.assert_fails("", 2,
                          "moh: a command is missing (see 'moh --help')")
        self.assert_fails(
            "trian", 2, "moh: there is no command 'trian'; did you mean "
            "'train'? (see 'moh --help')")
        self.assert_fails(
            "xyz", 2, "moh: there is no command 'xyz' (see 'moh --help')")
        self.assert_fails(
            "--vresion", 2, "moh: there is no option '--vresion'; did you "
            "mean '--version'? (see 'moh --help')")

    def test_options(self):
        for words, message in [
            ("--bath 3", "there is no option '--bath'; did you mean "
             "'--batch'?"),
            ("--zzzzzzzz", "there is no option '--zzzzzzzz'"),
            ("-Z", "there is no option '-Z'"),
            ("--data", "--data needs a value"),
            ("--data --out x", "--data needs a value"),
            ("--overwrite=yes", "--overwrite takes no value"),
            ("--lr x", "--lr needs a number, not 'x'"),
            ("--lr nan", "--lr needs a number, not 'nan'"),
            ("--lr -1", "--lr must lie between 1e-12 and 100, not '-1'"),
            ("--batch 1.5", "--batch needs a whole number, not '1.5'"),
            ("--batch=0", "--batch must lie between 1 and 65536, not '0'"),
            ("-b 65537", "--batch must lie between 1 and 65536, not "
             "'65537'"),
            ("--steps 99999999999999999999", "--steps must lie between 1 "
             "and 1e+12, not '99999999999999999999'"),
            ("--norm=batch", "--norm must be one of rms, layer, dyt, not "
             "'batch'"),
            ("--extra-vocab a,,b", "--extra-vocab has an empty item in its "
             "list"),
            ("more", "there is one word too many: 'more'"),
            ("--out x", "--data FILE is missing"),
            ("--data facts.json", "--out DIR is missing"),
            ("--data facts.json --out=", "--out needs a name, not ''"),
        ]:
            self.assert_fails(f"train {words}", 2,
                              f"moh train: {message} (see 'moh train "
                              "--help')")

    def test_models(self):
        for words, message in [
            ("", "either --model DIR or --preset NAME is needed"),
            ("--preset sead", "there is no preset 'sead': choose seed, "
             "seed-train, nano, moh-xs, moh-s or moh-b"),
            ("--preset nano", "the preset nano takes its vocabulary from "
             "the data; give its size with --vocab N"),
            ("--preset seed --tied --untied",
             "--tied and --untied exclude each other"),
            ("--preset seed --context 81", "--context 81 is longer than "
             "the model's longest sequence, 80"),
            ("--preset seed --kv-heads 3", "num_key_value_heads is 3, it "
             "must divide num_attention_heads, 8"),
            ("--preset seed --route-seed 3",
             "--route-seed needs --heads random:S+K"),
            ("--preset seed --head-mass 0.5",
             "--head-mass needs --heads adaptive:S+MIN-MAX"),
            ("--preset seed --bias-balance 0.1 --heads all",
             "--bias-balance needs --heads moh:S+K"),
            ("--preset seed --bias-balance 0.1 --heads random:1+1",
             "--bias-balance needs --heads moh:S+K"),
            ("--preset seed --expert-bias-balance 0.1",
             "--expert-bias-balance needs --experts"),
            ("--preset seed --cope-positions 9 --position none",
             "--cope-positions needs --position cope"),
            ("--preset seed --rope-theta 9 --position none",
             "--rope-theta needs --position rope"),
            ("--preset seed --rope-scaling linear:2",
             "rope_scaling needs position to be rope"),
            ("--preset nano --vocab 9 --rope-scaling linear:x",
             "'linear:x' is no scaling of rotary positions: write none, "
             "linear:FACTOR or llama3:FACTOR,LOW,HIGH,LENGTH"),
            ("--preset nano --vocab 9 --rope-scaling llama3:8,1,4,1.5",
             "original_max_position_embeddings is 0, it must lie between 1 "
             "and 1048576"),
            ("--preset seed --attention-bias all",
             "output_bias needs output_projection"),
            ("--preset seed --window 0", "window.size is 0, it must lie "
             "between 1 and 1048576"),
            ("--model none --n-heads 3",
             "--n-heads goes with --preset, not with --model"),
            ("--model none --heads all",
             "--heads goes with --preset, not with --model"),
            ("--model none --vocab 9",
             "--vocab goes with --preset, not with --model"),
            ("--preset seed --heads adaptive:2+0-3",
             "k_min is 0, it must lie between 1 and k, 3"),
            ("--preset seed --heads adaptive:2+4-3",
             "k_min is 4, it must lie between 1 and k, 3"),
            ("--preset seed --heads adaptive:2+1-7", "k is 7, it must lie "
             "between 0 and the number of routed heads, 6"),
            ("--preset seed --heads random:3+6", "k is 6, it must lie between "
             "0 and the number of routed heads, 5"),
            ("--preset seed --heads random:3", "'random:3' is no choice of "
             "heads: write all, moh:S+K (S shared heads, K routed ones), "
             "norm:S+K, adaptive:S+MIN-MAX, random:S+K or static:N"),
            ("--preset seed --route-by group", "k is 4, it must lie between "
             "0 and the number of routed KV groups, 2"),
            ("--preset seed --route-by group --heads moh:5+0", "n_shared is "
             "5, it must lie between 0 and num_key_value_heads (routing is "
             "by group), 4"),
        ]:
            self.assert_fails(f"inspect {words}", 2,
                              f"moh inspect: {message} (see 'moh inspect "
                              "--help')")

    def test_training(self):
        self.write("full/file", "x")
        tail = " (see 'moh train --help')"
        start = "train --data facts.json --out run "
        self.assert_fails(start + "--epochs 2 --steps 3", 2, "moh train: "
                          "--epochs and --steps exclude each other" + tail)
        self.assert_fails(start + "--context 9 --max-seq-len 8", 2,
                          "moh train: --context 9 does not fit into "
                          "--max-seq-len 8" + tail)
        self.assert_fails("train --data facts.json --out full --overwrite",
                          2, "moh train: full is not empty and holds no "
                          "run; name another --out" + tail)
        self.assertFalse((self.folder / "run").exists())

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        (cls.folder / "full").mkdir()

    def test_mixing(self):
        tail = " (see 'moh tune --help')"
        start = "tune --model x --data facts.json --out y --mix "
        self.assert_fails(start + "facts.json", 2, "moh tune: --mix must be "
                          "FILE:SHARE, such as facts.json:0.3, not "
                          "'facts.json'" + tail)
        self.assert_fails(start + "facts.json:1", 2, "moh tune: the share of "
                          "--mix must lie between 0 and 1, not '1'" + tail)


class BadFiles(Case):
    """Broken data is exit code 3, a missing file 1; nothing is written."""

    def test_data(self):
        for name, content, message in [
            ("number.json", '["a b", 3]', "number.json: element 1 (counted "
             "from 0) is a number; every element must be a string, or an "
             'object whose field "text" is one'),
            ("object.json", "{}", 'object.json, line 1, column 1: not an '
             'array of strings; write ["first text", "second text"], or a '
             'text on each line of a .jsonl file'),
            ("empty.txt", "", "empty.txt: the file is empty"),
            ("latin.txt", b"ab\xe9", "latin.txt, line 1, byte 2 of the "
             "file: not UTF-8; convert the file, for example with iconv"),
            ("cut.json", '["a b",\n "c', "cut.json, line 2, column 3: not "
             "valid JSON: premature end of input near '\"c'"),
            ("short.json", '["a"]', "short.json: no text of 2 tokens or "
             "more to learn from"),
        ]:
            self.write(name, content)
            self.assert_fails(f"train --data {name} --out run", 3,
                              f"moh train: {message}")
            self.assertFalse((self.folder / "run").exists())

    def test_missing(self):
        reason = "No such file or directory"
        self.assert_fails("train --data none.json --out run", 1, "moh train: "
                          f"cannot open 'none.json': {reason}")
        self.assert_fails("generate --model none hi", 1, "moh generate: not "
                          "a model directory, or never finished: cannot "
                          f"open 'none/manifest.json': {reason}")


class Inspect(Case):
    def inspect(self, *words):
        code, out, err = self.run_in("inspect", "--json", *words)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def test_counts(self):
        got = self.inspect("--preset", "seed")["parameters"]
        self.assertEqual(got["total"], 577280)
        self.assertEqual(got["router_per_layer"], 1280)
        self.assertEqual(got["router"], 3840)
        self.assertEqual(got["position"], 24576)
        self.assertEqual(got["embedding"], 77440)
        self.assertEqual(got["other"], 0)
        dense = self.inspect("--preset", "seed", "--heads", "all")
        self.assertEqual(dense["parameters"]["total"], 573440)
        self.assertEqual(dense["active_heads"], 8)
        # The proper model: 256 V + 443,264, CoPE 24,576, routers 3,840.
        got = self.inspect("--preset", "seed-train", "--vocab", 1520)
        self.assertEqual(got["parameters"]["total"], 860800)
        got = self.inspect("--preset", "seed-train", "--vocab", 1520,
                           "--position", "learned", "--heads", "all")
        self.assertEqual(got["parameters"]["total"], 842624)
        got = self.inspect("--preset", "seed-train", "--vocab", 605,
                           "--position=rope", "--heads=static:6")
        self.assertEqual(got["parameters"]["total"], 598144)
        self.assertEqual(got["active_heads"], 6)

    def test_changes(self):
        got = self.inspect("--preset", "seed", "--n-heads", 4, "--norm",
                           "layer", "--ffn", "relu", "--heads", "moh:1+1",
                           "--layers", 2, "--tied", "--norm-placement=pre")
        self.assertEqual((got["heads"], got["kv_heads"]), (4, 2))
        self.assertEqual(got["config"]["head_dim"], 32)
        self.assertEqual((got["norm"], got["feed_forward"]),
                         ("LayerNorm", "ReLU"))
        self.assertEqual((got["layers"], got["shared_heads"]), (2, 1))
        self.assertEqual(got["parameters"]["output"], 0)
        # Two norms a layer and the final one, with gains and biases.
        self.assertEqual(got["parameters"]["norm"], 2 * 128 * (2 * 2 + 1))

    def test_multiply_adds(self):
        rows = self.inspect("--preset", "moh-s", "--max-seq-len", 8192)
        rows = rows["multiply_adds"]
        self.assertEqual([row["context"] for row in rows],
                         [1, 256, 1024, 4096, 8192])
        for row in rows:
            saving = 100 - 100 * row["active"] / row["dense"]
            self.assertAlmostEqual(row["saving_percent"], saving)
        # 3 of 12 heads of 12 layers off: Q and O rows, scores and values.
        head = 2 * 64 * 768 + 2 * 1024 * 64
        router = (3 + 9 + 2) * 768 * 12
        self.assertEqual(rows[2]["router"], router)
        self.assertEqual(rows[2]["dense"] - rows[2]["active"],
                         3 * 12 * head - router)

    def test_multiply_adds_of_positions(self):
        # q . e of 64 positions in 9 heads of 12 layers, whatever the context
        words = "--preset", "moh-s", "--position"
        cope = self.inspect(*words, "cope")["multiply_adds"]
        rope = self.inspect(*words, "rope")["multiply_adds"]
        for with_cope, without in zip(cope, rope):
            self.assertEqual(with_cope["positions"], 64 * 64 * 9 * 12)
            self.assertEqual(without["positions"], 0)
            self.assertEqual(with_cope["active"] - without["active"],
                             64 * 64 * 9 * 12)

    def test_groups(self):
        # 2 of 3 groups of 4 heads, whose router scores groups
        got = self.inspect("--preset", "moh-s", "--kv-heads", 3,
                           "--route-by", "group", "--heads", "moh:1+1")
        self.assertEqual((got["heads"], got["active_heads"],
                          got["shared_heads"], got["heads_each"]),
                         (12, 8, 4, 4))
        self.assertEqual(got["config"]["moh"]["heads"]["route_by"], "group")
        self.assertEqual(got["parameters"]["router_per_layer"], (2 + 2) * 768)
        row = got["multiply_adds"][2]
        self.assertEqual(row["router"], (2 + 2) * 768 * 12)
        self.assertEqual(row["dense"] - row["active"], 4 * 12 * (
            2 * 64 * 768 + 2 * 1024 * 64) - row["router"])
        got = self.inspect("--preset", "moh-s")
        self.assertNotIn("route_by", got["config"]["moh"]["heads"])
        self.assertEqual(got["heads_each"], 1)

    def test_text(self):
        start = "--preset moh-s --heads "
        for name, words in [
                ("seed", "--preset seed"), ("moh-s", "--preset moh-s"),
                ("seed-train", "--preset seed-train --vocab 1520"),
                ("llama", start + "all"),
                ("gqa", start + "all --kv-heads 4"),
                ("mqa-routed", start + "moh:0+6 --kv-heads 1"),
                ("groups", start + "moh:1+1 --kv-heads 3 --route-by group"),
                ("biases", start + "moh:2+4 --bias-balance 0.001"),
                ("shared", start + "moh:6+0 --gate-scale paper"),
                ("pruned", start + "static:6"),
                ("random", start + "random:2+4 --route-seed 7"),
                ("by-query", start + "norm:2+4"),
                ("groups-by-query", start + "norm:1+1 --kv-heads 3 "
                 "--route-by group"),
                ("by-mass", start + "adaptive:2+1-8 --head-mass 0.6"),
                ("gpt-2", start + "all --position learned --norm layer "
                 "--ffn relu"),
                ("original", start + "all --position learned --norm layer "
                 "--ffn relu --norm-placement post"),
                ("tanh", start + "all --norm dyt"),
                ("qwen2", start + "all --attention-bias qkv --tied"),
                ("qwen3", start + "moh:2+4 --qk-norm --attention-bias all "
                 "--rope-scaling llama3:8,1,4,8192"),
                ("mlp-bias", start + "all --attention-bias all --mlp-bias"),
                ("cope", start + "all --position cope --tied"),
                ("hrm", start + "moh:2+4 --architecture hrm --hrm-cycles 3"),
                ("experts", start + "all --experts 0+2/8 --expert-hidden 96"),
                ("both", start + "moh:2+4 --experts 1+1/4 --ffn relu"),
                ("hypermixer", start + "moh:2+4 --architecture hypermixer"),
                ("mistral", start + "all --kv-heads 4 --window 32"),
                ("adaptive", start + "moh:2+4 --window length:16-64"),
                ("entropy", start + "moh:2+4 --window entropy:16-64"),
                ("plain", start + "all --position none --ffn relu "
                 "--final-norm off --output-projection off"),
                ("dense", start + "all --kv-heads 4 --position learned "
                 "--norm layer --ffn relu --norm-placement post --tied")]:
            code, out, err = self.run_in("inspect", *words.split())
            self.assertEqual((code, err), (0, ""))
            self.assertEqual({len(line) for line in out.splitlines()}, {79})
            # Bytes of working memory may change; what the model is may not.
            self.assert_text(f"inspect-{name}.txt",
                             out[:out.index("+- memory")])

    def test_hrm_options(self):
        for words in ["--hrm-cycles 2", "--hrm-steps 2",
                      "--hrm-gradient exact", "--hrm-supervision 2"]:
            self.assert_fails(
                f"inspect --preset nano {words}", 2,
                "moh inspect: --hrm-cycles, --hrm-steps, --hrm-gradient and "
                "--hrm-supervision need --architecture hrm (see 'moh inspect "
                "--help')")
        code, _, err = self.run_in(*"inspect --preset nano --vocab 9 "
                                   "--architecture hrm --layers 3".split())
        self.assertEqual(code, 2)
        self.assertIn("must be even with hrm", err)
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", "hrm", *TINY,
            "--architecture", "hrm", "--layers", 2, "--epochs", 3,
            "--hrm-supervision", 2)
        self.assertEqual(code, 0, err)
        code, out, err = self.run_in("generate", "-m", "hrm", "the", "-n", 3)
        self.assertEqual(code, 0, err)
        self.assertEqual(self.run_in("verify", "hrm")[0], 0)
        code, out, err = self.run_in("routes", "-m", "hrm", "--text", "the")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("    5  ", out)  # of six passes

    def test_hypermixer_options(self):
        for words in ["--hyper-width 2", "--hyper-mix 2"]:
            self.assert_fails(
                f"inspect --preset nano {words}", 2,
                "moh inspect: --hyper-width and --hyper-mix need "
                "--architecture hypermixer (see 'moh inspect --help')")
        start = "inspect --preset nano --vocab 9 --architecture hypermixer "
        for words, wrong in [("--position rope", "position rope"),
                             ("--position cope", "position cope"),
                             ("--window 9", "a window"),
                             ("--kv-heads 2", "num_key_value_heads"),
                             ("--heads moh:1+1 --route-by group",
                              "route_by group"),
                             ("--output-projection on",
                              "output_projection")]:
            code, out, err = self.run_in(*(start + words).split())
            self.assertEqual((code, out), (2, ""), words)
            self.assertIn(wrong, err)
            self.assertIn("does not go with the architecture hypermixer",
                          err)
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", "mixer",
            "--architecture", "hypermixer", "--layers", 2, "--d-model", 16,
            "--d-ff", 16, "--n-heads", 2, "--heads", "moh:1+1", "-t", 1,
            "--epochs", 3)
        self.assertEqual(code, 0, err)
        for words in ["generate -m mixer the -n 3", "verify mixer",
                      "generate -m mixer the -n 3 --beam 3",
                      "eval -m mixer facts.json", "inspect --model mixer",
                      "routes -m mixer --text the"]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 0, err)

    def test_expert_options(self):
        for words, wrong in [
                ("--expert-hidden 9", "--expert-hidden needs --experts"),
                ("--experts 2/8", "'2/8' is no choice of experts: write "
                 "none, or S+K/E (S shared experts, and K of E routed ones)"),
                ("--experts 0+0/8", "experts.k is 0, it must lie between 1 "
                 "and experts.n_routed, 8"),
                ("--experts 0+9/8", "experts.k is 9, it must lie between 1 "
                 "and experts.n_routed, 8"),
                ("--experts 0+1/5000", "experts.n_routed is 5000, it must "
                 "lie between 1 and 4096"),
                ("--experts 9999+1/8", "experts.n_shared is 9999, it must "
                 "lie between 0 and 4096")]:
            self.assert_fails(f"inspect --preset seed {words}", 2,
                              f"moh inspect: {wrong} (see 'moh inspect "
                              "--help')")
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", "experts", *TINY,
            "--experts", "1+1/4", "--expert-hidden", 9, "--expert-beta",
            0.05, "--expert-z-loss", 0.001, "--epochs", 3)
        self.assertEqual(code, 0, err)
        for words in ["generate -m experts the -n 3", "verify experts",
                      "generate -m experts the -n 3 --beam 3",
                      "eval -m experts facts.json",
                      "inspect --model experts"]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 0, err)

    def test_bad_windows(self):
        for window in ["0", "-1", "x", "3x", "length:", "length:3",
                       "length:5-4", "length:0-4", "", "entropy:", "entropy:5-4",
                       "sliding:1-2", "perplexity:0-4", "lengthy:1-2"]:
            code, out, err = self.run_in("inspect", "--preset", "seed",
                                         f"--window={window}")
            self.assertEqual((code, out), (2, ""), window)
            self.assertRegex(err, "window")

    def test_locale(self):
        _, out, _ = self.run_in("inspect", "--preset", "seed",
                                env={"LC_ALL": "C.UTF-8"})
        self.assertEqual({len(line) for line in out.splitlines()}, {79})
        self.assertTrue(out.startswith("\u250c\u2500 seed "))


class RoundTrip(Case):
    """One small run, made once, that the tests look at."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained = moh(
            "train", "--data", "facts.json", "--extra-vocab=talk.json",
            "--out", "run", "--epochs", 60, "--batch", 3, "--json",
            "--checkpoint-every", 10, *TINY, cwd=cls.folder)

    def test_train(self):
        code, out, err = self.trained
        self.assertEqual(code, 0, err)
        result = json.loads(out)
        self.assertEqual((result["out"], result["steps"]), ("run", 60))
        self.assertEqual(result["train"]["tokens"], 4 + 3 + 4)
        self.assertLess(result["train"]["loss"], 2.0)
        self.assertIn("facts.json: 3 examples, 14 tokens\n", err)
        self.assertIn("step 60/60  loss ", err)
        self.assertNotIn("\033", err)
        self.assertLessEqual(err.count("\nstep "), 21)

    def test_files(self):
        run = self.folder / "run"
        self.assertEqual(sorted(os.listdir(run)),
                         ["checkpoints", "final", "log.jsonl",
                          "result.json", "run.json"])
        self.assertEqual(sorted(os.listdir(run / "checkpoints")),
                         ["step-000050", "step-000060"])
        lines = [json.loads(line) for line in
                 (run / "log.jsonl").read_text().splitlines()]
        self.assertEqual(len(lines), 61)
        self.assertEqual([line["step"] for line in lines[:60]],
                         list(range(1, 61)))
        self.assertLess(lines[59]["loss"], lines[0]["loss"])
        self.assertEqual(lines[60]["eval"]["data"], "train")
        record = json.loads((run / "run.json").read_text())
        self.assertEqual(record["command"], "train")
        self.assertEqual(record["options"]["extra-vocab"], ["talk.json"])
        self.assertEqual(record["training"]["epochs"], 60)
        self.assertEqual(record["model"]["num_hidden_layers"], 1)

    def test_inspect(self):
        result = json.loads(self.trained[1])
        code, out, _ = self.run_in("inspect", "--model", "run", "--verify",
                                   "--json")
        self.assertEqual(code, 0)
        counts = json.loads(out)["parameters"]
        self.assertEqual(counts["total"], result["parameters"])
        # Vocabulary: 9 words of the facts, then User : ? Assistant, <unk>.
        self.assertEqual(counts["embedding"], (9 + 4 + 1) * 16)

    def test_tune(self):
        code, out, err = self.run_in(
            "tune", "--model", "run", "--data", "talk.json", "--mix",
            "facts.json:0.4", "--out", "tuned", "--epochs", 20, "-t1")
        self.assertEqual(code, 0, err)
        self.assertRegex(err, r"(?m)^step \d+/\d+  loss \d.*  mix \d")
        lines = out.splitlines()
        self.assertEqual([line[:13] for line in lines],
                         ["training data", "mixed-in data", "final model  "])
        number = r"\d+\.\d{4}"
        self.assertRegex(lines[0], f"loss {number} per token, {number} mean "
                         r"of sequences \(24 tokens\)$")
        self.assertRegex(lines[1], r"\(11 tokens\)$")
        self.write("new.json", '["the moon is new"]')
        code, out, err = self.run_in(
            "tune", "--model", "tuned", "--data", "new.json", "--out",
            "tuned2", "--steps", 1, "--json", "-t1")
        self.assertEqual(code, 0, err)
        self.assertIn("4 tokens, 2 of them not in the vocabulary\n", err)
        self.assertEqual(json.loads(out)["unknown_tokens"], 2)

    def test_same_seed_same_model(self):
        results = []
        for threads in ("1", "2"):
            code, _, err = self.run_in(
                "train", "--data", "facts.json", "--out", f"t{threads}",
                "--steps", 5, *TINY[:-1], threads)
            self.assertEqual(code, 0, err)
            path = self.folder / f"t{threads}/final/model.safetensors"
            results.append(path.read_bytes())
        self.assertEqual(results[0], results[1])

    def test_held_out_and_overwrite(self):
        words = ["train", "--data", "facts.json", "--out", "held",
                 "--held-out", 0.34, "--steps", 4, *TINY]
        code, out, err = self.run_in(*words)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"(?m)^held-out data loss \d")
        self.assertRegex(out, r"(?m)^best model    loss .*: held/best$")
        self.assertIn("step 1: held out ", err)
        self.assertEqual(self.run_in("inspect", "-m", "held/best")[0], 0)
        self.assert_fails(words, 2, "moh train: held holds a run already; "
                          "name another --out, or replace it with "
                          "--overwrite (see 'moh train --help')")
        self.write("held/mine.txt", "kept")
        words[words.index("--held-out") + 1] = 0
        code, _, err = self.run_in(*words, "--overwrite")
        self.assertEqual(code, 0, err)
        self.assertEqual(sorted(os.listdir(self.folder / "held")),
                         ["final", "log.jsonl", "mine.txt", "result.json",
                          "run.json"])

    def test_plain_text(self):
        self.write("text.txt", "to be or not to be\n" * 40)
        code, out, err = self.run_in(
            "train", "--data", "text.txt", "--out", "text", "--steps", 3,
            "--context", 16, *TINY)
        self.assertEqual(code, 0, err)
        self.assertIn("model     nano: ", err)
        self.assertIn("text.txt: 760 tokens\n", err)
        self.assertRegex(out, r"(?m)^held-out data loss ")
        code, out, _ = self.run_in("generate", "-m", "text", "to be", "-n5",
                                   "--json")
        self.assertEqual(json.loads(out)["prompt_tokens"], 5)


class BrokenModels(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        moh("train", "--data", "facts.json", "--out", "run", "--steps", 1,
            *TINY, cwd=cls.folder)

    def broken(self):
        path = self.folder / "broken"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "run/final", path)
        return path

    def test_cut_weights(self):
        weights = self.broken() / "model.safetensors"
        size = weights.stat().st_size
        os.truncate(weights, size - 8)
        self.assert_fails(
            "generate -m broken the", 3, "moh generate: "
            f"broken/model.safetensors: has {size - 8} bytes, but the "
            f"manifest says {size}: it was cut, changed or not fully copied")

    def test_flipped_byte(self):
        weights = self.broken() / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        code, out, err = self.run_in("generate", "-m", "broken", "--verify",
                                     "the")
        self.assertEqual((code, out), (3, ""))
        self.assertRegex(err, "^moh generate: broken/model.safetensors: .*"
                         "\n$")

    def test_config(self):
        config = self.broken() / "config.json"
        text = config.read_text()
        config.write_text(text.replace('"n_shared": 1', '"n_shared": 9'))
        self.assert_fails(
            "inspect -m broken", 3, "moh inspect: broken/config.json: "
            "n_shared is 9, it must lie between 0 and num_attention_heads, "
            "2")

    def test_without_tokenizer(self):
        """A whole model of token ids only: commands that need texts say so."""
        model = self.folder / "no-words"
        shutil.copytree(self.folder / "run" / "final", model)
        (model / "tokenizer.json").unlink()
        path = model / "manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["files"]["tokenizer.json"]
        manifest["manifest_sha256"] = "0" * 64
        text = json.dumps(manifest, indent=2) + "\n"
        seal = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(text.replace("0" * 64, seal))
        self.assertEqual(self.run_in("inspect", "-m", model)[0], 0)
        for words in (["generate", "-m", model, "x"], ["chat", "-m", model],
                      ["eval", "-m", model, "facts.json"],
                      ["tune", "-m", model, "-d", "facts.json", "-o", "t"]):
            code, out, err = self.run_in(*words)
            self.assertEqual((code, out), (3, ""), err)
            self.assertIn("no-words has no tokenizer.json", err)

    def test_examples_without_an_end(self):
        self.write("open.json", json.dumps(["a b c", "b c a"]))
        for data, warned in (("open.json", True), ("facts.json", False)):
            code, _, err = self.run_in(
                "train", "--data", data, "--out", f"ends-{data}", "--steps",
                1, *TINY)
            self.assertEqual(code, 0, err)
            self.assertEqual("no example ends with </s>" in err, warned)

    def test_more_memory_than_there_is(self):
        code, _, err = self.run_in(
            "train", "--data", "facts.json", "--out", "vast", "--batch",
            65536, "--layers", 12, "--context", 80)
        self.assertEqual(code, 1)
        self.assertIn("of memory, and the machine has", err)
        self.assertFalse((self.folder / "vast").exists())

    def test_tokenizer_over_its_text(self):
        before = self.facts.read_bytes()
        code, _, err = self.run_in("tokenize", "--train", "facts.json", "-o",
                                   "./facts.json", "--overwrite")
        self.assertEqual(code, 2)
        self.assertIn("is one of the texts", err)
        self.assertEqual(self.facts.read_bytes(), before)


class Signals(Case):
    def start(self, out):
        """A run too long to end by itself, some steps under way."""
        log = self.folder / out / "log.jsonl"
        run = subprocess.Popen(
            [MOH, "train", "--data", "facts.json", "--out", out, "--steps",
             "100000000", *TINY], cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        deadline = time.monotonic() + 60
        while not (log.exists() and log.stat().st_size > 0):
            self.assertLess(time.monotonic(), deadline, "no step was made")
            self.assertIsNone(run.poll())
            time.sleep(0.01)
        return run

    def test_interrupt(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            out = f"stopped-{int(number)}"
            run = self.start(out)
            run.send_signal(number)
            stdout, stderr = run.communicate(timeout=60)
            self.assertEqual((run.returncode, stdout), (130, b""))
            last = stderr.decode().splitlines()[-1]
            match = re.fullmatch(
                r"moh train: interrupted after step (\d+); nothing is lost: "
                rf"go on with 'moh train --resume {out}'", last)
            self.assertIsNotNone(match, last)
            log = (self.folder / out / "log.jsonl").read_text().splitlines()
            self.assertEqual(json.loads(log[-1])["step"], int(match[1]))
            state = f"{out}/checkpoints/step-{int(match[1]):06}"
            code, _, err = self.run_in("inspect", "--verify", "-m", state)
            self.assertEqual(code, 0, err)


if __name__ == "__main__":
    main()
