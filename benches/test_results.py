#!/usr/bin/env python3
"""Tests of results.py: what is planned, what is kept, and the arithmetic of the table."""
import json
import pathlib
import tempfile
import unittest

import race_data
import results

PLAN = {
    "tasks": {"rte": {"recipe": "rte", "settings": {"epochs": 3}}},
    "methods": {"dense": {"settings": {"pruner": "none"}},
                "taught": {"settings": {"pruner": "platon"}, "teacher": "dense"}},
    "runs": [{"task": "rte", "seeds": [1, 2], "rows": [{"method": "dense"}, {"method": "taught", "ratios": [0.2]}]}],
}


def line(run, score, seconds=60):
    return {"name": run.name, "settings": run.key, "scores": json.dumps({"ACC": score}), "seconds": str(seconds),
            "machine": "m", "commit": "c"}


class Results(unittest.TestCase):
    def test_runs_follow_seed_by_seed_and_name_their_teachers(self):
        runs = results.planned(PLAN)
        self.assertEqual([run.name for run in runs], ["rte-dense-seed1", "rte-taught-0.20-seed1", "rte-dense-seed2",
                                                      "rte-taught-0.20-seed2"])
        self.assertEqual([run.teacher for run in runs], ["", "rte-dense-seed1", "", "rte-dense-seed2"])
        self.assertEqual(dict(runs[1].settings)["final_threshold"], 0.2)
        self.assertNotIn("final_threshold", dict(runs[0].settings))
        self.assertEqual(len({run.key for run in runs}), 4)

    def test_a_run_may_begin_with_the_model_of_another_of_its_ratio(self):
        methods = {**PLAN["methods"], "again": {"settings": {}, "start": "taught", "teacher": "dense"}}
        rows = [*PLAN["runs"][0]["rows"], {"method": "again", "ratios": [0.2]}]
        _, taught, again = results.planned({**PLAN, "methods": methods,
                                            "runs": [{"task": "rte", "seeds": [1], "rows": rows}]})
        self.assertEqual(again.others, ["rte-dense-seed1", "rte-taught-0.20-seed1"])
        self.assertEqual(taught.start, "")
        self.assertNotEqual(again.key, again._replace(start="").key)

    def test_a_run_with_another_teacher_is_another(self):
        dense, taught, *_ = results.planned(PLAN)
        methods = {**PLAN["methods"], "dense": {"settings": {"pruner": "none", "epochs": 9}}}
        other, again, *_ = results.planned({**PLAN, "methods": methods})
        self.assertEqual((dense.name, taught.name, taught.settings), (other.name, again.name, again.settings))
        self.assertNotEqual(dense.key, other.key)
        self.assertNotEqual(taught.key, again.key)

    def test_a_folder_of_other_settings_is_refused(self):
        run, other, *_ = results.planned(PLAN)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder, run.name)
            results.check_settings(run, "abc", folder)
            folder.mkdir()
            results.check_settings(run, "abc", folder)
            with self.assertRaises(results.RaceError):
                results.check_settings(run._replace(settings=other.settings), "abc", folder)
            with self.assertRaises(results.RaceError):
                results.check_settings(run, "abd", folder)
            folder.with_name(f"{run.name}.key").unlink()
            with self.assertRaises(results.RaceError):
                results.check_settings(run, "abc", folder)

    def test_a_finished_run_of_another_checkpoint_or_other_data_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            o = results.options(["--checkpoint", f"{folder}", "--data-dir", f"{folder}", "--runs", f"{folder}/runs"])
            o.held_apart = False
            (folder / "RTE").mkdir()
            rows, weights = folder / "RTE/dev.tsv", folder / "model.safetensors"
            for path in rows, rows.with_name("train.tsv"):
                path.write_text("index\n0\n")
            with self.assertRaisesRegex(results.RaceError, "found neither"):
                results.inputs(o, "rte")
            weights.write_bytes(b"weights")
            # printf '%s %s\n' NAME "$(sha256sum < FILE | cut -c-64)" of the weights, train.tsv and dev.tsv | sha256sum
            self.assertEqual(results.inputs(o, "rte"), "1f8fc2201eb4")
            run = results.planned(PLAN)[0]
            done, data = {"inputs": results.inputs(o, "rte")}, results.linked(o, "rte")
            results.check_inputs(o, run, results.inputs(o, "rte"), done)
            for path, text in (weights, "other weights"), (rows, "index\n1\n"):
                path.write_text(text)
                with self.assertRaisesRegex(results.RaceError, "rte-dense-seed1 was trained from another checkpoint"):
                    results.check_inputs(o, run, results.inputs(o, "rte"), done)
                done = {"inputs": results.inputs(o, "rte")}
            self.assertNotEqual(results.linked(o, "rte"), data)
            self.assertEqual((results.linked(o, "rte") / "RTE/dev.tsv").read_text(), "index\n1\n")

    def test_a_run_may_begin_with_the_dense_model(self):
        methods = {**PLAN["methods"], "taught": {"settings": {"pruner": "platon"}, "start": "dense"}}
        runs = results.planned({**PLAN, "methods": methods})
        self.assertEqual([run.start for run in runs], ["", "rte-dense-seed1", "", "rte-dense-seed2"])

    def test_plans_that_cannot_be_are_refused(self):
        for change in ({"runs": [*PLAN["runs"], *PLAN["runs"]]},
                       {"runs": [{"task": "rte", "seeds": [3], "rows": [{"method": "taught", "ratios": [0.1]}]}]},
                       {"methods": {**PLAN["methods"], "taught": {"settings": {}, "start": "xyz"}}},
                       {"runs": [{"task": "xyz", "seeds": [1], "rows": []}]},
                       {"runs": [{"task": "rte", "seeds": [1], "rows": [{"method": "xyz"}]}]}):
            with self.assertRaises(results.RaceError):
                results.planned({**PLAN, **change})

    def test_the_table_compares_the_same_seeds_and_names_what_is_missing(self):
        dense, taught, other, _ = results.planned(PLAN)
        known = {(run.name, run.key): line(run, score) for run, score in
                 ((dense, 80.0), (other, 60.0), (taught, 72.0))}
        text = results.table(results.planned(PLAN), known)
        self.assertIn("| dense | 100% | 1, 2 | ACC 70.00 (60.00 to 80.00) | 100.0 % | 1.0 |", text)
        # 72 of seed 1's 80, not of the mean.
        self.assertIn("| taught | 20% | 1 | ACC 72.00 | 90.0 % | 1.0 |", text)
        self.assertIn("Not run: rte-taught-0.20-seed2.", text)

    def test_the_main_score_comes_first(self):
        plan = {**PLAN, "tasks": {"rte": {**PLAN["tasks"]["rte"], "main": "MCC"}}}
        dense, taught, *_ = runs = results.planned(plan)
        both = {(run.name, run.key): {**line(run, 0), "scores": json.dumps({"ACC": 80.0, "MCC": score})}
                for run, score in ((dense, 50.0), (taught, 40.0))}
        self.assertIn("| taught | 20% | 1 | MCC 40.00, ACC 80.00 | 80.0 % | 1.0 |", results.table(runs, both))

    def test_a_mean_tells_of_how_many_there_is_no_score(self):
        self.assertEqual(results.mean([84.0, None]), "84.00, 1 of 2 undefined")
        self.assertEqual(results.mean([84.0, 86.0, None]), "85.00 (84.00 to 86.00), 1 of 3 undefined")
        self.assertEqual(results.mean([84.0]), "84.00")
        self.assertEqual(results.mean([None]), "-")

    def test_an_undefined_score_is_noted_and_left_out_of_means(self):
        self.assertEqual(results.scores({"Pearson": None, "dev": {"ACC": 1.00004}}), {"Pearson": None, "ACC": 1.0})
        dense, taught, other, last = runs = results.planned(PLAN)
        known = {(run.name, run.key): line(run, score) for run, score in
                 ((dense, 80.0), (other, None), (taught, 40.0), (last, 50.0))}
        text = results.table(runs, known)
        self.assertIn("| dense | 100% | 1, 2 | ACC 80.00, 1 of 2 undefined | 100.0 % | 1.0 |", text)
        self.assertIn("| taught | 20% | 1, 2 | ACC 45.00 (40.00 to 50.00) | 50.0 % | 1.0 |", text)
        known = {key: {**row, "scores": json.dumps({"ACC": None})} for key, row in known.items()}
        self.assertIn("| dense | 100% | 1, 2 | ACC - | - | 1.0 |", results.table(runs, known))

    def test_the_lines_below_the_table_are_about_its_rows(self):
        run, other, *_ = runs = results.planned(PLAN)
        known = {(run.name, run.key): line(run, 80.0),
                 (other.name, "another"): {**line(other, 70.0), "machine": "old", "commit": "older"}}
        self.assertIn("Machine: m. Commits: c.", results.table(runs, known))

    def test_rows_of_other_settings_do_not_count(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "results.csv")
            run = results.planned(PLAN)[0]
            results.note(path, {field: "" for field in results.FIELDS} | line(run, 80.0))
            self.assertIn((run.name, run.key), results.reached(path))
            other = {**PLAN, "tasks": {"rte": {"recipe": "rte", "settings": {"epochs": 4}}}}
            self.assertNotIn((run.name, results.planned(other)[0].key), results.reached(path))

    def test_a_file_of_other_columns_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "results.csv")
            path.write_text("name,task\nrte-dense-seed1,rte\n")
            with self.assertRaisesRegex(results.RaceError, "results.csv:1: expected name,task,method,.* found name,task "):
                results.reached(path)

    def test_a_tenth_of_the_training_rows_is_held_apart(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "a"), pathlib.Path(folder, "b")
            (source / "RTE").mkdir(parents=True)
            rows = [f"{n}\trow\n".encode() for n in range(50)]
            (source / "RTE/train.tsv").write_bytes(b"index\tx\n" + b"".join(rows))
            results.held_apart("rte", source, target)
            read = {name: race_data.split_rows((target / f"RTE/{name}.tsv").read_bytes(), True)
                    for name in ("train", "dev")}
            self.assertEqual({len(read["train"][1]), len(read["dev"][1])}, {45, 5})
            self.assertEqual(sorted(read["train"][1] + read["dev"][1]), sorted(rows))
            self.assertEqual(read["dev"][0], b"index\tx\n")


if __name__ == "__main__":
    unittest.main()
