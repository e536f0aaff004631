"""Tests of moh routes and moh report: what they show against what the models
and the logs have.

Usage: seeing.py PATH_OF_MOH [--update] [TEST]...
"""

import html.parser
import json
import os
import xml.etree.ElementTree

from support import TINY, Case, main

HEADS = ("--layers 2 --d-model 16 --d-ff 16 --n-heads 4 --kv-heads 2 "
         "--heads moh:1+2 --threads 1 --epochs 4").split()
EXPERTS = ["--experts", "1+2/5", "--expert-hidden", 9]
SVG = "{http://www.w3.org/2000/svg}"


class Page(html.parser.HTMLParser):
    """Counts elements and sees that each one that opens is closed."""

    EMPTY = {"meta", "rect", "line", "circle", "polyline"}

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.text = [], {}, ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag == "meta":
            return
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.text += data


class Seeing(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for out, words in [("run", HEADS), ("both", HEADS + EXPERTS),
                           ("dense", [*TINY, "--heads", "all"]),
                           ("experts", [*TINY, "--heads", "all", *EXPERTS])]:
            code, _, err = cls.run_in(cls, "train", "--data", "facts.json",
                                      "--out", out, "--held-out", 0.4,
                                      "--eval-every", 1, *words)
            assert code == 0, err

    def routes(self, *words):
        code, out, err = self.run_in("routes", "-m", "run", *words)
        self.assertEqual((code, err), (0, ""))
        return out

    # ---- routes ----

    def test_json(self):
        got = json.loads(self.routes("--json", "--text", "ice is hot </s>",
                                     "--show", 3))
        self.assertEqual((got["n_tokens"], got["n_heads"],
                          got["n_shared_heads"]), (4, 4, 1))
        self.assertEqual([t["piece"] for t in got["tokens"]],
                         ["ice", "is", "hot"])
        for token in got["tokens"]:
            self.assertEqual(len(token["layers"]), 2)
            for layer in token["layers"]:
                self.assertEqual(len(layer["heads"]), 3)
                self.assertEqual(layer["heads"][0], 0)
                self.assertTrue(all(g > 0 for g in layer["gates"]))
        for layer in got["layers"]:
            self.assertAlmostEqual(layer["heads_per_token"], 3)
            self.assertEqual(layer["load"][0], 1)
            self.assertAlmostEqual(sum(layer["load"]), 3)
            self.assertLessEqual(layer["entropy"], 1 + 1e-12)

    def test_load_is_that_of_the_tokens(self):
        """All tokens shown: the loads are counts of what is shown."""
        got = json.loads(self.routes("--json", "facts.json"))
        self.assertEqual(got["n_tokens"], len(got["tokens"]))
        for i, layer in enumerate(got["layers"]):
            for head, load in enumerate(layer["load"]):
                gates = [g for t in got["tokens"]
                         for h, g in zip(t["layers"][i]["heads"],
                                         t["layers"][i]["gates"])
                         if h == head]
                self.assertAlmostEqual(load, len(gates) / got["n_tokens"])
                if gates:
                    self.assertAlmostEqual(layer["gate"][head],
                                           sum(gates) / len(gates), 5)

    def test_windows(self):
        """Longer than the longest sequence: pieces, each read anew."""
        text = " ".join(["ice is cold"] * 50)
        got = json.loads(self.routes("--json", "--text", text, "--show",
                                     1000))
        self.assertEqual(got["n_tokens"], 150)
        most = json.loads((self.folder / "run/final/config.json").read_text()
                          )["max_position_embeddings"]
        self.assertLess(most, 150)
        again = got["tokens"][most - most % 3:]  # the text repeats by 3
        first = got["tokens"][most:most + 3]
        self.assertEqual(len({json.dumps(t["layers"]) for t in again[:1]}), 1)
        self.assertEqual(
            [t["piece"] for t in first],
            [("ice", "is", "cold")[(most + i) % 3] for i in range(3)])
        got = json.loads(self.routes("--json", "--text", text, "--limit", 7))
        self.assertEqual(got["n_tokens"], 7)

    def test_terminal(self):
        out = self.routes("--text", "ice is hot", "facts.json", "--show", 2)
        lines = out.splitlines()
        self.assertEqual(lines[1].split(), ["token", "s123", "s123"])
        self.assertEqual([line.split()[0] for line in lines[2:4]],
                         ["ice", "is"])
        for line in lines[2:4]:
            for cells in line.split()[1:]:
                self.assertEqual(len(cells), 4)
                self.assertEqual(cells.count("."), 1)
        self.assertIn("17 tokens that used a head", lines[5])
        self.assertEqual(len(lines), 9)

    def test_svg(self):
        out = self.routes("--text", "<ice> & \"is\"", "--svg", "a.svg")
        self.assertIn("tokens that used a head", out)
        root = xml.etree.ElementTree.parse(self.folder / "a.svg").getroot()
        self.assertEqual(root.tag, SVG + "svg")
        texts = [t.text for t in root.iter(SVG + "text")]
        for word in ["layer 0", "layer 1", "shared, by gate"]:
            self.assertIn(word, texts)
        tips = [t.text for t in root.iter(SVG + "title")]
        n = len(json.loads(self.routes("--json", "--text", "<ice> & \"is\"")
                           )["tokens"])
        self.assertEqual(sum("gate" in t and "layer" in t for t in tips),
                         n * 2 * 3)

    def test_experts(self):
        for run, words in [("both", ["--experts"]), ("experts", [])]:
            code, out, err = self.run_in(
                "routes", "-m", run, *words, "--json", "--text",
                " ".join(["ice is hot"] * 30), "--show", 70)
            self.assertEqual((code, err), (0, ""))
            got = json.loads(out)
            self.assertEqual((got["n_tokens"], got["n_experts"],
                              got["n_shared_experts"]), (90, 6, 1))
            self.assertEqual(len(got["tokens"]), 70)
            for token in got["tokens"]:
                for layer in token["layers"]:
                    self.assertEqual((len(layer["experts"]),
                                      layer["experts"][0]), (3, 0))
                    self.assertEqual(layer["weights"][0], 1)
                    self.assertAlmostEqual(sum(layer["weights"]), 2, 5)
            for layer in got["layers"]:
                self.assertAlmostEqual(layer["experts_per_token"], 3)
                self.assertEqual(layer["load"][0], 1)
        code, out, err = self.run_in("routes", "-m", "both", "--json",
                                     "--text", "ice is hot")
        self.assertEqual(json.loads(out)["n_heads"], 4)
        code, out, err = self.run_in("routes", "-m", "both", "--experts",
                                     "--text", "ice", "--svg", "e.svg")
        self.assertIn("% of 1 token that used an expert", out)
        self.assertIn("experts/token", out)
        text = (self.folder / "e.svg").read_text()
        for words in ["expert 2", "routed, by weight", "3.00 experts",
                      "Experts in use"]:
            self.assertIn(words, text)

    def test_bad_routes(self):
        usage = "%s (see 'moh routes --help')"
        for words, code, message in [
                ("routes -m run", 2, usage % "a FILE or --text is missing"),
                ("routes -m dense facts.json", 2,
                 usage % "dense has no routers: every token uses the same "
                 "heads"),
                ("routes -m dense --experts facts.json", 2,
                 usage % "dense has no experts: every token uses the same "
                 "feed-forward"),
                ("routes -m run no.txt", 1,
                 "cannot open 'no.txt': No such file or directory"),
                ("routes -m run --show -1 facts.json", 2,
                 usage % "--show must lie between 0 and 10000, not '-1'")]:
            self.assert_fails(words, code, "moh routes: " + message)
        got, out, err = self.run_in("routes", "-m", "run", "facts.json",
                                    "--svg", "no/a.svg")
        self.assertEqual((got, out), (1, ""))
        self.assertIn("cannot create 'no/a.svg", err)
        got, _, err = self.run_in("routes", "-m", "run", "--text", " ")
        self.assertEqual(got, 2, err)
        self.assertIn("no token", err)

    # ---- report ----

    def report(self, run, *words):
        code, out, err = self.run_in("report", run, *words)
        self.assertEqual((code, err), (0, ""))
        return Page((self.folder / out.strip()).read_text())

    def test_report(self):
        page = self.report("run", "--text", "ice is <hot>")
        self.assertEqual(page.open, [])
        # Losses, norm, rate, load, entropy, balance, text, speed.
        self.assertEqual(page.counts["svg"], 8)
        self.assertNotIn("script", page.counts)
        self.assertNotIn("link", page.counts)
        result = json.loads((self.folder / "run/result.json").read_text())
        for key in ["train", "held_out"]:
            self.assertIn("%.4f" % result[key]["loss"], page.text)
        self.assertIn("held-out data", page.text)
        self.assertIn("before and after clipping", page.text)
        self.assertIn("router_init_std", page.text)

    def test_report_of_dense(self):
        page = self.report("dense", "--out", "dense.html")
        self.assertEqual(page.open, [])
        self.assertEqual(page.counts["svg"], 4)
        self.assertIn("has no routers", page.text)
        self.assertFalse((self.folder / "dense/report.html").exists())

    def test_report_of_experts(self):
        page = self.report("both", "--text", "ice is hot")
        # Beside the eight of heads: load, entropy, balance, text.
        self.assertEqual(page.counts["svg"], 12)
        for words in ["Load of the heads", "Load of the experts", "Text 1",
                      "Text 1, experts", "all experts alike",
                      "with all heads and experts"]:
            self.assertIn(words, page.text)
        page = self.report("experts", "--text", "ice", "--text", "hot")
        self.assertEqual(page.counts["svg"], 9)
        self.assertNotIn("Load of the heads", page.text)
        self.assertIn("Text 2, experts", page.text)

    def test_log_of_experts(self):
        lines = (self.folder / "both/log.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines if '"experts"' in line]
        self.assertGreater(len(steps), 0)
        for step in steps:
            self.assertEqual(len(step["experts"]), 2)
            for layer in step["experts"]:
                self.assertAlmostEqual(sum(layer["load"]), 2, 4)
                self.assertEqual(layer["dead"], layer["load"].count(0))
            total = (step["loss"] + 0.01 * step["balance_loss"]
                     + 0.01 * step["expert_balance_loss"])
            self.assertAlmostEqual(step["total_loss"], total, 6)

    def test_report_of_windows(self):
        code, _, err = self.run_in("train", "--data", "facts.json", "--out",
                                   "windows", *TINY, "--layers", 2, "--window",
                                   "perplexity:2-60")
        self.assertEqual(code, 0, err)
        log = (self.folder / "windows/log.jsonl").read_text().splitlines()
        steps = [line for line in map(json.loads, log) if "loss" in line]
        self.assertEqual(len(steps[0]["windows"]), 2)
        sizes = [step["windows"][0] for step in steps]
        self.assertEqual(sizes[0], 60)
        self.assertLess(sizes[-1], 60)
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        page = self.report("windows")
        self.assertIn("Window, tokens that a query sees", page.text)
        self.assertIn("narrowest layer", page.text)
        got = json.loads(self.run_in("inspect", "--model", "windows",
                                     "--json")[1])
        self.assertEqual(len(got["windows"]), 2)
        self.assertLessEqual(got["windows"][0], sizes[-1])

    def test_samples_are_the_data(self):
        page = self.report("run", "--show", 2)
        self.assertEqual(page.counts["svg"], 9)
        self.assertIn("load: of 2 tokens", page.text)

    def test_unfinished(self):
        """A run that was killed while it wrote a line."""
        folder = self.folder / "half"
        folder.mkdir()
        for name in ["run.json", "log.jsonl"]:
            text = (self.folder / "run" / name).read_text()
            if name == "log.jsonl":
                text = text[:text.index("\n") + 20]
            (folder / name).write_text(text)
        page = self.report("half")
        self.assertIn("not finished", page.text)
        self.assertIn("There is no model yet", page.text)

    def test_overwritten(self):
        for more in [[], ["--overwrite"]]:
            code, _, err = self.run_in("train", "--data", "facts.json",
                                       "--out", "again", *TINY, *more)
            self.assertEqual(code, 0, err)
            self.assertFalse((self.folder / "again/report.html").exists())
            self.report("again")
        code, out, err = self.run_in("verify", "again")
        self.assertEqual((code, err), (0, ""))

    def test_others_stay(self):
        """What is under the name and not from the same command is kept."""
        there = ("is there already, and is nothing that was written here "
                 "before; name another file")
        self.write("notes", "<svg> and <!DOCTYPE html>")
        (self.folder / "link").symlink_to("a-file")
        os.mkfifo(self.folder / "pipe")
        for name in ["notes", "link", "pipe"]:
            for words in [f"routes -m run --text ice --svg {name}",
                          f"report run --out {name}"]:
                code, _, err = self.run_in(*words.split())
                self.assertEqual(code, 2)
                self.assertIn(f"{name} {there}", err)
        self.assertEqual((self.folder / "notes").read_text(),
                         "<svg> and <!DOCTYPE html>")
        self.assertTrue((self.folder / "pipe").is_fifo())
        for _ in range(2):
            for words in ["routes -m run --text ice --svg ours.svg",
                          "report run --out ours.html"]:
                self.assertEqual(self.run_in(*words.split())[0], 0)

    def test_bad_report(self):
        folder = self.folder / "bad"
        folder.mkdir()
        self.assert_fails("report bad", 2,
                          "moh report: bad is not the directory of a run: "
                          "it has no run.json (see 'moh report --help')")
        good = (self.folder / "run/run.json").read_text()
        (folder / "run.json").write_text(good)
        for text, message in [
                ("", "bad/log.jsonl has no step yet"),
                ("[]\n{\n", "bad/log.jsonl, line 2"),
                ('{"step":1}\n{"step":"x"}\n', "bad/log.jsonl, line 2"),
                ("[]\n{\n", "bad/log.jsonl, line 2, column 1: "),
                ('{"step":1,"loss":"x"}\n', 'line 1: the field "loss"'),
                ('{"step":1,"loss":1e300}\n', 'line 1: the field "loss"'),
                ('{"step":1,"lr":[1]}\n', 'line 1: the field "lr"'),
                ('{"step":1,"skipped":1}\n', 'line 1: the field "skipped"'),
                ('{"step":1,"heads":[{"load":["x"]}]}\n', 'line 1: "heads"'),
                ('{"step":1,"heads":{}}\n', 'line 1: "heads"'),
                ('{"step":1,"windows":[null,"x"]}\n', 'line 1: "windows"'),
                ('{"eval":{"step":1,"data":"train","loss":true}}\n',
                 'line 1: the field "loss"'),
                ('{"step":1,"heads":[{"load":[1]}]}\n'
                 '{"step":2,"heads":[]}\n', "line 2: \"heads\" is not"),
                ('{"eval":{"step":1,"data":"x"}}\n', 'line 1: "data" is')]:
            (folder / "log.jsonl").write_text(text)
            code, out, err = self.run_in("report", "bad")
            self.assertEqual((code, out), (3, ""), err)
            self.assertIn(message, err)
        (folder / "run.json").write_text("{}")
        code, _, err = self.run_in("report", "bad")
        self.assertEqual(code, 3)
        self.assertIn('run.json has no "model"', err)


if __name__ == "__main__":
    main()
