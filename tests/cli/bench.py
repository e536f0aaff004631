"""Tests of moh bench: what is counted, which contenders take part, the shape
of tables and JSON, and what is refused. How long anything takes is never
asserted."""

import json
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from support import HERE, Case, main, moh

SMALL = ["--rounds", 1, "--layers", 2, "--d-model", 16, "--d-ff", 24,
         "--n-heads", 4, "--kv-heads", 2, "--position", "rope", "--vocab", 50]
LAYERS, D, FF, HEADS, KV, VOCAB = 2, 16, 24, 4, 2, 50
HEAD = 4  # d_head of the preset's rule d_model / n_heads
ROUTER = 5  # rows: 1 shared head has no score, 3 routed, 2 of the mix


def sub_layer(heads, router):
    """Multiply-adds of a token in a layer's attention, without context."""
    return 2 * heads * HEAD * D + 2 * KV * HEAD * D + router * D


def matrices(heads, router):
    """The same of a whole forward pass."""
    return LAYERS * (sub_layer(heads, router) + 3 * D * FF) + VOCAB * D


def pairs(tokens):
    return tokens * (tokens + 1) // 2


def prefill(tokens, heads, router):
    return (tokens * (matrices(heads, router) - VOCAB * D) + VOCAB * D
            + LAYERS * pairs(tokens) * 2 * heads * HEAD)


def training(tokens, heads, router):
    return 3 * (3 * tokens * matrices(heads, router)
                + LAYERS * 3.5 * pairs(tokens) * 2 * heads * HEAD)


def attention(tokens, heads, router):
    return 3 * (3 * tokens * sub_layer(heads, router)
                + 3.5 * pairs(tokens) * 2 * heads * HEAD)


def decoding(tokens, heads, router):
    return matrices(heads, router) + LAYERS * tokens * 2 * heads * HEAD


COUNTS = {"training": training, "prefill": prefill, "decoding": decoding,
          "attention": attention}
# heads in use and router rows of the usual contenders
USUAL = {"all heads": (4, 0), "75 %, masked": (4, ROUTER),
         "75 %, skipped": (3, ROUTER), "50 %, skipped": (2, ROUTER),
         "75 %, pruned": (3, 0)}


def bytes_read(tokens, heads, router, kv, size):
    """Of weights (size bytes an element) and of keys and values in f32."""
    sub = 2 * heads * HEAD * D + 2 * KV * HEAD * D
    layer = (sub + 3 * D * FF) * size + router * D * 4 + 2 * D * 4
    return (LAYERS * (layer + tokens * kv * 2 * HEAD * 4)
            + VOCAB * D * size + D * 4 + D * 4)


class Bench(Case):
    def bench(self, *words):
        code, out, err = moh("bench", *SMALL, "--d-head", HEAD, *words)
        self.assertEqual((code, err), (0, ""))
        return out

    def tables(self, *words):
        return json.loads(self.bench("--json", *words))

    def test_counts(self):
        tables = self.tables("--contexts", "5,9", "--batch", 3)
        kinds = ("training", "prefill", "decoding", "attention", "router")
        self.assertEqual([(t["work"], t["tokens"]) for t in tables],
                         [(w, n) for w in kinds for n in (5, 9)])
        for table in tables:
            batched = table["work"] not in ("prefill", "decoding")
            self.assertEqual(table["sequences"], 3 if batched else 1)
            if table["work"] != "router":
                self.assert_counts(table)

    def assert_counts(self, table):
        rows = {row["heads"]: row for row in table["contenders"]}
        self.assertEqual(list(rows), list(USUAL))
        masked, skipped = rows["75 %, masked"], rows["75 %, skipped"]
        self.assertGreater(masked["memory"]["work"],
                           skipped["memory"]["work"])
        count, n = COUNTS[table["work"]], table["tokens"]
        for name, (heads, router) in USUAL.items():
            row = rows[name]
            self.assertEqual(row["counted"], count(n, heads, router), name)
            ratio = count(n, heads, router) / count(n, HEADS, 0)
            self.assertAlmostEqual(row["counted_ratio"], ratio, places=9)
            self.assertEqual(row["bytes"], sum(row["memory"].values()))
            self.assertAlmostEqual(row["bytes_ratio"], row["bytes"]
                                   / rows["all heads"]["bytes"])
            saves = heads < HEADS
            self.assertEqual(row["kept_saving"] is not None, saves)
            self.assertEqual("kept_of" in row, saves)

    def test_positions_are_counted(self):
        # 10 rows times d_head: once forward; three times in backward, where
        # they are computed anew
        cope = self.tables("--contexts", 9, "--batch", 3, "--position", "cope",
                           "--cope-positions", 10)
        times = {"training": 3 * LAYERS * 4 * 9, "prefill": LAYERS * 9,
                 "decoding": LAYERS, "attention": 3 * 4 * 9}
        for table in cope:
            if table["work"] == "router":
                continue
            rows = {row["heads"]: row for row in table["contenders"]}
            for name, heads, router in (("all heads", 4, 0),
                                        ("75 %, masked", 4, ROUTER),
                                        ("75 %, skipped", 3, ROUTER)):
                self.assertEqual(
                    rows[name]["counted"],
                    COUNTS[table["work"]](9, heads, router)
                    + times[table["work"]] * heads * 10 * HEAD,
                    (name, table["work"]))

    def test_experts(self):
        width, router, tokens, batch = 7, 5 * D, 9, 3
        parts = {"dense, as large": 3 * D * 6 * width,
                 "all experts": 3 * D * 6 * width + router,
                 "1+2/5, skipped": 3 * D * 3 * width + router}
        times = {"training": 3 * batch * tokens, "prefill": tokens,
                 "decoding": 1, "feed-forward": 3 * batch * tokens}
        tables = self.tables("--experts", "1+2/5", "--expert-hidden", width,
                             "--contexts", tokens, "--batch", batch)
        self.assertEqual([t["work"] for t in tables], list(times))
        for table in tables:
            rows = table["contenders"]
            self.assertEqual([r["heads"] for r in rows], list(parts))
            self.assertEqual([r["masked"] for r in rows],
                             [False, True, False])
            self.assertEqual([r.get("experts") for r in rows],
                             [None, "1+2/5", "1+2/5"])
            work = table["work"]
            for row in rows:
                part = parts[row["heads"]]
                expected = times[work] * part
                if work != "feed-forward":
                    expected = COUNTS[work](tokens, HEADS, 0) + (
                        times[work] * LAYERS * (part - 3 * D * FF))
                self.assertEqual(row["counted"], expected, work)
            self.assertEqual([r["kept_saving"] is None for r in rows],
                             [True, True, False])
            if work == "decoding":  # the matrices of half of the experts
                saved = rows[1]["bytes_read"] - rows[2]["bytes_read"]
                self.assertEqual(saved, LAYERS * 3 * D * 3 * width * 4)

    def test_experts_and_heads(self):
        (table,) = self.tables("--experts", "0+1/2", "--contexts", 5,
                               "--work", "prefill", "--heads", "moh:1+2")
        self.assertEqual([r["heads"] for r in table["contenders"]],
                         ["dense, as large", "all experts", "0+1/2, skipped",
                          "moh:1+2"])
        self.assertIn("\n  experts  ", self.bench(
            "--experts", "0+1/2", "--contexts", 5, "--work", "prefill"))

    def test_router_is_apart(self):
        (table,) = self.tables("--contexts", 9, "--work", "router")
        rows = table["contenders"]
        self.assertEqual([(r["heads"], r["work"]) for r in rows],
                         [("75 %, skipped", "attention"),
                          ("  its router", "router"),
                          ("50 %, skipped", "attention"),
                          ("  its router", "router")])
        for whole, part in (rows[:2], rows[2:]):
            self.assertEqual(whole["ratio"], 1)
            self.assertEqual(part["counted"], 3 * 9 * ROUTER * D)
            self.assertAlmostEqual(part["counted_ratio"],
                                   part["counted"] / whole["counted"])
            self.assertIsNone(part["kept_saving"])

    def test_bytes_of_decoding(self):
        # static:1 uses one KV head of two; static:3 and all heads use both
        for precision, size in (("f32", 4), ("bf16", 2), ("f16", 2)):
            (table,) = self.tables(
                "--contexts", 70, "--work", "decoding", "--contenders",
                "masked", "--heads", "static:1,static:3,moh:4+0",
                "--precision", precision)
            self.assertEqual(table["precision"], precision)
            rows = table["contenders"]
            for row, (heads, router, kv) in zip(
                    rows, [(4, 0, 2), (4, ROUTER, 2), (1, 0, 1), (3, 0, 2),
                           (4, 6, 2)]):
                read = bytes_read(70, heads, router, kv, size)
                self.assertEqual(row["bytes_read"], read, row["heads"])
                self.assertAlmostEqual(row["counted_bytes_ratio"],
                                       read / rows[0]["bytes_read"])
                self.assertAlmostEqual(
                    row["bytes_per_second"] * row["seconds"] / read, 1)
            # three heads of four save rows of W_Q and W_O but no cache
            self.assertEqual(rows[3]["kept_of"], "bytes")
            saving = 1 - rows[3]["counted_bytes_ratio"]
            self.assertAlmostEqual(rows[3]["kept_saving"],
                                   (1 - rows[3]["ratio"]) / saving)
        (table,) = self.tables("--contexts", 5, "--work", "prefill")
        self.assertNotIn("bytes_read", table["contenders"][0])

    def test_a_routers_bytes_are_of_its_plan(self):
        (table,) = self.tables("--contexts", 40, "--work", "decoding",
                               "--contenders", "50")
        read = table["contenders"][1]["bytes_read"]
        most = bytes_read(40, 2, ROUTER, 2, 4)
        self.assertGreaterEqual(read, bytes_read(40, 2, ROUTER, 1, 4))
        self.assertLessEqual(read, most)
        # 8 tokens in 2 layers: so many choices of a KV head, or none
        skipped = (most - read) / (40 * 2 * HEAD * 4) * 8
        self.assertAlmostEqual(skipped, round(skipped))

    def test_groups_read_their_cache_only(self):
        (table,) = self.tables(
            "--contexts", 70, "--work", "decoding", "--route-by", "group",
            "--heads", "moh:0+1,moh:1+0,moh:1+1")
        rows = table["contenders"]
        self.assertEqual([row["heads"] for row in rows],
                         ["all heads"] + [f"moh:{counts} by KV group"
                                          for counts in ("0+1", "1+0", "1+1")])
        self.assertEqual(rows[1]["route_by"], "group")
        # heads, rows of the router, KV heads that are read
        for row, (heads, router, kv) in zip(
                rows, [(4, 0, 2), (2, 2, 1), (2, 3, 1), (4, 3, 2)]):
            self.assertEqual(row["counted"], decoding(70, heads, router))
            self.assertEqual(row["bytes_read"],
                             bytes_read(70, heads, router, kv, 4))

    def test_quarters_of_groups(self):
        (table,) = self.tables("--contexts", 9, "--work", "prefill",
                               "--n-heads", 8, "--kv-heads", 4,
                               "--route-by", "group", "--contenders",
                               "75,50,pruned")
        self.assertEqual([(row["strategy"], row["active_share"])
                          for row in table["contenders"]],
                         [("all", 1), ("moh:1+2", .75), ("moh:1+1", .5),
                          ("static:6", .75)])

    def test_threads_and_precisions(self):
        tables = self.tables("--contexts", 5, "--work", "training",
                             "--threads", "1,2", "--precision", "bf16,f32")
        self.assertEqual(
            [(t["precision"], t["threads"], t["time"]) for t in tables],
            [("f32", 1, "processor"), ("f32", 2, "clock"),
             ("bf16", 1, "processor"), ("bf16", 2, "clock")])
        for table in tables:
            for row in table["contenders"]:
                self.assertEqual("speed_up" in row, table["threads"] == 2)
        f32, bf16 = (t["contenders"][0]["memory"] for t in tables[1:3])
        self.assertEqual(f32["weights"], bf16["weights"])
        self.assertGreater(f32["packed"], bf16["packed"])

    def test_shape(self):
        (table,) = self.tables("--contexts", 6, "--work", "training",
                               "--contenders", "masked,75")
        self.assertEqual(
            set(table),
            {"work", "tokens", "sequences", "precision", "threads", "time",
             "kernels", "rounds", "model", "contenders"})
        self.assertEqual(table["model"]["hidden_size"], D)
        dense, masked, skipped = table["contenders"]
        self.assertEqual(
            set(skipped),
            {"heads", "strategy", "masked", "active_share", "work",
             "seconds", "quartile_low", "quartile_high", "ratio",
             "ratio_low", "ratio_high", "route_by", "counted", "counted_ratio",
             "kept_saving", "kept_of", "bytes", "bytes_ratio", "memory"})
        self.assertEqual(
            [(r["strategy"], r["masked"], r["active_share"])
             for r in (dense, masked, skipped)],
            [("all", False, 1), ("moh:1+2", True, .75),
             ("moh:1+2", False, .75)])
        memory = skipped["memory"]
        self.assertEqual(memory["moments"], 2 * memory["gradients"])
        self.assertEqual(memory["keys_and_values"], 0)
        for row in table["contenders"]:
            self.assertLessEqual(row["quartile_low"], row["seconds"])
            self.assertLessEqual(row["seconds"], row["quartile_high"])

    def test_table(self):
        out = self.bench("--contexts", 8, "--work", "training", "--batch",
                         2, "--threads", "1,2", "--heads",
                         "static:1,moh:0+2")
        lines = out.splitlines()
        self.assertLess(max(map(len, lines)), 100)
        self.assertRegex(lines[1], r"^training: 2 x 8 tokens, f32, 1 thread "
                         r"\(processor time\), \w+ kernels, 1 round$")
        self.assertEqual(lines[2].split(), "heads ms spread tokens/s ratio "
                         "quartiles counted kept memory".split())
        self.assertEqual(
            [line[2:16].rstrip() for line in lines[3:10]],
            [*USUAL, "static:1", "moh:0+2"])
        self.assertRegex(lines[11], r", 2 threads \(clock\), ")
        self.assertIn("kept x 1 thr", lines[12])

    def test_where_it_pays(self):
        words = ["--work", "prefill", "--contenders", "masked,75", "--heads",
                 "static:1"]
        self.assertNotIn("time is saved", self.bench("--contexts", 6, *words))
        out = self.bench("--contexts", "6,1500", *words)
        lines = out.split("\n\n")[-1].splitlines()
        self.assertEqual(lines[0], "prefill, f32, 1 thread: time is saved")
        place = "( from [0-9,]+ tokens on| nowhere up to 1,500 tokens)"
        self.assertRegex(lines[1], "^  75 %, skipped " + place)
        self.assertRegex(lines[2], "^  static:1      " + place)
        self.assertEqual(len(lines), 3)

    def test_heads_that_have_no_quarter(self):
        words = ["bench", *SMALL, "--n-heads", 6, "--kv-heads", 6,
                 "--d-head", 4, "--contexts", 4, "--work", "prefill"]
        code, out, _ = moh(*words, "--heads", "moh:2+2")
        self.assertEqual(code, 0)
        self.assertEqual([line[2:16].rstrip() for line in
                          out.splitlines()[3:]], ["all heads", "moh:2+2"])
        code, out, err = moh(*words, "--heads", "moh:2+2", "--contenders",
                             "75")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("must be a multiple of 4", err)
        code, _, err = moh("bench", *SMALL, "--route-by", "group")
        self.assertEqual(code, 2)
        self.assertIn("number of KV heads must be a multiple of 4", err)

    def test_usage(self):
        number = "a number in --%s must be 1 to"
        for words, message in [
                ("--work sleeping", "--work knows training, prefill, "
                 "decoding, attention, router, feed-forward, not 'sleeping'"),
                ("--work feed-forward",
                 "--work feed-forward needs --experts"),
                ("--work router --experts 0+1/2",
                 "with --experts there is --work feed-forward"),
                ("--experts 2/8", "is no choice of experts"),
                ("--contenders 60", "--contenders knows masked, 75, 50, "
                 "pruned, none, not '60'"),
                ("--precision f64", "--precision knows f32, bf16, f16, q8_0, q4_0, not 'f64'"),
                ("--work decoding,training --precision f32,q4_0",
                 "--work training has gradients"),
                ("--contexts 0", number % "contexts"),
                ("--contexts 8x", number % "contexts"),
                ("--contexts 2000000", number % "contexts"),
                ("--threads 0", number % "threads"),
                ("--threads 1,2,3,4,5", "--threads takes at most 4 numbers"),
                ("--contexts 8 --heads moh:9+9", "n_shared"),
                ("--heads all,some", "'some' is no choice of heads"),
                ("--heads " + ",".join(["all"] * 9),
                 "--heads takes at most 8 strategies"),
                ("--work router --contenders pruned",
                 "--work router needs a contender with a router"),
                ("--n-heads 6 --d-model 12", "must be a multiple of 4")]:
            code, out, err = moh("bench", *words.split())
            self.assertEqual((code, out), (2, ""), words)
            self.assertIn(message, err)


class Charts(Case):
    """bench/speed_charts.py, from made-up figures; bench/speed_table.py."""

    SCRIPTS = HERE.parent.parent / "bench"
    SCRIPT = SCRIPTS / "speed_charts.py"

    def table(self, tokens, ratio, hidden=16):
        row = {"heads": "75 %, skipped", "strategy": "moh:1+2",
               "masked": False, "ratio": ratio, "ratio_low": ratio - .1,
               "ratio_high": ratio + .1, "counted_ratio": .5,
               "counted_bytes_ratio": .8}
        dense = {**row, "heads": "all heads", "strategy": "all"}
        masked = {**row, "heads": "75 %, masked", "masked": True}
        return {"work": "decoding", "precision": "bf16", "threads": 2,
                "tokens": tokens, "model": {"hidden_size": hidden},
                "contenders": [dense, masked, row]}

    def draw(self, *tables):
        for number, table in enumerate(tables):
            self.write(f"{number}.json", json.dumps([table]))
        done = subprocess.run(
            [sys.executable, "-B", self.SCRIPT, "--out", "charts", "--title",
             "heads & <all>", *(f"{n}.json" for n in range(len(tables)))],
            cwd=self.folder, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def test_lines(self):
        code, out, _ = self.draw(self.table(100, 1), self.table(400, .5))
        name = "charts/speed-decoding-bf16-2.svg"
        self.assertEqual((code, out), (0, name + "\n"))
        text = (self.folder / name).read_text()
        root = xml.etree.ElementTree.fromstring(text)
        svg = "{http://www.w3.org/2000/svg}"
        self.assertEqual(root.find(svg + "title").text, "heads & <all>")
        lines = [([tuple(map(float, p.split(",")))
                   for p in line.get("points").split()],
                  line.get("stroke-dasharray") is not None)
                 for line in root.findall(svg + "polyline")]
        # masked, then counted and measured; what is counted is the bytes
        self.assertEqual([dashed for _, dashed in lines],
                         [False, True, False])
        (_, _), ((x0, bound), (x1, same)), ((_, y0), (_, y1)) = (
            points for points, _ in lines)
        self.assertLess(x0, x1)
        self.assertEqual(bound, same)
        self.assertAlmostEqual((y0 - bound) / (y0 - y1), .25, places=2)
        for label in ("75 %, masked", "75 %, skipped", "counted"):
            self.assertEqual(len(re.findall(f">{label}<", text)), 1)

    def test_markdown(self):
        _, out, _ = moh("bench", *SMALL, "--d-head", HEAD, "--json",
                        "--contexts", 5, "--threads", "1,2",
                        "--contenders", "75")
        self.write("bench.json", out)
        done = subprocess.run(
            [sys.executable, "-B", self.SCRIPTS / "speed_table.py",
             "bench.json"], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = [[cell.strip() for cell in line.split("|")[1:-1]]
                for line in done.stdout.splitlines() if line[:1] == "|"]
        self.assertEqual({len(row) for row in rows}, {9})
        # a head and a line, 5 kinds of work, 2 numbers of threads, 2 rows
        self.assertEqual(len(rows), 2 + 5 * 2 * 2)

    def test_two_models_are_refused(self):
        code, out, err = self.draw(self.table(100, 1),
                                   self.table(400, .5, hidden=32))
        self.assertEqual((code, out), (1, ""))
        self.assertIn("another model's figures", err)


if __name__ == "__main__":
    main()
