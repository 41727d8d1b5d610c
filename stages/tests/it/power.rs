//! The smallest difference that a test set can show, checked by simulation.

use serde_json::json;
use stages::data::random::Random;

use crate::harness::Run;

const ROWS: usize = 500;

/// Predictions of two labels; of so many rows the label is right.
fn predictions(right: usize) -> String {
    let row = |row: usize| {
        let gold = if row.is_multiple_of(2) { "a" } else { "b" };
        let other = if row.is_multiple_of(2) { "b" } else { "a" };
        let label = if row < right { gold } else { other };
        json!({"id": row.to_string(), "label": label, "gold": gold}).to_string() + "\n"
    };
    (0..ROWS).map(row).collect()
}

#[test]
fn a_difference_that_can_be_shown_is_found_in_four_of_five_simulated_pairs_of_models() {
    let done = Run::new("score").input("test", predictions(400)).run();
    let scores = done.json("scores");
    let least = scores["test"]["intervals"]["detectable"]["accuracy"].as_f64().unwrap();
    let mut found = 0;
    for pair in 0..2_000 {
        let mut random = Random::new(1, "pair", pair, 0);
        let mut accuracy =
            |p: f64| (0..ROWS).filter(|_| random.uniform_f64() < p).count() as f64 / ROWS as f64;
        // Either may be the better one.
        let (one, two) = (accuracy(0.8 - least / 2.0), accuracy(0.8 + least / 2.0));
        let error = ((one * (1.0 - one) + two * (1.0 - two)) / ROWS as f64).sqrt();
        found += usize::from((two - one).abs() > 1.96 * error);
    }
    assert!((1_540..1_660).contains(&found), "{found} of 2000, least {least}");
}

#[test]
fn pairs_on_the_same_rows_show_less_and_it_is_said() {
    let run = Run::new("score").input("test", predictions(400));
    let done = run.input("against", predictions(390)).run();
    let scores = done.json("scores");
    let alone = &scores["test"]["intervals"]["detectable"]["accuracy"];
    let compared = &scores["against"]["accuracy"];
    let [low, high] = [0, 1].map(|end| compared["interval"][end].as_f64().unwrap());
    let paired = compared["detectable"].as_f64().unwrap();
    // (1.96 + 0.84) standard errors, of which the interval has 1.96 to each side.
    assert!((paired - 2.8 * (high - low) / 3.92).abs() < 0.002, "{compared}");
    assert!(paired < alone.as_f64().unwrap() / 2.0, "{compared} {alone}");
    let notes = done.events.iter().filter(|event| event["event"] == "note");
    let notes: Vec<&str> = notes.filter_map(|event| event["message"].as_str()).collect();
    assert!(notes[0].starts_with("500 rows of `test` show a difference of 0.0"), "{notes:?}");
    let metrics = done.events.iter().find(|event| event["event"] == "metrics").unwrap();
    assert_eq!(metrics["values"]["accuracy_difference_detectable"], compared["detectable"]);
}
