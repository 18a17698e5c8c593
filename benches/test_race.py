"""Tests of the races' arithmetic and data: `python3 benches/test_race.py`."""
import argparse
import json
import math
import pathlib
import tempfile
import time
import unittest
import unittest.mock

import gpu_check
import race
import race_data
import race_inference


class Figures(unittest.TestCase):
    def test_phases_have_the_recipes_shares(self):
        recipe = {"epochs": 10, "batch_size": 8, "warmup_steps": 300, "initial_warmup": 1, "final_warmup": 3}
        weights = race.phase_weights(recipe, 3668)
        self.assertEqual(list(weights), list(race.PHASES))
        for share, updates in zip(weights.values(), (300, 3390, 900)):
            self.assertAlmostEqual(share, updates / 4590)

    def test_first_updates_of_a_phase_do_not_count(self):
        self.assertEqual(race.counted(list(range(1, 19)), "falling", 6, 2), [9, 10, 11, 12])

    def test_means_hold_whole_windows_only(self):
        steps = [100 if step % 10 == 0 else 0 for step in range(1, 109)]
        o = argparse.Namespace(steps=36, discard=4)
        run = race.Run(steps, steps, 0, 0.0, {})
        self.assertEqual(race.means([run, run], "seconds", o, 10), dict.fromkeys(race.PHASES, 10))

    def test_medians_are_over_all_rounds(self):
        o = argparse.Namespace(steps=2, discard=1)
        runs = [race.Run([9, s, 9, s, 9, s], [], 0, 0.0, {}) for s in (1, 2, 6)]
        self.assertEqual(race.medians(runs, o), dict.fromkeys(race.PHASES, 2))


class GpuCheck(unittest.TestCase):
    def test_a_threshold_is_what_masking_updates_take_more_in_the_falling_phase(self):
        # Phases of 20: updates 23 to 40 count, of which 30 and 40 mask.
        pruning = [5.0 if step % 10 == 0 else 2.0 for step in range(1, 61)]
        pruning[19] = pruning[49] = 1000.0
        self.assertEqual(gpu_check.threshold_seconds(pruning, 20, 2, 10), 3.0)
        self.assertIsNone(gpu_check.threshold_seconds(pruning[:12], 4, 0, 10))

    def test_tenths_begin_and_end_with_the_samples(self):
        self.assertEqual(gpu_check.tenths(range(101)), list(range(0, 101, 10)))
        self.assertEqual(gpu_check.tenths([7]), [7] * 11)
        self.assertEqual(gpu_check.tenths(()), [])

    def test_updates_are_divided_into_three_phases(self):
        steps = [gpu_check.phase_steps(argparse.Namespace(steps=n)) for n in (10, 36, 200)]
        self.assertEqual(steps, [(4, 1), (12, 3), (67, 10)])

    def test_failed_tests_are_named(self):
        text = ("test a::cuda::x ... ok\ntest a::cuda::y ... FAILED\n\nfailures:\n\n---- a::cuda::y stdout ----\n"
                "    left: 1\n\n\nfailures:\n    a::cuda::y\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n")
        self.assertEqual(gpu_check.counted_tests(text), (1, 1, ["a::cuda::y"]))
        self.assertEqual(gpu_check.counted_tests("test result: ok. 3 passed; 0 failed;\n"), (3, 0, []))
        self.assertEqual(gpu_check.counted_tests("Segmentation fault"), (0, 0, []))

    def test_one_part_that_fails_leaves_the_others(self):
        def fails(*_):
            raise gpu_check.Failed("broken | pipe", ["what it had"])

        def left_out(*_):
            raise gpu_check.LeftOut("no GPU")
        parts = {"a": fails, "b": left_out, "c": lambda *_: ["fine"], "d": lambda *_: {}["x"]}
        with unittest.mock.patch.object(gpu_check, "PARTS", parts):
            o = argparse.Namespace(deadline=time.monotonic() + 60)
            results = [gpu_check.tried(part, o, {}) for part in parts]
        self.assertEqual([r.verdict for r in results], ["failed", "left out", "passed", "failed"])
        text = gpu_check.report(results, {"GPU": "none"})
        self.assertIn("| a | failed | 0 | broken / pipe |", text)
        for line in ("### a: failed", "what it had", "no GPU", "fine"):
            self.assertIn(f"\n{line}", text)

    def test_a_program_that_does_not_end_in_time_is_ended(self):
        with tempfile.TemporaryDirectory() as folder, \
                unittest.mock.patch.object(gpu_check, "WORK", pathlib.Path(folder)):
            o = argparse.Namespace(until=time.monotonic() + 0.2)
            with self.assertRaisesRegex(gpu_check.Failed, "sleep was not done in 0 s"):
                gpu_check.ran(o, "sleep", ["sleep", "60"])
            with self.assertRaisesRegex(gpu_check.LeftOut, "is over"):
                gpu_check.ran(o, "true", ["true"])
            o.until += 60
            with self.assertRaisesRegex(gpu_check.Failed, "ended with 3: why"):
                gpu_check.ran(o, "sh", ["sh", "-c", "echo why >&2; exit 3"])

    def test_a_part_has_half_of_the_time_and_the_last_one_all(self):
        o = argparse.Namespace(deadline=time.monotonic() + 60)
        with unittest.mock.patch.object(gpu_check, "PARTS", {"a": lambda o, _: [o.until - time.monotonic()]}):
            lines = [gpu_check.tried("a", o, {}, is_last).lines[0] for is_last in (False, True)]
        self.assertEqual([round(seconds) for seconds in lines], [30, 60])

    def test_programs_are_those_that_cargo_has_made(self):
        def message(name, kind, test, path):
            return json.dumps({"target": {"name": name, "kind": [kind]}, "profile": {"test": test}, "executable": path})
        text = "\n".join([message("platon", "bin", False, "/release/platon"), message("platon", "bin", True, "/deps/p"),
                          message("platon", "lib", True, "/deps/l"), message("it", "test", True, "/deps/it"), "{}"])
        self.assertEqual({name: str(path) for name, path in gpu_check.executables(text).items()},
                         {"platon": "/release/platon", "it": "/deps/it"})


class Answers(unittest.TestCase):
    def test_quantiles_are_those_of_platon_bench(self):
        self.assertEqual([race_inference.quantile(range(1, 21), share) for share in (0, 0.5, 0.95, 1)], [1, 10, 19, 20])
        self.assertEqual(race_inference.latency([3, 1, 2]), (2, 3))

    def test_a_difference_of_other_rows_or_of_no_numbers_is_infinite(self):
        self.assertEqual(race_inference.difference([[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.0], [3.0, 2.0]]), 2)
        for others in ([[1.0]], [[1.0, 2.0]], [[math.nan, 2.0], [3.0, 4.0]], [[1.0], [3.0]]):
            self.assertEqual(race_inference.difference([[1.0, 2.0], [3.0, 4.0]], others), math.inf)

    def test_other_logits_end_the_race_but_int8s_do_not(self):
        logits = {name: [[1.0]] for name in race_inference.PROGRAMS} | {race_inference.INT8: [[1.5]]}
        self.assertEqual(race_inference.differences(logits)[race_inference.INT8], 0.5)
        with self.assertRaisesRegex(race_inference.RaceError, "ONNX Runtime differs by 0.5"):
            race_inference.differences(logits | {race_inference.ONNX: [[1.5]]})

    def test_a_busy_machine_is_remarked_on(self):
        self.assertEqual(race_inference.busy(0.2), {})
        self.assertIn("8.9", race_inference.busy(8.9)["busy"])

    def test_ratios_are_of_medians(self):
        def rounds(*seconds):
            return [race_inference.Round(s, None, {}) for s in seconds]
        taken = dict(zip(race_inference.PROGRAMS, (rounds(1, 2, 9), rounds(1, 1, 9), rounds(4, 4, 1), rounds(2),
                                                   rounds(1))))
        lines = race_inference.by_rows(taken, 8, dict.fromkeys(taken, 0.0)).splitlines()[2:]
        self.assertEqual([line.split(" | ")[1:4] for line in lines], [
            ["4", "2.00", "2.00"], ["8", "4.00", "1.00"], ["2", "1.00", "4.00"], ["4", "2.00", "2.00"],
            ["8", "4.00", "1.00"]])

    def test_texts_are_those_of_the_prepared_file(self):
        with tempfile.TemporaryDirectory() as folder:
            canonical, file = pathlib.Path(folder, "dev.tsv"), pathlib.Path(folder, "texts.jsonl")
            canonical.write_text('0\t1\ta "b"\tc\u2028\n1\t0\td\t\n')
            race_inference.write_texts(canonical, file)
            self.assertEqual([json.loads(line) for line in file.read_text().splitlines()], [
                {"sentence1": 'a "b"', "sentence2": "c\u2028"}, {"sentence1": "d", "sentence2": ""}])


class Data(unittest.TestCase):
    def test_bytes_before_the_rows_are_kept(self):
        raw = b"\xef\xbb\xbfa\tb\n1\r\n2"
        self.assertEqual(race_data.split_rows(raw, True), (raw[:7], [b"1\r\n", b"2\n"]))
        self.assertEqual(race_data.split_rows(b"1\n2\n", False), (b"", [b"1\n", b"2\n"]))

    def test_rows_repeat_only_when_all_were_drawn(self):
        self.assertEqual(sorted(race_data.sample([1, 2, 3], 6)), [1, 1, 2, 2, 3, 3])
        self.assertEqual(len(set(race_data.sample(range(100), 60))), 60)

    def test_subset_has_the_wanted_rows_and_all_of_dev(self):
        with tempfile.TemporaryDirectory() as folder:
            raw = pathlib.Path(folder, "raw/SST-2")
            raw.mkdir(parents=True)
            (raw / "train.tsv").write_bytes(b"sentence\tlabel\n" + b"".join(b"%d\t1\n" % n for n in range(9)))
            (raw / "dev.tsv").write_bytes(b"sentence\tlabel\nx\t1\ny\t0\n")
            self.assertEqual(race_data.build("sst", raw.parent, f"{folder}/out", 4), (9, 2))
            subset = pathlib.Path(folder, "out/SST-2/train.tsv").read_bytes().splitlines()
            self.assertEqual((subset[0], len(subset)), (b"sentence\tlabel", 5))
            self.assertEqual(pathlib.Path(folder, "out/SST-2/dev.tsv").read_bytes(), (raw / "dev.tsv").read_bytes())


if __name__ == "__main__":
    unittest.main()
