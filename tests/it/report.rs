//! `pipe report`: the page for one run, several runs, a sweep and a failed run; that user text never
//! becomes markup; and how a browser shows the page, if there is one.

pub mod browser;
mod markup;

use std::fs;

use serde_json::Value;

use crate::harness::Project;
use markup::Page;

/// Real predictions, made without the model.
const BASELINE: &str = r#"
stages:
  ingest:
    inputs: {train: ROOT/data/sample/train.jsonl, test: ROOT/data/sample/test.jsonl}
    params: {remove: ["@USER"]}
  split: {inputs: {examples: ingest:train}, params: {share: 0.8}}
  guess:
    uses: baseline
    inputs: {train: split:train, valid: split:valid, test: ingest:test}
    params: {char_ngrams: 0, c: 1.0}
  score:
    inputs: {valid: guess:valid, test: guess:predictions, against: guess:valid}
    params: {positive: SARCASM, bootstrap: 50}
sweeps:
  grid: {guess.c: [0.1, 10.0], guess.word_ngrams: [1, 2], metric: score.valid_f1}
"#;

pub fn baseline() -> Project {
    Project::new(&BASELINE.replace("ROOT", env!("CARGO_MANIFEST_DIR")))
}

/// Commands that write what the built-ins would write; one of them fails. Every text that may be
/// hostile is. The name of a stage may not, and is covered by a unit test of the page.
const HOSTILE: &str = r#"
stages:
  texts: {run: 'cp "$IN_e" "$OUT_valid"', inputs: {e: examples.jsonl}, outputs: [valid]}
  guess:
    run: 'cp "$IN_p" "$OUT_valid"'
    inputs: {p: predictions.jsonl, valid: texts:valid}
    outputs: [valid]
    params: {note: "</style><script>alert('param')</script>\"&"}
  score: {inputs: {valid: guess:valid}, params: {bootstrap: 20}}
  train:
    run: |
      for epoch in 1 2 3; do
        echo "{\"epoch\":$epoch,\"loss <b>'&\":0.$((9 - epoch)),\"valid_f1\":0.$((4 + epoch))}"
      done > "$OUT_metrics"
    outputs: [metrics]
  breaks:
    run: 'echo "<script>alert(4)</script> & no such device" >&2; exit 3'
    inputs: {m: train:metrics}
    outputs: [x]
"#;

const TWEET: &str = "<script>alert(1)</script> \"&' </style><img src=x onerror=alert(2)>";

/// 60 rows, of which `wrong` are predicted wrongly.
pub fn hostile(wrong: usize) -> Project {
    let project = Project::new(HOSTILE);
    let labels = ["<b>joy</b>", "anger\"&", "calm"];
    let (mut rows, mut examples) = (String::new(), String::new());
    for index in 0..60 {
        let gold = labels[index % 3];
        let said = if index < wrong { labels[(index + 1) % 3] } else { gold };
        let sure = 0.5 + index as f64 / 200.0;
        let probability = |label: &str| if label == said { sure } else { (1.0 - sure) / 2.0 };
        let probabilities: Value = labels.iter().map(|it| (*it, probability(it))).collect();
        let id = format!("row {index} <i>");
        let row = serde_json::json!({
            "id": id, "label": said, "probabilities": probabilities, "gold": gold
        });
        let example = serde_json::json!({
            "id": id, "label": gold, "text": format!("{TWEET} number {index}"),
            "context": ["first <turn>", "second \"turn\""]
        });
        rows.push_str(&format!("{row}\n"));
        examples.push_str(&format!("{example}\n"));
    }
    project.write("predictions.jsonl", &rows);
    project.write("examples.jsonl", &examples);
    project.run(&["-k"]).expect_code(1);
    project
}

#[track_caller]
pub fn data(project: &Project, arguments: &[&str]) -> Value {
    let ended = project.pipe(&[&["report", "--json"], arguments].concat()).expect_code(0);
    ended.events().remove(0)
}

#[track_caller]
fn page(project: &Project, arguments: &[&str]) -> Page {
    project.pipe(&[&["report"], arguments].concat()).expect_code(0);
    Page::parse(project.read("report.html"))
}

#[test]
fn a_run_is_told_with_its_graph_scores_and_mistakes() {
    let project = baseline();
    project.run(&[]).expect_code(0);
    project.run(&["--set", "guess.c=0.5"]).expect_code(0);
    let report = data(&project, &[]);
    let run = &report["runs"][0];
    let of = |name: &str| {
        let stages = run["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == name).unwrap()
    };
    assert_eq!(of("ingest")["outcome"], "hit");
    assert_eq!(of("guess")["outcome"], "ran");
    assert_eq!(of("guess")["reason"], "c 1.0 → 0.5");
    assert_eq!(of("guess")["record"]["params"]["word_ngrams"], 2);
    assert_eq!(of("guess")["record"]["inputs"][1]["origin"], "split:train");
    assert!(
        of("ingest")["record"]["inputs"][0]["origin"].as_str().unwrap().ends_with("test.jsonl")
    );
    assert_eq!(run["edges"], serde_json::json!([[0, 1], [0, 2], [1, 2], [2, 3]]));
    let evaluations = run["evaluations"].as_array().unwrap();
    assert_eq!(evaluations.len(), 2);
    let test = evaluations.iter().find(|it| it["artifact"] == "guess:predictions").unwrap();
    assert_eq!((&test["input"], &test["labelled"]), (&"test".into(), &120.into()));
    let scored = &of("score")["metrics"];
    let named = |name: &str| {
        let figures = test["figures"].as_array().unwrap();
        figures.iter().find(|figure| figure["name"] == name).unwrap()
    };
    assert_eq!(named("f1")["value"], scored["test_f1"]);
    assert_eq!(named("f1")["interval"][0], scored["test_f1_low"]);
    let average = test["precision_recall"][0]["average_precision"].as_f64().unwrap();
    let expected = scored["test_average_precision"].as_f64().unwrap();
    assert!((average - expected).abs() < 1e-12, "{average} {expected}");
    assert_eq!(test["threshold"]["used"], 0.5);
    // The list has as many mistakes as the matrix, with their texts, the most confident first.
    let matrix = &test["matrix"];
    let off_diagonal = matrix[0][1].as_u64().unwrap() + matrix[1][0].as_u64().unwrap();
    assert_eq!(test["wrong"]["rows"], off_diagonal);
    let examples = test["wrong"]["examples"].as_array().unwrap();
    let sure = examples.iter().map(|it| it["said"][0]["probability"].as_f64().unwrap());
    assert!(sure.collect::<Vec<_>>().is_sorted_by(|one, two| one >= two));
    let sample = fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample/test.jsonl"),
    );
    let sample = sample.unwrap();
    let id = examples[0]["id"].as_str().unwrap();
    let source = sample.lines().find(|line| line.contains(&format!("\"{id}\""))).unwrap();
    let source: Value = serde_json::from_str(source).unwrap();
    let text = examples[0]["text"][0]["text"].as_str().unwrap().trim();
    assert!(source["response"].as_str().unwrap().contains(text), "{source} {text}");
    assert!(!examples[0]["context"].as_array().unwrap().is_empty());
}

#[test]
fn the_page_is_one_file_whose_charts_all_have_words() {
    let project = baseline();
    project.run(&[]).expect_code(0);
    let page = page(&project, &[]);
    page.expect_self_contained();
    let titles = page.chart_titles();
    for wanted in [
        "Which stage reads from which",
        "Precision and recall of SARCASM",
        "The effect of the threshold",
        "Reliability",
    ] {
        assert!(titles.iter().any(|title| title == wanted), "no {wanted} in {titles:?}");
    }
    let parts = ["Summary", "Stages", "Scores", "Mistakes", "Parameters and versions"];
    assert_eq!(page.texts("h2"), parts);
    let text = page.text();
    for wanted in [
        "macro F1",
        "McNemar's test gives p 1.000",
        "never ran",
        "word_ngrams",
        "built-in baseline, version",
    ] {
        assert!(text.contains(wanted), "no {wanted}");
    }
    // Equal runs give equal pages.
    let first = project.read("report.html");
    project.pipe(&["report", "--out", "-"]).expect_code(0);
    assert_eq!(project.pipe(&["report", "--out", "-"]).stdout, first);
}

#[test]
fn what_people_wrote_is_text_wherever_it_stands() {
    let project = hostile(9);
    let page = page(&project, &[]);
    page.expect_self_contained();
    assert_eq!(page.count("script"), 1);
    assert_eq!(page.count("style"), 1);
    assert_eq!((page.count("img"), page.count("i")), (0, 0));
    let text = page.text();
    for wanted in [
        TWEET,
        "first <turn>",
        "</style><script>alert('param')</script>\"&",
        "loss <b>'&",
        "<b>joy</b>",
        "anger\"&",
        "row 0 <i>",
        "<script>alert(4)</script> & no such device",
    ] {
        assert!(text.contains(wanted), "no {wanted}");
    }
}

#[test]
fn more_than_two_labels_have_no_threshold_and_curves_for_each() {
    let report = data(&hostile(9), &[]);
    let evaluation = &report["runs"][0]["evaluations"][0];
    assert_eq!(evaluation["labels"], serde_json::json!(["<b>joy</b>", "anger\"&", "calm"]));
    assert_eq!(evaluation["precision_recall"].as_array().unwrap().len(), 3);
    assert_eq!(evaluation["threshold"], Value::Null);
    assert_eq!(evaluation["wrong"]["rows"], 9);
    assert_eq!(report["runs"][0]["training"][0]["rows"][2]["values"]["loss <b>'&"], 0.6);
}

#[test]
fn a_failed_stage_shows_its_error_and_its_last_lines() {
    let project = hostile(3);
    let page = page(&project, &["last"]);
    assert!(page.texts("h3").contains(&"breaks failed".to_owned()));
    let text = page.text();
    assert!(text.contains("exit code 3") && text.contains("no such device"), "{text}");
    assert!(text.contains("4 stages ran, 1 failed"), "{text}");
}

#[test]
fn what_is_no_longer_in_the_cache_is_left_out_with_a_word() {
    let project = baseline();
    project.run(&[]).expect_code(0);
    // Only the scores remain of these predictions; the bytes of one file are damaged.
    let mut damaged = 0;
    for object in project.stored("objects") {
        let text = fs::read_to_string(&object).unwrap_or_default();
        if text.contains("\"probabilities\"") {
            damaged += 1;
            fs::remove_file(&object).unwrap();
            if damaged == 1 {
                fs::write(&object, text.replace("SARCASM", "ANGERED")).unwrap();
            }
        }
    }
    assert_eq!(damaged, 2);
    let told = page(&project, &[]).text();
    assert!(told.contains("is no longer in the cache, so there are neither curves"), "{told}");
    assert!(told.contains("is damaged in the cache, so there are neither curves"), "{told}");
    assert!(told.contains("Confusion matrix") && !told.contains("Reliability"));
    for record in project.stored("records") {
        fs::remove_file(record).unwrap();
    }
    let told = page(&project, &[]).text();
    assert!(told.contains("The records of ingest, split, guess, score are no longer"), "{told}");
    assert!(told.contains("No predictions of labelled examples are left in the cache"), "{told}");
    // The log itself has the metrics.
    assert!(told.contains("test_f1"), "{told}");
}

#[test]
fn two_runs_are_told_with_what_differs_and_the_examples_that_changed_sides() {
    let project = baseline();
    project.run(&[]).expect_code(0);
    project.run(&["--set", "guess.c=0.001"]).expect_code(0);
    let report = data(&project, &["last~1", "last"]);
    let compared = &report["comparison"];
    assert_eq!(compared["columns"][0]["name"], "guess.c");
    assert_eq!(compared["rows"][0]["values"][0], 1.0);
    assert_eq!(compared["rows"][1]["values"][0], 0.001);
    let stages = report["difference"]["diff"]["stages"].as_array().unwrap();
    let guess = stages.iter().find(|stage| stage["stage"] == "guess").unwrap();
    let found = &guess["predictions"]["predictions"];
    let flips = report["difference"]["flips"].as_array().unwrap();
    let flips = flips.iter().find(|it| it["artifact"] == "guess:predictions").unwrap();
    assert_eq!(flips["became_right"]["rows"], found["only_this_right"]);
    assert_eq!(flips["became_wrong"]["rows"], found["only_other_right"]);
    let example = &flips["became_wrong"]["examples"][0];
    assert_eq!(example["said"][0]["label"], example["gold"]);
    assert_ne!(example["said"][1]["label"], example["gold"]);
    let page = page(&project, &["last~1", "last"]);
    page.expect_self_contained();
    let text = page.text();
    assert!(text.contains("McNemar's test gives p"), "{text}");
    assert!(text.contains("c 1.0 → 0.001"), "{text}");
}

#[test]
fn thirty_runs_are_a_table_and_lines() {
    let project = baseline();
    for run in 0..30 {
        let set = format!("score.bootstrap={}", 10 + run);
        project.run(&["--set", &set]).expect_code(0);
    }
    let page = page(&project, &["-n", "30"]);
    page.expect_self_contained();
    assert!(page.chart_titles().contains(&"Parallel coordinates".to_owned()));
    assert_eq!(page.with_attribute("tr", "data-row"), 30);
    assert_eq!(page.with_attribute("g", "data-row"), 30);
    assert!(page.text().contains("30 runs"));
    let json = data(&project, &["-n", "3"]);
    assert_eq!(json["comparison"]["rows"].as_array().unwrap().len(), 3);
    let [first, last] =
        ["last~2", "last"].map(|name| data(&project, &[name])["runs"][0]["id"].clone());
    assert_eq!([&json["runs"][0]["id"], &json["runs"][2]["id"]], [&first, &last]);
}

#[test]
fn a_sweep_is_told_by_its_combinations_and_the_best_of_them() {
    let project = baseline();
    project.pipe(&["sweep", "grid"]).expect_code(0);
    let report = data(&project, &[]);
    let compared = &report["comparison"];
    assert_eq!(compared["sweep"], true);
    let names: Vec<&Value> =
        compared["columns"].as_array().unwrap().iter().map(|it| &it["name"]).take(2).collect();
    assert_eq!(names, ["guess.c", "guess.word_ngrams"]);
    let rows = compared["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let by = compared["by"].as_u64().unwrap() as usize;
    let value = |row: &Value| row["values"][by].as_f64().unwrap();
    let best = rows.iter().rev().max_by(|one, two| value(one).total_cmp(&value(two))).unwrap();
    // The detailed sections are about that combination.
    let figures = report["runs"][0]["evaluations"][1]["figures"].as_array().unwrap();
    assert!(figures.iter().any(|it| it["value"].as_f64() == Some(value(best))), "{figures:?}");
    let page = page(&project, &[]);
    page.expect_self_contained();
    assert!(page.text().contains("guess ×4"));
}

#[test]
fn a_file_is_replaced_whole_and_what_is_no_file_stays() {
    let project = baseline();
    let none = project.pipe(&["report"]).expect_code(2);
    assert!(none.stderr.contains("the log of runs is empty"), "{}", none.stderr);
    project.run(&["split"]).expect_code(0);
    project.write("page.html", "old");
    project.pipe(&["report", "--out", "page.html"]).expect_code(2);
    assert_eq!(project.read("page.html"), "old");
    project.pipe(&["report", "--out", "page.html", "--force"]).expect_code(0);
    assert!(project.read("page.html").starts_with("<!doctype html>"));
    assert!(
        project.pipe(&["report", "last~7"]).expect_code(2).stderr.contains("there is no `last~7`")
    );
    fs::create_dir(project.path("folder")).unwrap();
    let folder = project.pipe(&["report", "--out", "folder"]).expect_code(1);
    assert!(folder.stderr.contains("something other than a file is there"), "{}", folder.stderr);
    let missing = project.pipe(&["report", "--out", "no/such/page.html"]).expect_code(1);
    assert!(missing.stderr.contains("writing `no/such/page.html`"), "{}", missing.stderr);
    let names = fs::read_dir(project.path(".")).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains(".pipe-")), "{names:?}");
}

/// A stage with two parameters that looks like training to the engine.
pub fn learning() -> Project {
    Project::new(
        r#"
stages:
  train:
    run: |
      for epoch in 1 2 3; do
        echo "{\"epoch\":$epoch,\"train_loss\":$PARAM_rate.$((9 - epoch)),\"valid_f1\":0.$PARAM_seed$epoch}"
      done > "$OUT_metrics"
      for row in 0 1 2 3 4 5 6 7 8 9; do
        label=NO; if [ $row -lt $PARAM_seed ]; then label=YES; fi
        echo "{\"id\":\"$row\",\"label\":\"$label\",\"gold\":\"YES\"}"
      done > "$OUT_predictions"
    params: {seed: 1, rate: 1}
    outputs: [metrics, predictions]
  score: {inputs: {valid: train:predictions}, params: {positive: YES, bootstrap: 0}}
sweeps:
  grid: {train.rate: [1, 2], train.seed: [3, 5], metric: score.valid_accuracy}
"#,
    )
}

#[test]
fn curves_of_combinations_lie_over_one_another_and_seeds_come_together() {
    let project = learning();
    project.pipe(&["sweep", "grid"]).expect_code(0);
    let report = data(&project, &[]);
    let curves = &report["curves"][0];
    assert_eq!(
        (&curves["stage"], curves["curves"].as_array().unwrap().len()),
        (&"train".into(), 4)
    );
    assert_eq!(curves["curves"][0]["rows"].as_array().unwrap().len(), 3);
    let means = &report["comparison"]["means"];
    assert_eq!(means["over"], serde_json::json!(["train.seed"]));
    let rows = means["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!(row["runs"], 2);
        assert!((row["figures"][0]["mean"].as_f64().unwrap() - 0.4).abs() < 1e-12, "{row}");
    }
    let page = page(&project, &[]);
    page.expect_self_contained();
    let titles = page.texts("h4");
    for title in ["valid F1", "train loss"] {
        assert!(titles.iter().any(|it| it == title), "{titles:?}");
    }
    assert!(page.text().contains("0.4000 ± 0.1414"));
}
