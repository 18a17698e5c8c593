"""Tests of the race's arithmetic and data: `python3 benches/test_race.py`."""
import argparse
import pathlib
import tempfile
import unittest

import race
import race_data


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
