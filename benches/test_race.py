"""Tests of the races' arithmetic and data: `python3 benches/test_race.py`."""
import argparse
import json
import math
import pathlib
import tempfile
import unittest

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
