//! What remains at the end of a run, wherever it ends, and what is said of it.

use crate::dir::Dir;

/// Trains the tiny demo, 12 updates, with `flags`; the share that remains, and what was printed.
fn reached(flags: &str) -> (f64, String) {
    let dir = Dir::new().with_tiny_demo("ndarray");
    let ended = dir.platon_ok(&format!("train tiny --no-tui --output-dir run {flags}"));
    let report = dir.json("run/report.json");
    let (reached, sparsity) = (report["reached_ratio"].as_f64(), report["sparsity"].as_f64());
    assert_eq!(reached, sparsity.map(|zeros| 1.0 - zeros));
    (reached.unwrap(), ended.stderr)
}

#[test]
fn a_run_without_updates_at_the_final_ratio_ends_at_it() {
    // Masks at 5 and 10, and after the last update.
    let (ratio, said) = reached("--final-warmup 0 --delta-t 5");
    assert!((ratio - 0.2).abs() < 1e-3, "{ratio}");
    assert!(!said.contains("remain, not"), "{said}");
}

#[test]
fn a_run_that_is_cut_short_says_what_it_has_reached() {
    // Between masks: 2 updates before pruning, 4 at the final ratio, so that 7 is 5/6 of the way.
    let expected = 0.2 + 0.8 * (1.0f64 - 5.0 / 6.0).powi(3);
    let (ratio, said) = reached("--delta-t 4 --max-steps 7");
    assert!((ratio - expected).abs() < 1e-3, "{ratio} instead of {expected}");
    let line = format!("{:.2} % of the prunable weights remain, not 20.00 %", 100.0 * ratio);
    assert!(said.contains(&format!("{line}: it ended after update 7 of 12")), "{said}");
    // Before pruning begins.
    let (ratio, said) = reached("--max-steps 2");
    assert_eq!(ratio, 1.0);
    assert!(said.contains("100.00 % of the prunable weights remain, not 20.00 %"), "{said}");
}

#[test]
fn magnitude_pruning_ends_at_its_ratio_too() {
    let (ratio, _) = reached("--pruner magnitude --final-warmup 0 --delta-t 8");
    assert!((ratio - 0.2).abs() < 1e-3, "{ratio}");
}

#[test]
fn runs_that_can_have_no_scores_are_refused() {
    let dir = Dir::new().with_tiny_demo("ndarray");
    let refused =
        |flags: &str| dir.platon_refuses(&format!("train tiny --no-tui --output-dir run {flags}"));
    let error = refused("--delta-t 13");
    assert!(error.contains("delta_t: expected far less than the run's 12 updates"), "{error}");
    assert!(error.contains("found 13: there would be no scores to prune by"), "{error}");
    assert!(error.ends_with("(hint: say --delta-t 1, or train for more epochs)"), "{error}");
    let error = refused("--epochs 1 --batch-size 96");
    let expected = "epochs: expected a run of at least 2 updates, found 1 (hint: ";
    assert!(error.contains(expected), "{error}");
    // It falls at 3 to 8.
    for delta_t in [8, 9] {
        let error = refused(&format!("--delta-t {delta_t}"));
        assert!(error.contains("delta_t: expected windows of which one ends"), "{error}");
    }
    assert!(refused("--beta1 0").contains("beta1: expected a number in (0, 1)"));
    assert!(!dir.path("run").exists());
    dir.platon_ok("train tiny --no-tui --output-dir run --delta-t 13 --pruner none");
}
