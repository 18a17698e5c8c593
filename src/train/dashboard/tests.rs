//! What the dashboard shows, and that it fits.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::board::{About, Board, Wish};
use super::view;
use crate::pruning::RatioSchedule;

fn board() -> Board {
    let schedule = RatioSchedule::new((1.0, 0.2), 20, 1, 4, 10, 240).unwrap();
    let about = About {
        title: "mnli, platon".into(),
        folder: "checkpoints/runs/mnli-platon-0.2".into(),
        updates: 240,
        epochs: 8,
        pruning: Some((schedule, 0.2)),
    };
    Board::new(about, 0, 1, 0.0)
}

/// After update `step`, with all that a task with two evaluation sets shows.
fn after(step: usize) -> Board {
    let mut board = board();
    for update in 1..=step {
        for (name, text) in [
            ("Loss", "0.6931"),
            ("Learning rate", "8.00e-5"),
            ("Remaining ratio", "0.4512"),
            ("Zeros", "0.5321"),
            ("Threshold", "1.234e-5"),
            ("Updates per second", "0.85"),
        ] {
            board.metric(name, false, text.into(), Some(1.0 / update as f64));
        }
        board.trained(update, update.div_ceil(30), Some(192.4));
    }
    for (name, text) in [
        ("ACC mnli_matched", "84.12"),
        ("Dev loss mnli_matched", "0.4321"),
        ("ACC mnli_mismatched", "83.98"),
        ("Dev loss mnli_mismatched", "0.4411"),
    ] {
        board.metric(name, true, text.into(), Some(0.5));
    }
    board
}

fn drawn(board: &Board, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, board)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>() + "\n").collect()
}

#[track_caller]
fn shows(picture: &str, parts: &[&str]) {
    for part in parts {
        assert!(picture.contains(part), "{part} is not in\n{picture}");
    }
}

#[test]
fn eighty_columns_show_what_matters() {
    for (width, height) in [(80, 24), (120, 40)] {
        let mut board = after(61);
        board.keys = true;
        shows(
            &drawn(&board, width, height),
            &[
                "platon: mnli, platon",
                "checkpoints/runs/mnli-platon-0.2",
                "61 of 240, epoch 3 of 8: training",
                "3:12 left, 0:00 so far",
                "the ratio falls until update 160",
                "0.4512 asked for now, 0.2 at the end",
                "0.5321 when last counted; between maskings weights grow again",
                "Learning rate            8.00e-5",
                "Threshold               1.234e-5",
                "Updates per second          0.85",
                "ACC mnli_matched           84.12",
                "Dev loss mnli_mismatched  0.4411",
                "Loss, all updates",
                "25 %, 3:12 left",
                "q quit",
                "← → other metric",
            ],
        );
    }
}

#[test]
fn each_phase_has_its_words() {
    let state = |step: usize| {
        let lines = after(step).state();
        lines.into_iter().map(|(label, text)| format!("{label}: {text}\n")).collect::<String>()
    };
    shows(&state(20), &["Phase: nothing is pruned until update 20", "Zeros: none yet"]);
    shows(&state(21), &["Phase: the ratio falls until update 160", "Zeros: 0.5321 when last"]);
    shows(&state(161), &["Phase: at the final ratio until update 240"]);
    assert!(state(161).ends_with("Zeros: 0.5321 when last counted\n"), "{}", state(161));
    let mut dense = after(3);
    dense.about.pruning = None;
    assert_eq!(dense.state().len(), 2);
}

#[test]
fn the_whole_menu_fits_and_threatens_nobody() {
    let mut board = after(61);
    assert_eq!(board.typed(b"q"), Wish::None);
    let picture = drawn(&board, 80, 24);
    shows(
        &picture,
        &[
            "Quit?",
            "s  stop: finish this update and save a checkpoint;",
            "`platon resume` goes on from there",
            "c  continue",
            "Ctrl-C  stops too; twice, at once and without a checkpoint",
        ],
    );
    assert!(!picture.contains("panic"));
    assert_eq!(board.typed(b"c"), Wish::None);
    assert!(!board.menu);
    assert_eq!(board.typed(b"s"), Wish::None);
    assert_eq!(board.typed(b"qs\x1b[C"), Wish::Stop, "keys that came at once");
    assert!(!board.menu);
    board.stopping = true;
    shows(&drawn(&board, 80, 24), &["epoch 3 of 8: stopping", "a checkpoint saved"]);
}

#[test]
fn arrows_choose_the_metric_and_the_kind_of_plot() {
    let mut board = after(3);
    board.typed(b"\x1b[C");
    board.typed(b"\x1b[B");
    shows(&drawn(&board, 80, 24), &["Learning rate, the latest updates"]);
    board.typed(b"\x1bOD");
    board.typed(b"\x1b[D");
    board.typed(b"\x1b[A");
    shows(&drawn(&board, 80, 24), &["Dev loss mnli_mismatched, all updates"]);
    assert_eq!(board.typed(b"\x0c"), Wish::Redraw);
}

#[test]
fn a_score_enters_the_plot_when_its_whole_set_is_scored() {
    let mut board = after(30);
    let points = |board: &Board| board.metrics.last().unwrap().series.points(false);
    board.evaluated(100, 200);
    shows(&drawn(&board, 80, 24), &["evaluating, 100 of 200 samples"]);
    assert!(points(&board).is_empty());
    board.evaluated(200, 200);
    assert_eq!(points(&board), [(30.0, 0.5)]);
}

#[test]
fn before_the_first_update_nothing_is_made_up() {
    let picture = drawn(&board(), 80, 24);
    shows(&picture, &["0 of 240, epoch 1 of 8: starting", "not yet known", "0 %"]);
    let mut resumed = Board::new(board().about, 120, 4, 60.0);
    shows(&drawn(&resumed, 80, 24), &["120 of 240, epoch 4 of 8: starting", "1:00 so far"]);
    resumed.trained(121, 5, Some(f64::INFINITY));
    shows(&drawn(&resumed, 80, 24), &["not yet known"]);
}

#[test]
fn no_size_is_too_small_to_draw() {
    let mut board = after(61);
    board.menu = true;
    for (width, height) in [(1, 1), (10, 3), (20, 8), (31, 12), (300, 4)] {
        drawn(&board, width, height);
        drawn(&self::board(), width, height);
    }
}
