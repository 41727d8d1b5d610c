//! `pipe gate` and the Git state of runs. The predictions are those of commands, scored by `score`.

use std::process::Command;

use serde_json::Value;

use crate::harness::Project;

/// A pipeline that scores the file `predictions.jsonl`.
fn project() -> Project {
    Project::new(
        "stages:\n  model:\n    run: cp \"$IN_file\" \"$OUT_predictions\"\n    \
         inputs: {file: predictions.jsonl}\n    outputs: [predictions]\n  score:\n    \
         inputs: {test: model:predictions}\n    params: {positive: b, bootstrap: 200}\n",
    )
}

/// Predictions of which every `wrong`th is wrong, of `rows` rows.
fn predictions(rows: usize, is_wrong: impl Fn(usize) -> bool) -> String {
    let row = |row: usize| {
        let (gold, other) = if row.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        let label = if is_wrong(row) { other } else { gold };
        format!("{{\"id\":\"{row}\",\"label\":\"{label}\",\"gold\":\"{gold}\"}}\n")
    };
    (0..rows).map(row).collect()
}

fn run(project: &Project, text: &str) {
    project.write("predictions.jsonl", text);
    project.run(&[]).expect_code(0);
}

const GATE: [&str; 5] = ["gate", "--metric", "score.test_accuracy", "--against", "last~1"];

fn gate(project: &Project, more: &[&str], code: i32) -> Value {
    let arguments = [&GATE[..], &["--json"], more].concat();
    serde_json::from_str(&project.pipe(&arguments).expect_code(code).stdout).unwrap()
}

#[test]
fn the_exit_status_says_whether_predictions_are_worse_or_the_rows_cannot_tell() {
    let project = project();
    run(&project, &predictions(400, |row| row % 10 == 0));
    run(&project, &predictions(400, |row| row % 10 == 0 || row == 1));
    let found = gate(&project, &["--max-loss", "0.02"], 0);
    assert_eq!((&found["verdict"], &found["became_wrong"]), (&"passed".into(), &1.into()));
    run(&project, &predictions(400, |row| row % 4 == 0));
    let found = gate(&project, &[], 1);
    assert_eq!((&found["verdict"], &found["rows"]), (&"worse".into(), &400.into()));
    assert_eq!(found["rows_needed"], Value::Null);
    // Other errors, as many.
    run(&project, &predictions(400, |row| row % 4 == 1));
    let found = gate(&project, &["--max-loss", "0.04"], 3);
    assert_eq!((&found["verdict"], &found["difference"]), (&"undecided".into(), &0.0.into()));
    // The standard error of the difference is √(200 / 400²); (1.645 + 0.842)² · 0.5 / 0.04² rows.
    let needed = found["rows_needed"].as_f64().unwrap();
    assert!((needed - 1932.0).abs() < 100.0, "{found}");
}

#[test]
fn a_run_against_itself_passes_and_a_comment_is_markdown() {
    let project = project();
    run(&project, &predictions(60, |row| row % 5 == 0));
    let same = ["gate", "--metric", "score.test_f1", "--against", "last", "--max-loss", "0"];
    let told = project.pipe(&same).expect_code(0).stdout;
    assert!(told.starts_with("passed  score.test_f1\n"), "{told}");
    assert!(told.contains("Not worse by more than 0, with 95 % confidence."), "{told}");
    run(&project, &predictions(60, |row| row % 5 == 1));
    let told = project.pipe(&[&GATE[..], &["--markdown"]].concat()).expect_code(3).stdout;
    assert!(
        told.starts_with("### `score.test_accuracy`: undecided\n\n60 rows cannot tell"),
        "{told}"
    );
    assert!(told.contains("\n| before | `") && told.contains("\n| now | `"), "{told}");
}

#[test]
fn what_cannot_be_compared_is_refused_with_what_can() {
    let project = project();
    run(&project, &predictions(20, |row| row == 0));
    run(&project, &predictions(30, |row| row == 0));
    let refused = |metric: &str, parts: &[&str]| {
        let told = project.pipe(&["gate", "--metric", metric, "--against", "last~1"]);
        let told = told.expect_code(2).stderr;
        parts.iter().for_each(|part| assert!(told.contains(part), "{part}: {told}"));
    };
    refused("f1", &["`f1` is not a metric of a stage", "score.test_f1"]);
    refused("scores.test_f1", &["has no stage `scores`", "did you mean `score`?"]);
    refused("score.test_log_loss", &["`log_loss` cannot be compared row by row", "macro_f1"]);
    refused("score.valid_f1", &["stage `score` has no predictions of `valid`"]);
    refused("score.test_f1", &["cannot be compared", "the same examples in both runs"]);
    let told = project.pipe(&["gate", "--metric", "score.test_f1", "--against", "main"]);
    assert!(told.expect_code(2).stderr.contains("there is no run `main`"));
    let told = project.pipe(&[&GATE[..], &["--max-loss", "2"]].concat()).expect_code(2).stderr;
    assert!(told.contains("a number from 0 to 1"), "{told}");
}

fn git(project: &Project, arguments: &[&str]) {
    let git = Command::new("git")
        .arg("-C")
        .arg(project.path("."))
        .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(git.status.success(), "{}", String::from_utf8_lossy(&git.stderr));
}

#[test]
fn a_run_knows_its_branch_and_is_found_by_it() {
    let project = project();
    project.write("predictions.jsonl", &predictions(40, |row| row % 8 == 0));
    git(&project, &["init", "-q", "-b", "main"]);
    project.run(&[]).expect_code(0);
    let log = || -> Value {
        let log = project.pipe(&["log", "--json"]).expect_code(0).stdout;
        serde_json::from_str(log.lines().next().unwrap()).unwrap()
    };
    assert_eq!(log().get("git"), None, "without a commit there is no state");
    git(&project, &["add", "pipeline.yaml", "predictions.jsonl"]);
    git(&project, &["commit", "-q", "-m", "first"]);
    project.run(&["--force"]).expect_code(0);
    assert_eq!((&log()["git"]["branch"], &log()["git"]["dirty"]), (&"main".into(), &false.into()));
    git(&project, &["checkout", "-q", "-b", "better"]);
    run(&project, &predictions(40, |row| row == 0));
    assert_eq!((&log()["git"]["branch"], &log()["git"]["dirty"]), (&"better".into(), &true.into()));
    let told = project.pipe(&["log"]).expect_code(0).stdout;
    assert!(told.contains("  better@") && told.contains("  main@"), "{told}");
    let told = project.pipe(&["diff", "main"]).expect_code(0).stdout;
    assert!(told.contains("test_accuracy") && told.contains("main@"), "{told}");
    let told = project.pipe(&["report", "--markdown", "main", "last"]).expect_code(0).stdout;
    assert!(told.starts_with("### Run `") && told.contains("`, better@"), "{told}");
    let told = project.pipe(&["report", "--markdown"]).expect_code(0).stdout;
    assert!(told.contains("| model:predictions, 40 rows | value | 95 % interval |"), "{told}");
    assert!(told.contains("| accuracy | 0.975 | "), "{told}");
    let against = ["gate", "--metric", "score.test_f1", "--against", "main"];
    project.pipe(&against).expect_code(0);
    // A failed run of the branch is not what it is compared with, as long as there is another one.
    git(&project, &["checkout", "-q", "-f", "main"]);
    project.write("predictions.jsonl", "no predictions\n");
    project.run(&[]).expect_code(1);
    git(&project, &["checkout", "-q", "-f", "better"]);
    run(&project, &predictions(40, |row| row == 1));
    project.pipe(&against).expect_code(0);
    let commit = log()["git"]["commit"].as_str().unwrap()[..8].to_owned();
    project.pipe(&["diff", &commit, "last"]).expect_code(0);
}

#[test]
fn runs_are_written_for_tensorboard_and_mlflow() {
    let project = project();
    run(&project, &predictions(40, |row| row == 0));
    for _ in 0..2 {
        let told = project.pipe(&["log", "--tensorboard", "events"]).expect_code(0).stderr;
        assert!(told.contains("wrote 1 run to events"), "{told}");
    }
    let in_folder = |folder: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let runs = in_folder(&project.path("events"));
    let files = in_folder(&runs[0]);
    assert_eq!((runs.len(), files.len()), (1, 1), "{runs:?} {files:?}");
    let bytes = std::fs::read(&files[0]).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"brain.Event:2") && holds(b"score/test_accuracy"));
    project.pipe(&["log", "--mlflow", "mlruns"]).expect_code(0);
    let home = in_folder(&in_folder(&project.path("mlruns"))[0]);
    let home = home.iter().find(|path| path.is_dir()).unwrap();
    let metric = std::fs::read_to_string(home.join("metrics/score/test_accuracy")).unwrap();
    assert!(metric.ends_with(" 0.975 0\n"), "{metric}");
    assert_eq!(std::fs::read_to_string(home.join("params/score/positive")).unwrap(), "b");
}

/// A Python that has the readers, if there is one.
fn python() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("PIPE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut imports = std::process::Command::new(&named);
    imports.args(["-c", "import mlflow.tracking, tensorboard"]);
    let has = imports.stderr(std::process::Stdio::null()).status().is_ok_and(|it| it.success());
    has.then(|| named.into())
}

#[test]
fn the_readers_of_tensorboard_and_mlflow_find_what_was_written() {
    let Some(python) = python() else {
        eprintln!("skipped: PIPE_PYTHON names no Python with tensorboard and mlflow-skinny");
        return;
    };
    let project = project();
    run(&project, &predictions(40, |row| row == 0));
    project.pipe(&["log", "--tensorboard", "events"]).expect_code(0);
    project.pipe(&["log", "--mlflow", "mlruns"]).expect_code(0);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/readers.py");
    let mut read = std::process::Command::new(python);
    read.arg(script).args([project.path("events"), project.path("mlruns")]);
    let read = read.output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let found: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    let board = found["tensorboard"].as_object().unwrap().values().next().unwrap();
    let accuracy = board["score/test_accuracy"][0][1].as_f64().unwrap();
    assert!((accuracy - 0.975).abs() < 1e-6, "{found}");
    let run = &found["mlflow"][0];
    assert_eq!(found["mlflow"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&run["status"], &run["metrics"]["score/test_accuracy"]),
        (&"FINISHED".into(), &0.975.into())
    );
    assert_eq!(run["params"]["score/positive"], "b");
}
