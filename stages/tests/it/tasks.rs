//! Several labels a text, and numbers, through the stages that need no model. Reference numbers are those of
//! `fixtures/make_tasks.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use stages::builtin::baseline::Matrix;
use stages::builtin::baseline::ridge::Ridge;

use crate::harness::{Done, Run};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tasks").join(name)
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../fixtures/tasks/expected.json")).unwrap()
}

/// Asserts that all numbers of `wanted` are in `found`, within 1e-9.
#[track_caller]
fn assert_has(found: &Value, wanted: &Value, what: &str) {
    match wanted {
        Value::Object(wanted) => {
            wanted
                .iter()
                .for_each(|(key, it)| assert_has(&found[key], it, &format!("{what}.{key}")));
        }
        Value::Number(wanted) => {
            let (found, wanted) = (found.as_f64().unwrap(), wanted.as_f64().unwrap());
            assert!((found - wanted).abs() < 1e-9, "{what}: {found}, not {wanted}");
        }
        _ => assert_eq!(found, wanted, "{what}"),
    }
}

fn ingest(text: &str, task: &str) -> Run {
    Run::new("ingest").input("train", text).param("text_field", "text").param("task", task)
}

#[track_caller]
fn labels(done: &Done, input: &str) -> Vec<Value> {
    done.rows(input).iter().map(|row| row["label"].clone()).collect()
}

/// An Arrow file of these columns.
#[cfg(feature = "columns")]
fn arrow(columns: Vec<(&str, arrow_array::ArrayRef)>) -> Vec<u8> {
    let batch = arrow_array::RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        arrow_ipc::writer::FileWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[cfg(feature = "columns")]
#[test]
fn a_file_of_columns_has_a_column_for_each_label_too() {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 0, 0]));
    let b: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, false]));
    let c: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 0.0, 1.0]));
    let names = json!(["a", "b", "c"]);
    let run = |columns: Vec<(&str, ArrayRef)>| {
        let run = Run::new("ingest").input("train", arrow(columns)).param("text_field", "text");
        run.param("task", "multi").param("label_fields", names.clone()).run()
    };
    let all = vec![("text", texts.clone()), ("a", a.clone()), ("b", b), ("c", c)];
    let wanted = [json!(["a", "b"]), json!([]), json!(["c"])];
    assert_eq!(labels(&run(all), "train"), wanted);
    let told = run(vec![("text", texts), ("a", a)]).error();
    assert!(told.contains("there is no column `b`"), "{told}");
}

#[test]
fn lists_a_separator_and_a_column_for_each_label_give_the_same_rows() {
    let wanted = [json!(["a", "b"]), json!([]), json!(["c"])];
    let lists = "{\"text\":\"x\",\"label\":[\"b\",\"a\",\"b\"]}\n{\"text\":\"y\",\"label\":[]}\n{\"text\":\"z\",\"label\":[\"c\"]}";
    assert_eq!(labels(&ingest(lists, "multi").run(), "train"), wanted);
    let cells = "text,label\nx,b | a\ny,\nz,c\n";
    let done = ingest(cells, "multi").param("label_separator", "|").param("delimiter", ",").run();
    assert_eq!(labels(&done, "train"), wanted);
    let columns = "text,a,b,c\nx,1,1,0\ny,0,0,0\nz,0,0,true\n";
    let fields = || ingest(columns, "multi").param("label_fields", json!(["a", "b", "c"]));
    assert_eq!(labels(&fields().run(), "train"), wanted);
    let quoted = "text\tlabel\nx\t[\"a\",\"b\"]\ny\t[]\nz\t[\"c\"]\n";
    assert_eq!(labels(&ingest(quoted, "multi").run(), "train"), wanted);
    let objects = "{\"text\":\"x\",\"a\":1,\"b\":true,\"c\":0}\n{\"text\":\"y\",\"a\":\"0\",\"b\":0,\"c\":false}\n{\"text\":\"z\",\"a\":0,\"b\":0,\"c\":1}";
    let done = ingest(objects, "multi").param("label_fields", json!(["a", "b", "c"])).run();
    assert_eq!(labels(&done, "train"), wanted);
    let report = done.json("report")["train"].clone();
    assert_eq!(report["label_sets"], json!({"known": 3, "empty": 1, "mean": 1.0, "most": 2}));
    assert_eq!(report["labels"]["a"], json!({"rows": 1, "share": 1.0 / 3.0}));
}

#[test]
fn label_map_and_labels_apply_to_each_label_of_a_list() {
    let text =
        "{\"text\":\"x\",\"label\":[\"A\",\"b\",\"other\"]}\n{\"text\":\"y\",\"label\":[\"b\"]}";
    let map = json!({"A": "a", "other": ""});
    let done =
        ingest(text, "multi").param("label_map", map).param("labels", json!(["a", "b"])).run();
    assert_eq!(labels(&done, "train"), [json!(["a", "b"]), json!(["b"])]);
    let error = ingest(text, "multi").param("labels", json!(["A", "b"])).run().error();
    assert_eq!(error, "train.in, line 1: unknown label `other`; `labels` has `A`, `b`");
}

#[test]
fn a_number_may_be_written_as_text_but_nothing_else_is_one() {
    let text = "text,label\nx,1.5\ny,-2\nz, 3e1 \n";
    let done = ingest(text, "regression").run();
    assert_eq!(labels(&done, "train"), [json!(1.5), json!(-2.0), json!(30.0)]);
    assert_eq!(
        done.json("report")["train"]["numbers"],
        json!({"rows": 3, "min": -2.0, "mean": 29.5 / 3.0, "max": 30.0})
    );
    for wrong in ["1,5", "nan", "inf", "good", "true"] {
        let text = format!("text\tlabel\nx\t{wrong}\n");
        let error = ingest(&text, "regression").run().error();
        let wanted = format!("train.in, line 2: the field `label` is `{wrong}`, expected a number");
        assert_eq!(error, wanted);
    }
    let error = ingest("text,label\nx,\n", "regression").run().error();
    assert_eq!(error, "train.in, line 2: no label: the field `label` is empty or absent");
}

#[test]
fn labels_of_another_kind_than_the_task_are_refused_with_what_to_do() {
    for (text, task, wanted) in [
        (
            "{\"text\":\"x\",\"label\":[1]}",
            "single",
            "expected one label; `task: multi` reads lists of labels",
        ),
        (
            "{\"text\":\"x\",\"label\":[1]}",
            "regression",
            "expected one label; `task: multi` reads lists of labels",
        ),
        (
            "{\"text\":\"x\",\"label\":\"a;b\"}",
            "multi",
            "`label_separator` says what separates the labels in a text",
        ),
        (
            "{\"text\":\"x\",\"label\":[\"a\",null]}",
            "multi",
            "the list of labels has null, expected texts",
        ),
        ("{\"text\":\"x\"}", "multi", "no label: the field `label` is empty or absent"),
    ] {
        let error = ingest(text, task).run().error();
        assert!(error.ends_with(wanted), "{error}");
    }
    let columns =
        |text: &str| ingest(text, "multi").param("label_fields", json!(["a", "b"])).run().error();
    assert!(
        columns("text,a,b\nx,1,2\n")
            .ends_with("field `b` of `label_fields` is `2`, expected 0 or 1")
    );
    assert!(columns("text,a,b\nx,1,\n").ends_with("is empty, but others have a 0 or a 1"));
    assert!(
        columns("text,a,b\nx,,\n").ends_with("no label: the `label_fields` are empty or absent")
    );
    assert!(columns("text,a\nx,1\n").contains("the header has no field `b`"));
    // Unknown labels must not be scored as none.
    let error = Run::new("ingest")
        .param("text_field", "text")
        .param("task", "multi")
        .param("label_separator", ";")
        .input("test", "text,label\nx,\ny,\n")
        .run()
        .error();
    assert_eq!(
        error,
        "test.in: none of the 2 rows has a label; if they are not known, leave the field out"
    );
}

#[test]
fn parameters_of_another_task_are_refused() {
    for (task, name, value) in [
        ("single", "label_separator", json!(";")),
        ("single", "label_fields", json!(["a"])),
        ("regression", "labels", json!(["1"])),
        ("regression", "label_map", json!({"a": "1"})),
        ("multi", "label_separator", json!(" ")),
        ("multi", "label_fields", json!(["text"])),
        ("multi", "label_fields", json!(["a", "a"])),
    ] {
        let problem = ingest("", task).param(name, value).check().unwrap_err();
        assert!(problem.starts_with(&format!("`{name}` ")), "{problem}");
    }
}

/// Rows whose labels these are.
fn examples(sets: &[Vec<String>]) -> String {
    let row = |(number, set): (usize, &Vec<String>)| {
        json!({"id": number.to_string(), "label": set, "text": format!("text {number}")})
            .to_string()
            + "\n"
    };
    sets.iter().enumerate().map(row).collect()
}

#[test]
fn stratified_folds_divide_each_label_as_evenly_as_iterative_stratification_does() {
    let wanted = &expected()["stratified"];
    let set = |row: &Value| -> Vec<String> {
        row.as_array().unwrap().iter().map(|it| format!("l{it}")).collect()
    };
    let sets: Vec<Vec<String>> = wanted["rows"].as_array().unwrap().iter().map(set).collect();
    let text = examples(&sets);
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    sets.iter().flatten().for_each(|label| *all.entry(label.clone()).or_default() += 1);
    let mut rows = 0;
    for fold in 0..5 {
        let run = Run::new("split").input("examples", &text).param("stratify", true);
        let report = run.param("folds", 5).param("fold", fold).run().json("report");
        rows += report["valid"]["rows"].as_u64().unwrap();
        for (index, (label, count)) in all.iter().enumerate() {
            let found = report["valid"]["labels"][label].as_f64().unwrap();
            let off = (found - *count as f64 / 5.0).abs();
            let theirs = wanted["deviation"][index].as_f64().unwrap();
            assert!(
                off <= theirs.max(1.0),
                "fold {fold}: {label} is off by {off}, theirs by {theirs}"
            );
        }
    }
    assert_eq!(rows, 300);
}

#[test]
fn a_stratified_share_does_not_depend_on_how_labels_are_written_and_keeps_equal_texts_together() {
    let sets: Vec<Vec<String>> = (0..50)
        .map(|row| if row % 10 == 0 { vec!["rare".to_owned()] } else { vec!["common".to_owned()] })
        .collect();
    let text = examples(&sets).replace("text 10\"", "text 20\"");
    let run = || {
        Run::new("split").input("examples", &text).param("stratify", true).param("share", 0.8).run()
    };
    let report = run().json("report");
    assert_eq!(report["valid"]["labels"], json!({"common": 9, "rare": 1}));
    assert_eq!((&report["groups"], &report["train"]["rows"]), (&json!(49), &json!(40)));
    assert_eq!(run().text("train"), run().text("train"));
    let number = "{\"id\":\"1\",\"label\":1.5,\"text\":\"x\"}\n{\"id\":\"2\",\"label\":2.5,\"text\":\"y\"}\n";
    let error = Run::new("split").input("examples", number).param("stratify", true).run().error();
    assert_eq!(
        error,
        "examples.in, line 1: the label is a number, and `stratify` needs labels with a name"
    );
    let mixed = number.replace("2.5", "[\"a\"]");
    let error = Run::new("split").input("examples", mixed).run().error();
    assert!(
        error.contains(
            "line 2: the label is a list of labels, but that of an earlier row is a number"
        ),
        "{error}"
    );
}

#[test]
fn figures_of_label_lists_equal_those_of_scikit_learn() {
    let done =
        Run::new("score").input_path("valid", fixture("multi.jsonl")).param("bootstrap", 200).run();
    let scores = done.json("scores")["valid"].clone();
    assert_has(&scores, &expected()["multi"], "multi");
    for (name, figure) in [("accuracy", &scores["accuracy"]), ("micro_f1", &scores["micro"]["f1"])]
    {
        let [low, high] = [0, 1].map(|end| scores["intervals"][name][end].as_f64().unwrap());
        let figure = figure.as_f64().unwrap();
        assert!(low < figure && figure < high && high - low < 0.2, "{name} {low} {figure} {high}");
    }
    assert_eq!((&scores["task"], &scores["headline"]), (&json!("multi"), &json!("micro_f1")));
}

#[test]
fn figures_of_numbers_equal_those_of_scipy_and_scikit_learn() {
    let run = || Run::new("score").input_path("valid", fixture("numbers.jsonl"));
    let scores = run().param("bootstrap", 200).run().json("scores")["valid"].clone();
    assert_has(&scores, &expected()["numbers"], "numbers");
    for name in ["pearson", "spearman", "rmse", "mae"] {
        let [low, high] = [0, 1].map(|end| scores["intervals"][name][end].as_f64().unwrap());
        let figure = scores[name].as_f64().unwrap();
        assert!(low < figure && figure < high, "{name} {low} {figure} {high}");
    }
    // Equal predictions have no correlation.
    let text = "{\"id\":\"1\",\"label\":2,\"gold\":1}\n{\"id\":\"2\",\"label\":2,\"gold\":4}\n";
    let scores = Run::new("score").input("test", text).run().json("scores")["test"].clone();
    assert_eq!((&scores["pearson"], &scores["mae"]), (&Value::Null, &json!(1.5)));
}

#[test]
fn predictions_of_two_tasks_are_not_scored_together() {
    let (multi, number) =
        ("{\"id\":\"1\",\"label\":[],\"gold\":[]}\n", "{\"id\":\"1\",\"label\":1,\"gold\":2}\n");
    let error = Run::new("score").input("valid", multi).input("test", number).run().error();
    assert_eq!(error, "test.in: each prediction is a number, in the other input a list of labels");
    let error = Run::new("score").input("valid", format!("{multi}{number}")).run().error();
    assert!(
        error.contains("line 2: the label is a number, but that of an earlier row is a list"),
        "{error}"
    );
    let error =
        Run::new("score").input("valid", multi.replace("\"gold\":[]", "\"gold\":1")).run().error();
    assert!(
        error.contains("the true label is a number, the predicted one a list of labels"),
        "{error}"
    );
    let error = Run::new("score").input("valid", multi).param("positive", "a").run().error();
    assert!(
        error.starts_with("parameter `positive`: each prediction is a list of labels"),
        "{error}"
    );
    let error = Run::new("score").input("valid", number).input("against", number).run().error();
    assert!(error.contains("`against` compares labels only"), "{error}");
}

#[test]
fn lists_of_labels_are_compared_as_pairs_with_those_of_another_file() {
    let path = fixture("multi.jsonl");
    let run = || Run::new("score").input_path("valid", path.clone()).param("bootstrap", 100);
    let same = run().input_path("against", path.clone()).run().json("scores")["against"].clone();
    assert_eq!(
        (&same["headline"], &same["micro_f1"]["difference"]),
        (&json!("micro_f1"), &json!(0.0))
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let worse: String = text
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row["label"] = json!(["never"]);
            row.to_string() + "\n"
        })
        .collect();
    let found = run().input("against", worse).run().json("scores")["against"].clone();
    let wanted = expected()["multi"]["micro"]["f1"].as_f64().unwrap();
    assert!((found["micro_f1"]["difference"].as_f64().unwrap() - wanted).abs() < 1e-9, "{found}");
    assert_eq!(found["only_other_right"], 0);
}

const LISTS: &str = "{\"id\":\"1\",\"label\":[\"a\"],\"text\":\"red apple\"}\n{\"id\":\"2\",\"label\":[\"a\",\"b\"],\"text\":\"red blue apple\"}\n{\"id\":\"3\",\"label\":[],\"text\":\"grey stone\"}\n{\"id\":\"4\",\"label\":[\"b\"],\"text\":\"blue stone\"}\n";

fn baseline(train: &str) -> Run {
    let run = Run::new("baseline").input("train", train).input("test", train);
    run.param("min_rows", 1).param("char_ngrams", 0)
}

#[test]
fn each_label_of_the_baseline_is_one_against_the_rest() {
    let done = baseline(LISTS).run();
    let alone = LISTS
        .replace("[\"a\",\"b\"]", "\"yes\"")
        .replace("[\"a\"]", "\"yes\"")
        .replace("[\"b\"]", "\"no\"")
        .replace("[]", "\"no\"");
    let single = baseline(&alone).run();
    for (multi, single) in done.rows("predictions").iter().zip(single.rows("predictions")) {
        assert_eq!(multi["probabilities"]["a"], single["probabilities"]["yes"]);
    }
    assert_eq!(done.text("answer"), "1,a\n2,a,b\n3,\n4,b\n");
    assert_eq!(done.json("metrics")["train"]["accuracy"], 1.0);
    let error = baseline(LISTS).param("kind", "embedding").run().error();
    assert!(error.contains("`ngram` also learns lists of labels and numbers"), "{error}");
}

#[test]
fn the_baseline_of_numbers_is_scikit_learns_ridge() {
    let wanted = &expected()["ridge"];
    let floats = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
    };
    let rows: Vec<Vec<f64>> = wanted["x"].as_array().unwrap().iter().map(floats).collect();
    let sparse = rows.iter().map(|row| (0_u32..).zip(row.iter().copied()).collect());
    let c = wanted["c"].as_f64().unwrap();
    let (ridge, outcome) =
        Ridge::fit(&Matrix::new(4, sparse), &floats(&wanted["y"]), c, |_| ()).unwrap();
    assert!(outcome.converged);
    for (found, wanted) in ridge.weights.iter().zip(floats(&wanted["weights"])) {
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    }
    assert!((ridge.intercept - wanted["intercept"].as_f64().unwrap()).abs() < 1e-6);
    let numbers = LISTS
        .replace("[\"a\",\"b\"]", "2")
        .replace("[\"a\"]", "1")
        .replace("[\"b\"]", "1.5")
        .replace("[]", "0");
    let done = baseline(&numbers).run();
    let first = done.rows("predictions")[0]["label"].as_f64().unwrap();
    assert_eq!(done.text("answer").lines().next().unwrap(), format!("1,{first}"));
    assert!(done.json("metrics")["train"]["pearson"].as_f64().unwrap() > 0.9);
}

/// An ensemble of members with these rows.
fn ensemble(members: [&str; 2], method: &str) -> Done {
    let folder = tempfile::tempdir().unwrap();
    for (name, rows) in ["one", "two"].iter().zip(members) {
        std::fs::write(folder.path().join(format!("{name}.jsonl")), rows).unwrap();
    }
    let run = Run::new("ensemble").input_path("predictions", folder.path().to_owned());
    run.param("method", method).run()
}

#[test]
fn an_ensemble_takes_the_mean_of_each_label_and_of_numbers() {
    let one = "{\"id\":\"1\",\"label\":[\"a\"],\"probabilities\":{\"a\":0.9,\"b\":0.2}}\n";
    let two = "{\"id\":\"1\",\"label\":[\"b\"],\"probabilities\":{\"a\":0.3,\"b\":0.7}}\n";
    assert_eq!(ensemble([one, two], "mean").rows("predictions")[0]["label"], json!(["a"]));
    // Each label has half of the votes, and the mean probability decides.
    assert_eq!(ensemble([one, two], "vote").rows("predictions")[0]["label"], json!(["a"]));
    let (three, four) = ("{\"id\":\"1\",\"label\":3,\"gold\":2}\n", "{\"id\":\"1\",\"label\":4}\n");
    let done = ensemble([three, four], "mean");
    assert_eq!(
        done.rows("predictions")[0],
        json!({"id": "1", "label": 3.5, "probabilities": {}, "gold": 2.0})
    );
    assert_eq!(done.text("answer"), "1,3.5\n");
    assert!(ensemble([three, four], "vote").error().contains("members cannot vote on a number"));
    assert!(
        ensemble([one, three], "mean")
            .error()
            .contains("the prediction is a number, but in `one` it is a list")
    );
}
