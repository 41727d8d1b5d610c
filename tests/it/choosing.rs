//! Model selection with the built-in stages that need no network: cross-validation over folds, an
//! ensemble over seeds, and a comparison of predictions.

use serde_json::Value;

use crate::harness::Project;

const PIPELINE: &str = r#"
stages:
  ingest:
    inputs: {train: ROOT/data/sample/train.jsonl}
  fold:
    uses: split
    foreach: [0, 1, 2]
    inputs: {examples: ingest:train}
    params: {folds: 3, fold: "${item}", stratify: true}
    publish: {valid: "valid-${item}.jsonl"}
  validate:
    uses: baseline
    foreach: [0, 1, 2]
    inputs: {train: "fold@${item}:train", valid: "fold@${item}:valid"}
    params: {char_ngrams: 0}
  member:
    uses: baseline
    foreach: [1, 2, 3]
    inputs: {train: fold@0:train, valid: fold@0:valid, test: fold@0:valid}
    params: {kind: embedding, char_ngrams: 0, seed: "${item}"}
  ensemble:
    inputs: {predictions: "member@*:predictions", valid: "member@*:valid"}
    params: {method: vote, weights: {"3": 1.5}}
    publish: {answer: answer.txt}
  score:
    inputs: {valid: ensemble:valid, against: validate@0:valid}
    publish: {scores: scores.json}
"#;

fn project() -> Project {
    Project::new(&PIPELINE.replace("ROOT", env!("CARGO_MANIFEST_DIR")))
}

fn ids(lines: &str) -> Vec<String> {
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn folds_are_validated_one_by_one_and_cover_the_examples() {
    let project = project();
    project.run(&["validate"]).expect_code(0);
    let parts: Vec<Vec<String>> =
        (0..3).map(|fold| ids(&project.read(&format!("valid-{fold}.jsonl")))).collect();
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 330);
    let mut all = parts.concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 330);
}

#[test]
fn members_become_an_ensemble_that_is_scored_against_another_model() {
    let project = project();
    project.run(&[]).expect_code(0);
    let valid = project.read("valid-0.jsonl");
    let answer = project.read("answer.txt");
    let answered: Vec<&str> = answer.lines().map(|line| line.split_once(',').unwrap().0).collect();
    assert_eq!(answered, ids(&valid));
    let scores: Value = serde_json::from_str(&project.read("scores.json")).unwrap();
    assert_eq!(scores["against"]["input"], "valid");
    let of_this = &scores["against"]["accuracy"]["this"];
    assert_eq!(*of_this, scores["valid"]["accuracy"]);
    assert!(scores["against"]["mcnemar"]["exact_p"].as_f64().unwrap() <= 1.0);
}

#[test]
fn a_weight_for_an_unknown_member_fails_the_stage_and_names_the_members() {
    let project = project();
    let run = project.pipe(&["run", "ensemble", "--set", "ensemble.weights={four: 1}"]);
    let run = run.expect_code(1);
    let wanted = "there is no member `four`; there are `1`, `2`, `3`";
    let said = run.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(wanted), "{}", run.stderr);
}
