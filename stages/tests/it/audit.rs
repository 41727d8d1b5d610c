//! `audit` against cleanlab, scikit-learn and plain Python (`fixtures/make_audit.py`).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Done, Run};

const NAMES: [&str; 5] = ["ant", "bee", "cat", "dog", "eel"];

fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audit");
    let text = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| format!("{row}\n")).collect()
}

/// A text like no other.
fn text_of(row: usize) -> String {
    format!("{:x}", (row as u128 + 1).pow(3) * 0x9e37_79b9_7f4a_7c15_f39c)
}

/// The labelled examples of a fixture, and their predictions in two files.
struct Case {
    examples: String,
    folds: [String; 2],
}

impl Case {
    fn of(fixture: &Value) -> Case {
        let given = fixture["given"].as_array().unwrap();
        let examples = given.iter().enumerate().map(|(row, given)| {
            let label = NAMES[given.as_u64().unwrap() as usize];
            json!({"id": format!("r{row}"), "label": label, "text": text_of(row)})
        });
        let prediction = |row: usize| {
            let values = fixture["probabilities"][row].as_array().unwrap();
            let best = (0..values.len()).max_by(|a, b| {
                values[*a].as_f64().unwrap().total_cmp(&values[*b].as_f64().unwrap())
            });
            let of: serde_json::Map<String, Value> =
                NAMES.iter().zip(values).map(|(name, p)| ((*name).to_owned(), p.clone())).collect();
            let gold = NAMES[given[row].as_u64().unwrap() as usize];
            json!({"id": format!("r{row}"), "label": NAMES[best.unwrap()], "probabilities": of, "gold": gold})
        };
        let fold =
            |odd: usize| lines((0..given.len()).filter(|row| row % 2 == odd).map(prediction));
        Case { examples: lines(examples), folds: [fold(0), fold(1)] }
    }

    fn run(&self) -> (TempDir, Run) {
        let folder = TempDir::new().unwrap();
        for (name, rows) in ["fold=0", "fold=1"].iter().zip(&self.folds) {
            std::fs::write(folder.path().join(name), rows).unwrap();
        }
        let run = Run::new("audit").input("examples", &self.examples);
        let run = run.input_path("predictions", folder.path().to_owned());
        (folder, run.param("bootstrap", 2))
    }
}

/// The numbers of the rows with a suspicious label, in the order of the file.
fn suspicious(done: &Done) -> Vec<u64> {
    let rows = done.rows("issues");
    let found = rows.iter().filter(|row| row["problems"][0] == "label");
    found.map(|row| row["id"].as_str().unwrap()[1..].parse().unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).collect()
}

const CASES: [&str; 4] = ["two", "three", "rare", "guessing"];

#[test]
fn suspicious_labels_are_those_of_cleanlab() {
    for name in CASES {
        let fixture = fixture(name);
        let case = Case::of(&fixture);
        for (filter, expected) in fixture["issues"].as_object().unwrap() {
            let (_folder, run) = case.run();
            let mut found = suspicious(&run.param("filter", filter.as_str()).run());
            found.sort_unstable();
            assert_eq!(found, numbers(expected), "{name}, {filter}");
        }
        let (_folder, run) = case.run();
        assert_eq!(suspicious(&run.run()), numbers(&fixture["ranked"]), "{name}");
    }
}

#[test]
fn scores_joint_and_noise_are_those_of_cleanlab() {
    for name in CASES {
        let fixture = fixture(name);
        let (_folder, run) = Case::of(&fixture).run();
        let done = run.run();
        for row in done.rows("issues") {
            let number: usize = row["id"].as_str().unwrap()[1..].parse().unwrap();
            for score in ["self_confidence", "normalized_margin"] {
                let (found, wanted) = (row[score].as_f64(), fixture[score][number].as_f64());
                assert!((found.unwrap() - wanted.unwrap()).abs() < 1e-12, "{name}, {score}");
            }
        }
        let labels = &done.json("report")["labels"];
        assert_eq!(labels["joint"], fixture["joint"], "{name}");
        for (class, of) in labels["classes"].as_array().unwrap().iter().enumerate() {
            for noise in ["label_noise", "inverse_label_noise"] {
                let (found, wanted) =
                    (of[noise].as_f64(), fixture[noise][class.to_string()].as_f64());
                assert!(
                    (found.unwrap() - wanted.unwrap()).abs() < 1e-9,
                    "{name}, {noise}, {class}"
                );
            }
        }
    }
}

#[test]
fn the_normalized_margin_can_rank_the_rows() {
    let fixture = fixture("three");
    let (_folder, run) = Case::of(&fixture).run();
    let done = run.param("rank", "normalized_margin").run();
    let rows = done.rows("issues");
    let suspicious = rows.iter().filter(|row| row["problems"][0] == "label");
    let margins: Vec<f64> =
        suspicious.map(|row| row["normalized_margin"].as_f64().unwrap()).collect();
    assert!(margins.is_sorted(), "{margins:?}");
}

#[test]
fn near_equal_texts_and_their_similarity_are_those_of_sets_of_five_character_runs() {
    let fixture = fixture("texts");
    let rows = fixture["rows"].as_array().unwrap();
    let row = |(place, row): (usize, &Value)| json!({"id": place.to_string(), "label": row["label"], "text": row["text"]});
    let examples = lines(rows.iter().enumerate().map(row));
    let run = Run::new("audit").input("examples", examples).param("bootstrap", 2);
    let done = run.param("near", 0.7).param("neighbours", 20).run();
    let mut found: Vec<(u64, u64, f64)> = Vec::new();
    for row in done.rows("issues") {
        let id = |value: &Value| value["id"].as_str().unwrap().parse::<u64>().unwrap();
        for other in row["neighbours"].as_array().unwrap().iter().filter(|it| it["near"] == true) {
            if id(&row) < id(other) {
                found.push((id(&row), id(other), other["similarity"].as_f64().unwrap()));
            }
        }
    }
    let wanted = fixture["near"].as_array().unwrap().iter().filter_map(|pair| {
        let (a, b) = (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap());
        let differ = rows[a as usize]["label"] != rows[b as usize]["label"];
        differ.then(|| (a, b, (pair[2].as_f64().unwrap() * 1000.0).round() / 1000.0))
    });
    found.sort_by_key(|(a, b, _)| (*a, *b));
    assert_eq!(found, wanted.collect::<Vec<_>>());
}

#[test]
fn mutual_information_is_that_of_scikit_learn() {
    let fixture = fixture("texts");
    let rows = fixture["rows"].as_array().unwrap().iter().enumerate();
    let examples = lines(rows.map(
        |(place, row)| json!({"id": place.to_string(), "label": row["label"], "text": row["text"]}),
    ));
    let done = Run::new("audit").input("examples", examples).param("bootstrap", 100).run();
    let report = done.json("report");
    let found = report["label_artefacts"].as_array().unwrap();
    for (feature, bits) in fixture["bits"].as_object().unwrap() {
        let of = found.iter().find(|it| it["feature"] == feature.as_str()).unwrap();
        assert!((of["bits"].as_f64().unwrap() - bits.as_f64().unwrap()).abs() < 1e-12, "{feature}");
    }
    let shares: Vec<f64> = found.iter().map(|it| it["share"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
    let hashtags = found.iter().find(|it| it["feature"] == "hashtags").unwrap();
    assert_eq!(hashtags["remedy"], "`remove: [\"#tag\"]` of `ingest`");
    let share = hashtags["share"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|end| hashtags["interval"][end].as_f64().unwrap());
    assert!(0.0 < low && low < share && share < high, "{hashtags}");
    assert!(
        done.text("table").contains("at least 2: 22 % of A, 1.2 % of B"),
        "{}",
        done.text("table")
    );
}

fn example(id: &str, label: &str, text: &str) -> Value {
    json!({"id": id, "label": label, "text": text})
}

#[test]
fn an_equal_text_with_another_label_and_a_text_of_the_test_part_are_issues() {
    let train = lines([
        example("a", "YES", "what a lovely day it is"),
        example("b", "NO", "what a lovely day it is"),
        example("c", "NO", "What a  lovely day it is"),
        example("d", "NO", "nothing like the others"),
        example("e", "YES", "this one is in the test part"),
        example("f", "YES", ""),
        example("g", "NO", ""),
    ]);
    let test = lines([
        json!({"id": "t1", "text": "this one is in the test part"}),
        json!({"id": "t2", "text": "NOTHING like the others"}),
        json!({"id": "t3", "text": ""}),
    ]);
    let done = Run::new("audit").input("examples", train).input("test", test).run();
    let found: Vec<(Value, Value)> = done
        .rows("issues")
        .into_iter()
        .map(|mut row| (row["id"].take(), row["problems"].take()))
        .collect();
    let expected = [
        ("a", json!(["conflict"])),
        ("b", json!(["conflict"])),
        ("c", json!(["near_conflict"])),
        ("e", json!(["in_test"])),
        ("d", json!(["near_test"])),
    ];
    assert_eq!(found, expected.map(|(id, problems)| (json!(id), problems)));
    let twins = &done.json("report")["twins"];
    assert_eq!((&twins["test_in_train"], &twins["test_near_train"]), (&json!(1), &json!(1)));
    let expected = [
        "2 rows of `examples` with an equal text that has another label",
        "1 row of `test` with a text that `examples` has too",
    ];
    assert_eq!(done.warnings(), expected);
}

#[test]
fn a_shift_between_the_parts_is_found_with_the_parameter_that_removes_it() {
    let row = |place: usize, spaces: &str| {
        json!({"id": place.to_string(), "label": if place.is_multiple_of(2) { "NO" } else { "YES" },
               "text": format!("word{}{spaces}end", place % 7)})
    };
    let done = Run::new("audit")
        .input("examples", lines((0..60).map(|it| row(it, "  "))))
        .input("test", lines((0..60).map(|it| row(it, " "))))
        .param("bootstrap", 50)
        .run();
    let report = done.json("report");
    let shifts = report["shifts"].as_array().unwrap();
    let spaces = shifts.iter().find(|it| it["feature"] == "runs_of_white_space").unwrap();
    assert_eq!(spaces["remedy"], "`spaces: collapse` of `ingest`");
    assert_eq!((&spaces["right"], &spaces["by_chance"]), (&json!(1.0), &json!(0.5)));
    assert!(spaces["share"].as_f64().unwrap() > 0.98, "{spaces}");
    assert_eq!(spaces["example"], "at least 1: 100 % of train, 0 % of test");
}

#[track_caller]
fn refused(examples: &str, predictions: &str) -> String {
    let folder = TempDir::new().unwrap();
    let file: PathBuf = folder.path().join("fold");
    std::fs::write(&file, predictions).unwrap();
    let run = Run::new("audit").input("examples", examples);
    let error = run.input_path("predictions", folder.path().to_owned()).run().error();
    error.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn predictions_of_other_examples_are_refused() {
    let examples = lines([example("a", "YES", "x"), example("b", "NO", "y")]);
    let row = |id: &str, gold: &str| json!({"id": id, "label": "YES", "probabilities": {"YES": 0.6, "NO": 0.4}, "gold": gold});
    let error = refused(&examples, &lines([row("a", "YES"), row("z", "YES")]));
    assert!(error.starts_with("fold, line 2: `examples` has no row `z`"), "{error}");
    let error = refused(&examples, &lines([row("a", "NO")]));
    assert!(error.contains("the true label of `a` is `NO`, but `YES` in `examples`"), "{error}");
    let bare = json!({"id": "a", "label": "YES"});
    assert!(refused(&examples, &lines([bare])).contains("no probabilities"));
    assert!(refused("", &lines([row("a", "YES")])).contains("holds no examples"));
    assert!(refused(&examples, "").contains("no prediction of a labelled example"));
}

#[test]
fn rows_without_a_prediction_are_counted_and_a_model_that_knows_its_rows_is_suspected() {
    let examples = lines((0..200).map(|it| example(&it.to_string(), ["A", "B"][it % 2], "x")));
    let folder = TempDir::new().unwrap();
    let rows = (0..150).map(|it| {
        let (label, p) = ([("A", 0.99), ("B", 0.01)])[it % 2];
        json!({"id": it.to_string(), "label": label, "probabilities": {"A": p, "B": 1.0 - p}})
    });
    std::fs::write(folder.path().join("fold"), lines(rows)).unwrap();
    let run = Run::new("audit").input("examples", examples).param("bootstrap", 2);
    let done = run.input_path("predictions", folder.path().to_owned()).run();
    let warnings = done.warnings();
    assert!(warnings[0].starts_with("50 of 200 examples have no label or no out-of-fold"));
    assert!(warnings[1].contains("trained with these examples?"), "{warnings:?}");
}
