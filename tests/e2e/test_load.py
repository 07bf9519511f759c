"""bench/load: every scenario can be read, a run tells all its figures, and tables and plots are made
of them. Nothing is asserted about how fast anything was."""
import importlib.machinery
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import unittest
import xml.etree.ElementTree

from harness import BIN, DEADLINE, EndToEndTest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOAD = ROOT / "bench" / "load"


def runner():
    """bench/load/run as a module."""
    loader = importlib.machinery.SourceFileLoader("load_run", str(LOAD / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("load_run", loader))
    loader.exec_module(module)
    return module


class Scenarios(EndToEndTest):
    def read(self, text):
        path = self.directory / "x.scenario"
        path.write_text(text)
        return runner().Scenario(path)

    def test_all_that_there_are_can_be_read(self):
        names = sorted(path.stem for path in LOAD.glob("*.scenario"))
        self.assertGreaterEqual(len(names), 10)
        done = subprocess.run([sys.executable, "-B", str(LOAD / "run"), "--check"], check=False,
                              capture_output=True, text=True, timeout=DEADLINE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        document = (ROOT / "docs" / "PERFORMANCE.md").read_text()
        for name in names:
            self.assertIn(f"<!-- load {name} -->\n", document, "where its figures belong")

    def test_values_that_are_varied_are_columns(self):
        scenario = self.read("about = x\nkind = flow\nsize = 10 # octets\neach distance = 0 80\n")
        self.assertEqual([title for title, _ in scenario.columns], ["distance 0", "distance 80"])
        self.assertEqual([values["distance"] for _, values in scenario.columns], ["0", "80"])
        self.assertEqual(scenario.columns[1][1]["size"], "10")

    def test_settings_can_be_set_and_varied(self):
        scenario = self.read("about = x\nkind = flow\nset a_b = 1 2\neach set c_d = 3 4\n")
        self.assertEqual(scenario.settings, ["a_b = 1 2\n"])
        self.assertEqual(scenario.columns[0][0], "c_d 3")
        self.assertEqual(scenario.columns[0][1]["set c_d"], "3")

    def test_mistakes_are_named_with_their_line(self):
        for text, wrong in (("about = x\nkind = flow\nsiez = 3\n", ":3: 'siez = 3'"),
                            ("about = x\nkind\n", ":2: 'kind'"),
                            ("about = x\nkind = flow\neach kind = flow drain\n", ":3:"),
                            ("about = x\nkind = flow\neach size = 1\neach tls = no\n", ":4:"),
                            ("about = x\nkind = sideways\n", "kind is none of"),
                            ("kind = flow\n", "about is missing"),
                            ("about = x\nkind = rate\n", "a rate is missing")):
            with self.assertRaises(ValueError) as caught:
                self.read(text)
            self.assertIn(wrong, str(caught.exception))


class Run(EndToEndTest):
    def test_a_run_tells_all_and_its_figures_become_tables_and_plots(self):
        data = self.directory / "data.json"
        done = subprocess.run(
            [sys.executable, "-B", str(LOAD / "run"), "flow", "drain", "tls", "--runs", "2",
             "--messages", "60", "--bin", str(BIN), "--json", str(data), "--directory",
             str(self.directory)], check=False, capture_output=True, text=True,
            timeout=8 * DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        loads = {load["name"]: load for load in json.loads(data.read_text())["loads"]}
        self.assertEqual(set(loads), {"flow", "drain", "tls"})
        for load in loads.values():
            for column in load["columns"]:
                self.assertEqual(len(column["runs"]), 2)
                for figures in column["runs"]:
                    self.check(figures)
        self.assertEqual(loads["tls"]["columns"][1]["runs"][0]["stage tls, ms"], 0)
        self.assertIn("CPU of commit, us/message", done.stdout)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["data.json"])
        self.check_plots(data)

    def test_the_largest_message_and_the_most_recipients_are_taken(self):
        done = subprocess.run(
            [sys.executable, "-B", str(LOAD / "run"), "sizes", "recipients", "--runs", "1",
             "--messages", "2", "--bin", str(BIN), "--directory", str(self.directory)],
            check=False, capture_output=True, text=True, timeout=8 * DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("size 10485760", done.stdout)
        self.assertIn("recipients 50", done.stdout)

    def check(self, figures):
        for name in ("relayed, messages/s", "CPU, us/message", "resident, most, MiB",
                     "written by the process / accepted", "changes a sync, mean",
                     "write and sync, mean, ms", "delivery, mean, ms", "fdatasync before p99, ms"):
            self.assertGreater(figures[name], 0, name)
        stages = [name for name in figures if name.startswith("stage ")]
        self.assertEqual(len(stages), 12)
        self.assertTrue(any(name.startswith("CPU of shard-") for name in figures), figures)

    def check_plots(self, data):
        document = self.directory / "docs" / "PERFORMANCE.md"
        document.parent.mkdir()
        shutil.copy(ROOT / "docs" / "PERFORMANCE.md", document)
        before = document.read_text()
        subprocess.run([sys.executable, "-B", str(LOAD / "plot"), str(data), "--document",
                        str(document), "--plots", str(document.parent / "plots")], check=True,
                       timeout=DEADLINE)
        after = document.read_text()
        self.assertIn("| relayed, messages/s |", after)
        self.assertIn("| | tls yes | tls no |", after)
        for name in ("flow-stages", "drain-stages", "tls-stages", "tls-rate"):
            self.assertIn(f"](plots/{name}.svg)", after)
            xml.etree.ElementTree.parse(document.parent / "plots" / f"{name}.svg")
        # What was not run stays as it was, and what is filled in can be filled in again.
        self.assertEqual(after.count("<!-- load "), before.count("<!-- load "))
        subprocess.run([sys.executable, "-B", str(LOAD / "plot"), str(data), "--document",
                        str(document), "--plots", str(document.parent / "plots")], check=True,
                       timeout=DEADLINE)
        self.assertEqual(document.read_text(), after)


if __name__ == "__main__":
    unittest.main()
