"""Tests of moh upcycle: a dense model becomes one whose tokens choose their
heads; what is written, what it says, and that tuning goes on from it.
"""

import hashlib
import json

from support import Case, main, moh

SIZES = ("--layers 2 --d-model 16 --d-ff 16 --n-heads 4 --threads 1 "
         "--steps 30").split()
PROJECTION = "model.layers.0.self_attn.q_proj.weight"
TEXT = "to be or not to be, that is the question\n" * 60


class Upcycling(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write("text.txt", TEXT)
        for name, more in [("dense", ["--kv-heads", 2]),
                           ("mha", ["--kv-heads", 4]),
                           ("mixer", ["--architecture", "hypermixer"])]:
            code, _, err = moh("train", "--data", "text.txt", "--out", name,
                               *SIZES, "--heads", "all", *more,
                               cwd=cls.folder)
            assert code == 0, err
        code, _, err = moh("train", "--data", "text.txt", "--out", "routed",
                           *SIZES, "--heads", "moh:1+2", cwd=cls.folder)
        assert code == 0, err

    def upcycle(self, out, heads, *more, model="dense", data="text.txt"):
        code, text, err = self.run_in(
            "upcycle", "--model", model, "--data", data, "--heads",
            heads, "--out", out, "--threads", 1, *more)
        self.assertEqual((code, err), (0, ""))
        return text

    def config(self, name):
        return json.loads((self.folder / name / "config.json").read_text())

    def check_model(self, name):
        for words in [f"verify {name}", f"generate -m {name} -n 3 to",
                      f"inspect -m {name}"]:
            code, _, err = self.run_in(*words.split())
            self.assertEqual(code, 0, err)

    def test_norm(self):
        """The weights of the dense model, byte for byte; no others."""
        text = self.upcycle("norm", "norm:2+1")
        self.assertRegex(text, r"^heads        norm:2\+1: 3 of 4 for a token, "
                               r"on [\d,]+ tokens\n"
                               r"all heads    largest difference of a logit "
                               r"0\n"
                               r"these heads  largest [\d.e-]+, divergence "
                               r"[\d.]+ nats a token, the same first token "
                               r"[\d.]+ %\n"
                               r"perplexity   [\d.]+ -> [\d.]+\n"
                               r"model        norm\n$")
        heads = self.config("norm")["moh"]["heads"]
        self.assertEqual(heads, {"strategy": "norm", "n_shared": 2, "k": 1,
                                 "gate_scale": "one",
                                 "balance_weight": 0.01})
        self.assertEqual(
            (self.folder / "norm/model.safetensors").read_bytes(),
            (self.folder / "dense/final/model.safetensors").read_bytes())
        self.check_model("norm")

    def test_learned(self):
        """A router that chooses as norms do, more often than by chance."""
        receipt = json.loads(self.upcycle("moh", "moh:1+1", "--json", "-c",
                                          32))
        router = receipt["router"]
        self.assertGreater(router["agreement"], router["by_chance"] + 0.2)
        self.assertAlmostEqual(router["by_chance"], 1 / 3)
        self.assertEqual(len(router["layers"]), 2)
        self.assertEqual(router["fitted_tokens"] + router["checked_tokens"],
                         receipt["tokens"])
        heads = self.config("moh")["moh"]["heads"]
        self.assertEqual((heads["strategy"], heads["gate_scale"]),
                         ("moh", "one"))
        self.check_model("moh")

    def test_receipt(self):
        """On which data; with all heads the dense model; the perplexities are
        those that moh eval finds."""
        receipt = json.loads(self.upcycle(
            "receipt", "norm:1+1", "--route-by", "group", "--json",
            "--calibration-tokens", 400, "-c", 1000 // 16))
        manifest = json.loads(
            (self.folder / "receipt" / "manifest.json").read_text())
        self.assertEqual(manifest["upcycling"], receipt)
        data = (self.folder / "text.txt").read_bytes()
        self.assertEqual(receipt["data"], [{
            "file": "text.txt", "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest()}])
        self.assertEqual(
            (receipt["heads"], receipt["route_by"], receipt["active_heads"],
             receipt["tokens"], receipt["context"],
             receipt["all_heads_largest_difference"]),
            ("norm:1+1", "group", 4, 400, 62, 0))
        self.assertNotIn("router", receipt)
        # one of one routed group: all heads
        chosen = receipt["chosen"]
        self.assertEqual((chosen["largest_difference"], chosen["divergence"],
                          chosen["same_first"]), (0, 0, 1))
        self.assertEqual(chosen["perplexity"], chosen["dense_perplexity"])

    def test_perplexity(self):
        receipt = json.loads(self.upcycle("whole", "norm:0+1", "--json", "-c",
                                          64, model="mha"))
        for model, key in [("mha", "dense_perplexity"),
                           ("whole", "perplexity")]:
            _, out, _ = self.run_in("eval", "-m", model, "text.txt", "-c", 64,
                                    "--json")
            self.assertAlmostEqual(
                json.loads(out)["total"]["perplexity"]
                / receipt["chosen"][key], 1, 5)

    def test_texts(self):
        """Several texts are compared one by one, as moh eval reads them."""
        self.write("texts.jsonl", "\n".join(
            json.dumps(t) for t in [TEXT[:30], "", "t", TEXT[3:90]]))
        words = ["--json", "-c", 16, "--calibration-tokens"]
        for n, limit in [(31 + 87, 29 + 86), (61, 29 + 29)]:
            receipt = json.loads(self.upcycle(
                f"texts-{n}", "norm:1+1", *words, n, model="mha",
                data="texts.jsonl"))
            self.assertEqual(receipt["tokens"], n)
            for model, key in [("mha", "dense_perplexity"),
                               (f"texts-{n}", "perplexity")]:
                _, out, _ = self.run_in("eval", "-m", model, "texts.jsonl",
                                        "-c", 16, "--json", "--limit", limit)
                self.assertAlmostEqual(
                    json.loads(out)["total"]["perplexity"]
                    / receipt["chosen"][key], 1, 5)
        self.write("short.jsonl", '"t"\n"o"\n')
        self.assert_fails("upcycle -m dense --data short.jsonl --heads "
                          "norm:1+1 --out short", 3, "moh upcycle: the data "
                          "have no text of 2 tokens or more")

    def test_tuning(self):
        """Gradients go through gates of 1: tuning lowers the loss, a router
        and the queries move; it stops and goes on to the same bits."""
        for name, heads in [("by-norm", "norm:1+1"), ("by-router", "moh:1+1")]:
            self.upcycle(name, heads, model="mha")
            start = ["tune", "--model", name, "--data", "text.txt", "--steps",
                     8, "-t1", "--freeze", "embeddings,feed-forward,norms"]
            for out in ["one", "two"]:
                code, _, err = self.run_in(*start, "--out", f"{name}-{out}",
                                           "--checkpoint-every", 4)
                self.assertEqual(code, 0, err)
            files = [(self.folder / f"{name}-{out}/final/model.safetensors")
                     .read_bytes() for out in ["one", "two"]]
            self.assertEqual(files[0], files[1])
            self.assertEqual(self.config(f"{name}-one/final")["moh"],
                             self.config(name)["moh"])
            log = [json.loads(line) for line in
                   (self.folder / f"{name}-one/log.jsonl").read_text()
                   .splitlines()]
            losses = [line["loss"] for line in log
                      if "loss" in line and "grad_norm" in line]
            self.assertLess(losses[-1], losses[0])

    def read(self, name):
        """The tensors' descriptions, and all of their bytes."""
        raw = (self.folder / name / "model.safetensors").read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:8 + size])
        header.pop("__metadata__", None)
        return header, raw[8 + size:]

    def tensors(self, name):
        """Bytes of each tensor."""
        header, raw = self.read(name)
        return {key: raw[slice(*at["data_offsets"])]
                for key, at in header.items()}

    def types(self, name):
        return {key: at["dtype"] for key, at in self.read(name)[0].items()}

    def test_stored(self):
        """Matrices of 16 bits stay as they are; blocks become f32."""
        for weights, bits in [("f16", "F16"), ("bf16", "BF16"),
                              ("q8_0", "F32")]:
            dense, routed = "dense-" + weights, "routed-" + weights
            code, _, err = self.run_in("quantize", "dense", "--out", dense,
                                       "--weights", weights)
            self.assertEqual((code, err), (0, ""))
            self.upcycle(routed, "norm:2+1", model=dense)
            code, _, err = self.run_in(
                "prune", "--model", dense, "--keep", 2, "--data", "text.txt",
                "--out", "cut-" + weights, "-t1")
            self.assertEqual(code, 0, err)
            for name in (routed, "cut-" + weights):
                self.assertEqual(self.types(name)[PROJECTION], bits)
            if bits != "F32":
                self.assertEqual(self.tensors(routed), self.tensors(dense))

    def test_lora(self):
        """Adapters are merged into the matrices that have them; those and
        routers are all that moves."""
        self.upcycle("base", "moh:1+1", model="mha")
        code, _, err = self.run_in(
            "tune", "--model", "base", "--data", "text.txt", "--out",
            "adapted", "--steps", 6, "-t1", "--lora", "2:8", "--lora-on",
            "q_proj,mlp", "--held-out", 0.2, "--checkpoint-every", 3)
        self.assertEqual(code, 0, err)
        before, after = self.tensors("base"), self.tensors("adapted/final")
        moved = {name for name in before if before[name] != after[name]}
        self.assertEqual(set(before), set(after))
        self.assertEqual(
            {name for name in before if ".q_proj." in name or ".mlp." in name
             or name.endswith(".wg.weight")}, moved)
        self.check_model("adapted/final")
        code, out, err = self.run_in("verify", "adapted")
        self.assertEqual((code, err), (0, ""), out)
        half = "adapted/checkpoints/step-000003"
        for words in (["eval", "-m", half, "text.txt"],
                      ["quantize", half, "--out", "q", "-w", "f16"]):
            code, _, err = self.run_in(*words)
            self.assertEqual(code, 2)
            self.assertIn(f"{half} is in the middle of a training with "
                          "adapters", err)

    def test_lora_leaves_frozen_alone(self):
        """What --freeze names has no adapters, routers neither."""
        self.upcycle("base-frozen", "moh:1+1", model="mha")
        code, _, err = self.run_in(
            "tune", "--model", "base-frozen", "--data", "text.txt", "--out",
            "partly", "--steps", 3, "-t1", "--lora", 2, "--lora-on",
            "q_proj,mlp", "--freeze", "router,model.layers.0.*")
        self.assertEqual(code, 0, err)
        before = self.tensors("base-frozen")
        after = self.tensors("partly/final")
        moved = {name for name in before if before[name] != after[name]}
        self.assertEqual(
            {name for name in before if ".layers.0." not in name and
             (".q_proj." in name or ".mlp." in name)}, moved)

    def test_lora_refused(self):
        tail = " (see 'moh tune --help')"
        start = "tune --model dense --data text.txt --out new "
        for words, message in [
                ("--lora 0", "--lora must be RANK or RANK:ALPHA, such as 8 "
                 "or 8:16, not '0'"),
                ("--lora 2:", "--lora must be RANK or RANK:ALPHA, such as 8 "
                 "or 8:16, not '2:'"),
                ("--lora-on mlp", "--lora-on needs --lora RANK"),
                ("--lora 2 --agc 0.1", "agc and centralize look at rows of "
                 "matrices, and do not go with adapters"),
                ("--lora 2 --lora-on q_proj --freeze attention",
                 "every matrix called 'q_proj' is frozen: none is left to "
                 "adapt"),
                ("--lora 17", "adapters of rank 17 are larger than "
                 "model.layers.0.self_attn.q_proj.weight, of 16 by 16: train "
                 "that itself"),
                ("--lora 2 --lora-on head", "no matrix to adapt is called "
                 "'head': write parts of names, such as q_proj,v_proj")]:
            self.assert_fails(start + words, 2, "moh tune: " + message + tail)

    def test_refused(self):
        tail = " (see 'moh upcycle --help')"
        start = "upcycle --data text.txt --out new --model "
        for words, message in [
                ("dense --heads norm:9+9", "n_shared is 9, it must lie "
                 "between 0 and num_attention_heads, 4"),
                ("dense --heads static:2", "'static:2' is nothing to upcycle "
                 "to: write norm:S+K, heads by the norms of their queries, "
                 "or moh:S+K, by a router that is fitted to these"),
                ("dense --heads norm:2", "'norm:2' is no choice of heads: "
                 "write all, moh:S+K (S shared heads, K routed ones), "
                 "norm:S+K, adaptive:S+MIN-MAX, random:S+K or static:N"),
                ("dense --heads norm:4+0", "with 'norm:4+0' no head is "
                 "chosen: K must be positive"),
                ("routed --heads norm:1+1", "the model is not dense: its "
                 "tokens do not use all heads"),
                ("mixer --heads norm:1+1", "the model is a hypermixer: only "
                 "a transformer can be upcycled"),
                ("dense --heads norm:1+1 --context 999999", "--context "
                 "999999 is longer than the model's longest sequence, 64"),
                ("dense --heads moh:1+1 --calibration-tokens 8", "8 tokens "
                 "to fit routers on are too few: more than a window of 64 "
                 "are needed")]:
            self.assert_fails(start + words, 2,
                              "moh upcycle: " + message + tail)
        self.assert_fails(
            "upcycle --data text.txt --out dense --model dense --heads "
            "norm:1+1", 2,
            "moh upcycle: dense is not empty; name another --out" + tail)
        self.assert_fails("inspect --preset seed --heads norm:2+4 "
                          "--gate-scale unit", 2,
                          "moh inspect: gate_scale other than one does not go "
                          "with the strategy norm: heads are chosen by the "
                          "norms of their queries, and have gates of 1 (see "
                          "'moh inspect --help')")


if __name__ == "__main__":
    main()
