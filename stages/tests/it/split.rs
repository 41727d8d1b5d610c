//! `split`: every row is in exactly one part, equal texts stay together, and a seed gives the same
//! division on every machine.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Done, Run};

/// The rows `0..rows` with the texts of `text`. Every third has the label `A`, the others `B`.
fn examples(rows: usize, text: impl Fn(usize) -> String) -> String {
    let row = |index: usize| {
        let label = if index.is_multiple_of(3) { "A" } else { "B" };
        let text = text(index);
        // Irregular spaces and an unknown field show that rows are copied byte for byte.
        format!(r#"{{"id": "r{index}", "label":"{label}",  "text":"{text}", "note":{index}}}"#)
    };
    (0..rows).map(|index| row(index) + "\n").collect()
}

fn distinct(rows: usize) -> String {
    examples(rows, |index| format!("text {index}"))
}

fn split(examples: &str) -> Run {
    Run::new("split").input("examples", examples)
}

/// Asserts that each line is in one part, and that both parts keep the order of the input.
#[track_caller]
fn assert_divides(done: &Done, examples: &str) {
    let (train, valid) = (done.text("train"), done.text("valid"));
    let train_lines: BTreeSet<&str> = train.lines().collect();
    let part = |in_train: bool| -> String {
        let lines = examples.lines().filter(|line| train_lines.contains(line) == in_train);
        lines.map(|line| format!("{line}\n")).collect()
    };
    assert_eq!(train, part(true));
    assert_eq!(valid, part(false));
    assert!(!train.is_empty() && !valid.is_empty());
}

fn sizes(done: &Done) -> (usize, usize) {
    (done.text("train").lines().count(), done.text("valid").lines().count())
}

fn label_counts(done: &Done, part: &str) -> BTreeMap<String, u64> {
    serde_json::from_value(done.json("report")[part]["labels"].clone()).unwrap()
}

#[test]
fn every_row_is_in_one_part_byte_for_byte_in_the_order_of_the_input() {
    let examples = distinct(200);
    let done = split(&examples).run();
    assert_divides(&done, &examples);
    assert_eq!(sizes(&done), (180, 20));
}

#[test]
fn shares_are_rounded_to_the_nearest_row_and_leave_neither_part_empty() {
    for (rows, share, train) in
        [(5000, 0.9, 4500), (10, 0.25, 3), (10, 0.24, 2), (7, 0.99, 6), (7, 0.01, 1), (2, 0.9, 1)]
    {
        for stratify in [false, true] {
            let examples = distinct(rows);
            let done = split(&examples).param("share", share).param("stratify", stratify).run();
            assert_divides(&done, &examples);
            assert_eq!(sizes(&done), (train, rows - train), "{share} of {rows}");
        }
    }
}

#[test]
fn a_seed_gives_one_division_and_another_seed_another() {
    let examples = distinct(300);
    let first = split(&examples).run();
    assert_eq!(first.text("valid"), split(&examples).run().text("valid"));
    assert_eq!(first.text("report"), split(&examples).run().text("report"));
    let other = split(&examples).param("seed", 43).run();
    assert_ne!(first.text("valid"), other.text("valid"));
}

#[test]
fn each_row_is_as_likely_to_be_in_a_part_as_another() {
    let examples = distinct(20);
    let mut times = [0; 20];
    for seed in 0..400 {
        for row in split(&examples).param("share", 0.5).param("seed", seed).run().rows("valid") {
            times[row["note"].as_u64().unwrap() as usize] += 1;
        }
    }
    // 200 each, with a standard deviation of 10.
    assert!(times.iter().all(|times| (150..250).contains(times)), "{times:?}");
}

#[test]
fn without_equal_texts_grouping_makes_no_difference() {
    let examples = distinct(100);
    let grouped = split(&examples).run();
    let ungrouped = split(&examples).param("group_duplicates", false).run();
    assert_eq!(grouped.text("valid"), ungrouped.text("valid"));
}

/// The number of texts that both parts have.
fn shared_texts(done: &Done) -> usize {
    let texts = |part: &str| -> BTreeSet<String> {
        done.rows(part).iter().map(|row| row["text"].to_string()).collect()
    };
    texts("train").intersection(&texts("valid")).count()
}

#[test]
fn equal_texts_stay_together_and_the_size_is_still_exact() {
    // 100 of 300 rows share their text with other rows, at most 10 rows the same text.
    let examples = examples(300, |index| match index {
        0..100 => format!("shared {}", index % 30 / 2),
        _ => format!("text {index}"),
    });
    for stratify in [false, true] {
        let grouped = split(&examples).param("share", 0.7).param("stratify", stratify).run();
        assert_divides(&grouped, &examples);
        assert_eq!(shared_texts(&grouped), 0);
        assert_eq!(sizes(&grouped), (210, 90));
    }
    let ungrouped = split(&examples).param("share", 0.7).param("group_duplicates", false).run();
    assert!(shared_texts(&ungrouped) > 5);
    assert_eq!(sizes(&ungrouped), (210, 90));
}

#[test]
fn few_large_groups_come_as_near_the_share_as_they_can() {
    // The group sizes, the share, and the expected size of the training part.
    let cases: [(&[usize], f64, usize); 6] = [
        (&[6, 6], 0.4, 6),
        (&[9, 1], 0.9, 9),
        (&[100, 100], 0.01, 100),
        (&[1, 1, 98], 0.99, 99),
        (&[10, 10, 10, 10], 0.6, 20),
        (&[10, 10, 10, 10], 0.7, 30),
    ];
    for (groups, share, train) in cases {
        let texts: Vec<usize> = groups
            .iter()
            .enumerate()
            .flat_map(|(group, &rows)| std::iter::repeat_n(group, rows))
            .collect();
        let examples = examples(texts.len(), |index| format!("group {}", texts[index]));
        for seed in 0..5 {
            let done = split(&examples).param("share", share).param("seed", seed).run();
            assert_divides(&done, &examples);
            assert_eq!(shared_texts(&done), 0);
            assert_eq!(sizes(&done).0, train, "{share} of {groups:?}");
        }
    }
}

#[test]
fn stratified_shares_hold_for_every_label_within_one_row() {
    let examples = distinct(100);
    for share in [0.5, 0.66, 0.9] {
        let done = split(&examples).param("share", share).param("stratify", true).run();
        assert_divides(&done, &examples);
        assert_eq!(sizes(&done).0, (share * 100.0) as usize);
        for (label, rows) in [("A", 34.0), ("B", 66.0)] {
            let found = label_counts(&done, "train")[label] as f64;
            assert!((found - share * rows).abs() < 1.0, "{share}: {found} of {label}");
        }
    }
}

#[test]
fn folds_are_disjoint_cover_all_rows_and_differ_by_one_row_at_most() {
    let examples = distinct(103);
    for stratify in [false, true] {
        let mut seen = Vec::new();
        for fold in 0..4 {
            let run = split(&examples).param("folds", 4).param("fold", fold);
            let done = run.param("stratify", stratify).run();
            assert_divides(&done, &examples);
            let rows = sizes(&done).1;
            assert!(rows == 25 || rows == 26, "{rows}");
            assert_eq!(done.json("report")["fold_rows"][fold], rows);
            if stratify {
                let found = label_counts(&done, "valid")["A"];
                assert!(found == 8 || found == 9, "{found}");
            }
            seen.extend(done.rows("valid").iter().map(|row| row["note"].as_u64().unwrap()));
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..103).collect::<Vec<_>>());
    }
}

#[test]
fn stratified_folds_of_grouped_texts_partition_the_rows() {
    // Each text has three rows, all with the same label.
    let row = |index: usize| {
        let (label, text) = (["A", "B", "B", "B"][index / 3 % 4], index / 3);
        format!(r#"{{"id":"r{index}","label":"{label}","text":"text {text}","note":{index}}}"#)
    };
    let examples: String = (0..120).map(|index| row(index) + "\n").collect();
    let mut seen = Vec::new();
    for fold in 0..5 {
        let run = split(&examples).param("folds", 5).param("fold", fold).param("stratify", true);
        let done = run.run();
        assert_divides(&done, &examples);
        assert_eq!(shared_texts(&done), 0);
        assert_eq!(
            label_counts(&done, "valid"),
            BTreeMap::from([("A".into(), 6), ("B".into(), 18)])
        );
        seen.extend(done.rows("valid").iter().map(|row| row["note"].as_u64().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..120).collect::<Vec<_>>());
}

#[test]
fn folds_keep_equal_texts_together_and_differ_by_a_group_at_most() {
    let examples = examples(120, |index| format!("text {}", index / 3));
    for fold in 0..7 {
        let done = split(&examples).param("folds", 7).param("fold", fold).run();
        assert_divides(&done, &examples);
        assert_eq!(shared_texts(&done), 0);
        let rows = sizes(&done).1;
        assert!((15..=18).contains(&rows), "{rows}");
    }
}

/// Rows whose first turn of context and text `opening_and_text` gives.
fn replies(rows: usize, opening_and_text: impl Fn(usize) -> (String, String)) -> String {
    let row = |index: usize| {
        let (opening, text) = opening_and_text(index);
        let context = if opening.is_empty() { json!([]) } else { json!([opening, "turn"]) };
        json!({"id": index.to_string(), "text": text, "context": context}).to_string() + "\n"
    };
    (0..rows).map(row).collect()
}

#[test]
fn rows_of_one_conversation_stay_together_where_asked_for() {
    let examples = replies(200, |row| (format!("opening {}", row / 4), format!("text {row}")));
    let openings = |done: &Done, part: &str| -> BTreeSet<String> {
        done.rows(part).iter().map(|row| row["context"][0].to_string()).collect()
    };
    let grouped = split(&examples).param("group_conversations", true).run();
    assert_divides(&grouped, &examples);
    assert_eq!(sizes(&grouped), (180, 20));
    assert!(openings(&grouped, "train").is_disjoint(&openings(&grouped, "valid")));
    assert_eq!(grouped.json("report")["groups"], 50);
    let ungrouped = split(&examples).run();
    assert!(!openings(&ungrouped, "train").is_disjoint(&openings(&ungrouped, "valid")));
    for fold in 0..3 {
        let folds = split(&examples).param("folds", 3).param("fold", fold);
        let done = folds.param("group_conversations", true).run();
        assert!(openings(&done, "train").is_disjoint(&openings(&done, "valid")));
    }
}

#[test]
fn a_text_that_two_conversations_share_joins_them_unless_equal_texts_are_no_group() {
    // Conversations have two rows, one of which shares its text with the next conversation.
    let chain = |row: usize| (format!("opening {}", row / 2), format!("text {}", row.div_ceil(2)));
    let examples = replies(20, chain);
    let error = split(&examples).param("group_conversations", true).run().error();
    assert_eq!(error, "examples.in: 20 rows form 1 groups that stay together, too few for 2 parts");
    let run = split(&examples).param("group_conversations", true);
    let done = run.param("group_duplicates", false).run();
    assert_eq!(done.json("report")["groups"], 10);
}

#[test]
fn rows_without_a_conversation_are_each_by_themselves() {
    let examples = replies(40, |row| (String::new(), format!("text {row}")));
    let grouped = split(&examples).param("group_conversations", true).run();
    assert_eq!(grouped.json("report")["groups"], 40);
    assert_eq!(grouped.text("valid"), split(&examples).run().text("valid"));
}

#[test]
fn a_part_without_a_label_is_warned_of() {
    let done = split("{\"id\":\"1\",\"label\":\"A\",\"text\":\"a\"}\n{\"id\":\"2\",\"label\":\"A\",\"text\":\"b\"}\n{\"id\":\"3\",\"label\":\"B\",\"text\":\"c\"}\n").run();
    let warnings = done.warnings();
    assert!(!warnings.is_empty());
    for warning in warnings {
        assert!(warning.contains("`stratify: true` divides"), "{warning}");
    }
    assert!(split(&distinct(100)).run().warnings().is_empty());
}

#[test]
fn rows_without_labels_are_divided_too_unless_labels_are_needed() {
    let examples: String =
        (0..10).map(|row| format!("{{\"id\":\"{row}\",\"text\":\"t{row}\"}}\n")).collect();
    let done = split(&examples).run();
    assert_divides(&done, &examples);
    assert_eq!(done.json("report")["train"], json!({"rows": 9, "labels": {}}));
    let error = split(&examples).param("stratify", true).run().error();
    assert_eq!(error, "examples.in, line 1: no label, and `stratify` needs one in every row");
}

#[test]
fn what_cannot_be_divided_is_refused() {
    let one = "{\"id\":\"1\",\"text\":\"a\"}\n";
    let error = split(one).run().error();
    assert_eq!(error, "examples.in: expected at least 2 rows to divide, found 1");
    let same = examples(9, |_| "same".to_owned());
    let error = split(&same).run().error();
    assert_eq!(error, "examples.in: 9 rows form 1 groups that stay together, too few for 2 parts");
    let error = split(&distinct(9)).param("folds", 10).run().error();
    assert_eq!(error, "examples.in: 9 rows form 9 groups that stay together, too few for 10 parts");
    let error = split(&(distinct(3) + "{\"id\":\"4\"}\n")).run().error();
    assert_eq!(error, "examples.in, line 4: no field `text`; there are `id`");
}

#[test]
fn senseless_parameters_are_refused() {
    let refused = |name: &str, value: Value| {
        split("").param(name, value).check().unwrap_err().split(',').next().unwrap().to_owned()
    };
    assert_eq!(refused("share", json!(0)), "`share` is 0");
    assert_eq!(refused("share", json!(1.0)), "`share` is 1");
    assert_eq!(refused("folds", json!(1)), "`folds` is 1");
    assert_eq!(refused("fold", json!(3)), "`fold` is 3");
    let run = split("").param("folds", 3).param("fold", 3);
    assert_eq!(run.check().unwrap_err(), "`fold` is 3, expected 0 to 2");
    assert_eq!(split("").param("folds", 3).param("fold", 2).check(), Ok(()));
}

#[test]
fn a_smaller_share_of_the_training_part_is_a_part_of_a_larger_one_and_validates_the_same_rows() {
    let examples = distinct(120);
    let of = |share: f64| {
        let done = split(&examples).param("train_share", share).param("stratify", true).run();
        let lines = |part: &str| -> BTreeSet<String> {
            done.text(part).lines().map(str::to_owned).collect()
        };
        (lines("train"), lines("valid"), label_counts(&done, "train"))
    };
    let (all, valid, counts) = of(1.0);
    assert_eq!((all.len(), &counts["A"], &counts["B"]), (108, &36, &72));
    let mut larger = all;
    for share in [0.5, 0.25, 0.1] {
        let (train, same, counts) = of(share);
        assert!(train.is_subset(&larger) && same == valid, "{share}");
        let wanted = [36.0, 72.0].map(|rows: f64| (rows * share).round() as u64);
        assert_eq!([counts["A"], counts["B"]], wanted, "{share}");
        larger = train;
    }
    let refused = split(&examples).param("train_share", 0.0).check().unwrap_err();
    assert_eq!(refused, "`train_share` is 0, expected more");
}
