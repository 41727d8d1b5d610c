//! Labels and ids that a person should look at: names that look alike, that mean "no value", that
//! training lacks, or that `answer.txt` cannot hold.

use serde_json::{Value, json};

use crate::harness::{Done, Run};

/// Rows of CSV with these labels, each this many times.
fn rows(labels: &[(&str, usize)]) -> String {
    let mut text = "id,label,response\n".to_owned();
    let mut number = 0;
    for (label, times) in labels {
        for _ in 0..*times {
            number += 1;
            let label = label.replace('"', "\"\"");
            text += &format!("r{number},\"{label}\",text {number}\n");
        }
    }
    text
}

fn ingested(labels: &[(&str, usize)]) -> Done {
    Run::new("ingest").input("train", rows(labels)).run()
}

/// Examples as `ingest` writes them, with these ids and labels.
fn examples(rows: &[(&str, &str)]) -> String {
    let row = |(number, (id, label)): (usize, &(&str, &str))| {
        json!({"id": id, "label": label, "text": format!("words of {label} {number}")}).to_string()
            + "\n"
    };
    rows.iter().enumerate().map(row).collect()
}

/// A line of `predictions.jsonl` with one true label and the probability of each known label.
fn prediction(id: usize, gold: &str, label: &str, known: &[&str]) -> String {
    let share = |name: &&str| {
        let share = if *name == label { 0.75 } else { 0.25 / (known.len() - 1) as f64 };
        ((*name).to_owned(), json!(share))
    };
    let shares: serde_json::Map<String, Value> = known.iter().map(share).collect();
    json!({"id": format!("r{id}"), "label": label, "probabilities": shares, "gold": gold})
        .to_string()
        + "\n"
}

#[track_caller]
fn only_warning(done: &Done) -> &str {
    assert!(done.result.is_ok(), "{}", done.error());
    let warnings = done.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings[0]
}

#[test]
fn labels_that_look_alike_are_told_with_their_counts_and_a_label_map_that_joins_them() {
    for (other, shown, yaml, difference) in [
        ("yes ", "`yes `", r#""yes ""#, "white space or invisible characters"),
        ("yes\u{a0}", "`yes\\u{a0}`", r#""yes\u00a0""#, "white space or invisible characters"),
        ("y\u{200b}es", "`y\\u{200b}es`", r#""y\u200bes""#, "white space or invisible characters"),
        ("Yes", "`Yes`", r#""Yes""#, "case"),
        ("ye\u{17f}", "`yeſ`", r#""yeſ""#, "case"),
        ("ｙｅｓ", "`ｙｅｓ`", r#""ｙｅｓ""#, "their Unicode form"),
        (
            "ＹＥＳ\u{3000}",
            "`ＹＥＳ\\u{3000}`",
            r#""ＹＥＳ\u3000""#,
            "white space, case, Unicode form or how a number is written",
        ),
    ] {
        let done = ingested(&[(other, 2), ("no", 5), ("yes", 7)]);
        let wanted = format!(
            "labels that differ only in {difference}: `yes` (7 rows of `train`), {shown} (2 rows of \
             `train`); if they are one class, set `label_map: {{{yaml}: \"yes\"}}`"
        );
        assert_eq!(only_warning(&done), wanted);
        assert_eq!(done.json("report")["train"]["labels"][other]["rows"], 2);
    }
    let composed = ingested(&[("cafe\u{301}", 2), ("café", 3)]);
    let warning = only_warning(&composed);
    assert!(warning.contains("in their Unicode form: `café` (3 rows"), "{warning}");
    assert!(warning.contains(r#"label_map: {"cafe\u0301": "café"}"#), "{warning}");
    let dashes = ingested(&[("non\u{2011}fiction", 2), ("non-fiction", 3)]);
    assert!(only_warning(&dashes).contains("in their Unicode form"), "{:?}", dashes.warnings());
    for different in ["a", "b c", "1", "10", "-1", "0.1", "1e5", "v1.0"] {
        assert!(ingested(&[("-10", 3), (different, 3)]).warnings().is_empty(), "{different}");
    }
}

#[test]
fn numbers_that_two_files_write_in_two_ways_are_one_warning() {
    let test = rows(&[("1.0", 2), ("0.0", 1), ("1", 1)]);
    let done =
        Run::new("ingest").input("train", rows(&[("1", 9), ("0", 9)])).input("test", test).run();
    let of_numbers = |warning: &&&str| warning.contains("how the number is written");
    let warnings = done.warnings();
    assert_eq!(warnings.iter().filter(of_numbers).count(), 2, "{warnings:?}");
    let one = "`1` (9 rows of `train`, 1 row of `test`), `1.0` (2 rows of `test`)";
    assert!(warnings.iter().any(|warning| warning.contains(one)), "{warnings:?}");
    assert!(!warnings.iter().any(|warning| warning.contains("missing from")), "{warnings:?}");
}

#[test]
fn a_label_map_makes_one_class_of_two_names_and_no_label_of_a_missing_one() {
    let train = rows(&[("yes", 4), ("Yes ", 2), ("no", 3), ("NaN", 2)]);
    let run = |map: Value| Run::new("ingest").input("train", train.clone()).param("label_map", map);
    let done = run(json!({"Yes ": "yes", "NaN": ""})).param("on_error", "skip").run();
    let labels = &done.json("report")["train"]["labels"];
    assert_eq!((&labels["yes"]["rows"], &labels["no"]["rows"]), (&json!(6), &json!(3)));
    assert_eq!(labels.as_object().unwrap().len(), 2);
    assert_eq!(done.rows("skipped").len(), 2);
    let done = run(json!({"Yes ": "yes", "NaN": "no", "maybe": "no"})).run();
    assert_eq!(only_warning(&done), "`label_map`: no row has the label `maybe`");
}

#[test]
fn a_label_that_stands_for_a_missing_one_is_told() {
    for name in ["NaN", "nan", "null", "None", "NA", "N/A", "#N/A", "<NA>", " NULL", "undefined"] {
        let done = ingested(&[(name, 3), ("a", 9), ("b", 9)]);
        let warning = only_warning(&done);
        let wanted = format!(
            "`train`: 3 rows with a label that often stands for a missing one: `{name}` (3)"
        );
        assert!(warning.starts_with(&wanted), "{warning}");
        assert!(warning.contains("`label_map`"), "{warning}");
    }
    assert!(ingested(&[("nano", 3), ("nah", 3)]).warnings().is_empty());
}

#[test]
fn a_label_that_cannot_be_seen_is_none() {
    for label in ["", "  ", "\u{a0}", "\u{200b}"] {
        let done = ingested(&[("a", 2), (label, 1)]);
        let wanted = "train.in, line 4: no label: the field `label` is empty or absent";
        assert_eq!(done.error(), wanted, "{label:?}");
    }
}

#[test]
fn a_label_that_differs_from_a_declared_one_in_white_space_is_refused_with_the_way_out() {
    let train = rows(&[("yes", 2), ("no\u{a0}", 1)]);
    let run = || Run::new("ingest").input("train", &train).param("labels", json!(["yes", "no"]));
    assert_eq!(
        run().run().error(),
        "train.in, line 4: unknown label `no\\u{a0}`; `labels` has `no`, which differs only in white \
         space or invisible characters: `label_map` can replace it"
    );
    assert_eq!(run().param("label_map", json!({"no\u{a0}": "no"})).run().rows("train").len(), 3);
}

#[test]
fn a_label_that_only_the_test_set_has_is_told_to_be_missing_from_training() {
    let test = rows(&[("b", 1), ("c", 2), ("d", 1)]);
    let done =
        Run::new("ingest").input("train", rows(&[("a", 3), ("b", 4)])).input("test", test).run();
    let warning = done.warnings().into_iter().find(|it| it.contains("missing from")).unwrap();
    assert_eq!(
        warning,
        "3 rows of `test` have a label that is missing from the training data, so no model can predict \
         it: `c` (2), `d` (1); `train` has `b` (4), `a` (3); if the names differ, `label_map` can \
         replace them"
    );
}

#[test]
fn a_declared_label_without_a_training_row_is_told() {
    let run = Run::new("ingest").input("train", rows(&[("a", 3), ("b", 4)]));
    let done = run.param("labels", json!(["a", "b", "c"])).run();
    assert_eq!(only_warning(&done), "`labels`: no row of `train` has `c`");
}

#[test]
fn a_field_with_too_many_values_is_no_label_unless_its_values_are_declared() {
    let names: Vec<String> = (0..400).map(|name| format!("class {name}")).collect();
    let labels = |each: &[usize]| -> Vec<(&str, usize)> {
        names.iter().map(String::as_str).zip(each.iter().copied()).collect()
    };
    let refused = |each: &[usize]| {
        let error = ingested(&labels(each)).error();
        assert_eq!(error.lines().count(), 1);
        for part in ["train.in: the field `label` has ", "`label_field`", "in `labels`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        error
    };
    assert!(refused(&[1; 20]).contains("20 different labels in 20 rows"));
    assert!(refused(&[1, 2, 1, 2, 2, 2, 1]).contains("7 different labels in 11 rows"));
    let rare: Vec<usize> = std::iter::repeat_n(1, 150).chain([1000, 1000]).collect();
    assert!(refused(&rare).contains("150 of the 152 different labels occur in one row only"));
    for each in [&[1, 1, 1, 1][..], &[2; 20], &[3; 150], &rare[1..]] {
        assert!(ingested(&labels(each)).result.is_ok(), "{each:?}");
    }
    let declared = Run::new("ingest").input("train", rows(&labels(&[1; 20])));
    assert!(declared.param("labels", json!(names)).run().result.is_ok());
    // A small test set of a data set with many classes.
    let test = Run::new("ingest").input("train", rows(&labels(&[3; 20])));
    assert!(test.input("test", rows(&labels(&[1; 20]))).run().result.is_ok());
}

#[test]
fn a_split_says_which_labels_one_part_lacks_and_which_parameter_helps() {
    let labels: Vec<(String, &str)> =
        (0..40).map(|row| (format!("r{row}"), if row < 38 { "a" } else { "rare" })).collect();
    let labels: Vec<(&str, &str)> =
        labels.iter().map(|(id, label)| (id.as_str(), *label)).collect();
    let warnings = |seed: usize| -> Vec<String> {
        let run = Run::new("split").input("examples", examples(&labels)).param("share", 0.5);
        run.param("seed", seed).run().warnings().into_iter().map(str::to_owned).collect()
    };
    let all: Vec<String> = (0..24).flat_map(warnings).collect();
    let stratify = "`stratify: true` divides the rows of each label in the same proportion";
    let untrained = format!(
        "2 rows of `valid` have a label that is missing from the training data, so no model can predict \
         it: `rare` (2); {stratify}"
    );
    assert!(all.contains(&untrained), "{all:?}");
    assert!(
        all.contains(&format!("`valid` has no row with the label `rare` (2); {stratify}")),
        "{all:?}"
    );
    let run = Run::new("split").input("examples", examples(&labels)).param("share", 0.5);
    assert!(run.param("stratify", true).run().warnings().is_empty());
    let once = examples(&labels[..39]);
    let done = Run::new("split").input("examples", once).param("stratify", true).run();
    assert!(only_warning(&done).contains("too few rows"), "{:?}", done.warnings());
}

#[test]
fn tokenize_says_which_declared_labels_the_training_rows_lack() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenize");
    let run = |valid: &[(&str, &str)]| {
        let train = examples(&[("1", "a"), ("2", "b")]);
        let run = Run::new("tokenize").input_path("model", fixtures.join("wordpiece"));
        let run = run.input("train", train).input("valid", examples(valid));
        run.param("labels", json!(["a", "b", "c"])).run()
    };
    let done = run(&[("3", "a"), ("4", "c")]);
    let warning = only_warning(&done);
    assert!(warning.starts_with("1 row of `valid` has a label that is missing"), "{warning}");
    assert!(warning.contains("`c` (1)"), "{warning}");
    assert!(run(&[("3", "a")]).warnings().is_empty());
}

#[test]
fn a_baseline_says_which_labels_it_was_not_trained_on() {
    let train = examples(&[("1", "a"), ("2", "b"), ("3", "a"), ("4", "b")]);
    let test = examples(&[("5", "a"), ("6", "c"), ("7", "c")]);
    let done = Run::new("baseline").input("train", train).input("test", test).run();
    let warning = only_warning(&done);
    assert!(warning.starts_with("2 rows of `test` have a label that is missing"), "{warning}");
    assert!(warning.contains("`c` (2)"), "{warning}");
}

#[test]
fn true_and_predicted_labels_without_a_common_name_are_told() {
    let rows: String = (0..4)
        .map(|id| prediction(id, ["pos", "neg"][id % 2], "LABEL_1", &["LABEL_0", "LABEL_1"]))
        .collect();
    let done = Run::new("score").input("test", rows).run();
    assert_eq!(
        only_warning(&done),
        "`test`: true and predicted labels have no name in common, so every prediction counts as wrong: \
         the true labels are `neg` (2), `pos` (2), the predicted ones `LABEL_1` (4); `label_map` of \
         `predict` replaces the names of the model"
    );
    assert_eq!(done.json("scores")["test"]["accuracy"], 0.0);
}

#[test]
fn true_labels_that_the_model_does_not_know_are_told_and_so_are_those_that_look_alike() {
    let known = ["neg", "pos"];
    let gold = ["neg", "Pos", "other", "neg"];
    let rows: String = (0..4).map(|id| prediction(id, gold[id], "neg", &known)).collect();
    let done = Run::new("score").input("valid", rows).run();
    let warnings = done.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(
        warnings[0],
        "`valid`: labels that differ only in case: `Pos` (true in 1 row, predicted in 0 rows), `pos` (true \
         in 0 rows, predicted in 0 rows); if they are one class, set `label_map: {\"pos\": \"Pos\"}` in \
         `predict` or in `ingest`"
    );
    assert!(warnings[1].contains("`other` (1)"), "{warnings:?}");
    // A label that the model knows and never predicts is in order.
    let rows: String = (0..2).map(|id| prediction(id, "pos", "neg", &known)).collect();
    assert!(Run::new("score").input("valid", rows).run().warnings().is_empty());
}

#[test]
fn ids_and_labels_with_a_line_break_are_refused_by_their_line() {
    for character in
        ["\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{1e}", "\u{85}", "\u{2028}", "\u{2029}"]
    {
        let row = |id: &str, label: &str| {
            json!({"id": id, "label": label, "response": "a"}).to_string() + "\n"
        };
        let forged = format!("x,A{character}y");
        for (what, bad) in [("id", row(&forged, "A")), ("label", row("z", &forged))] {
            for input in ["train", "test"] {
                let error = Run::new("ingest").input(input, row("w", "A") + &bad).run().error();
                let wanted = format!("{input}.in, line 2: the {what} `x,A\\");
                assert!(error.starts_with(&wanted), "{error}");
                assert!(error.ends_with("but an answer, `id,LABEL`, is one line"), "{error}");
            }
        }
    }
}

#[test]
fn an_answer_is_csv_with_a_field_for_the_id_and_one_for_the_label() {
    let train = [("1", "a,b"), ("2", "say \"no\""), ("3", "a,b"), ("4", "say \"no\"")];
    let ids = ["x,a", "\"", " y ", "", "plain", "=1+1", "'"];
    let test: Vec<(&str, &str)> = ids.iter().map(|id| (*id, "a,b")).collect();
    let done =
        Run::new("baseline").input("train", examples(&train)).input("test", examples(&test)).run();
    let answer = done.text("answer");
    assert_eq!(answer.lines().count(), ids.len());
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(answer.as_bytes());
    let read: Vec<(String, String)> = reader.deserialize().map(Result::unwrap).collect();
    let wanted: Vec<(String, String)> = done
        .rows("predictions")
        .iter()
        .map(|row| ["id", "label"].map(|name| row[name].as_str().unwrap().to_owned()).into())
        .collect();
    assert_eq!(read, wanted);
    // Nothing that needs no quotation marks has any.
    assert!(answer.lines().nth(4).unwrap().starts_with("plain,"), "{answer}");
    let forged = examples(&[("5\n6,a", "a,b")]);
    let run = Run::new("baseline").input("train", examples(&train)).input("test", forged);
    let error = run.run().error();
    let wanted = "the id `5\\n6,a` has a line break, and each answer is one line";
    assert!(error.ends_with(wanted), "{error}");
}
