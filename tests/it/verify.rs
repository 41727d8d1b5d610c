//! `cache verify` finds and repairs damage. `pipe verify` says whether a stage is bit-stable and, if
//! not, by how much its results differ.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use stages::data::tensors::{TensorSpec, write_tensors};

use crate::harness::Project;

const PAIR: &str = r#"
stages:
  a:
    run: echo a >> ran.log; cat "$IN_text" > "$OUT_copy"; mkdir "$OUT_d"; echo 1 > "$OUT_d/one"
    inputs: {text: text.txt}
    outputs: [copy, d]
  b:
    run: echo b >> ran.log; cat "$IN_copy" "$IN_d/one" > "$OUT_result"
    inputs: {copy: a:copy, d: a:d}
    outputs: [result]
    publish: {result: out/result.txt}
"#;

fn pair() -> Project {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    project.run(&[]).expect_code(0);
    project.take_log();
    project
}

#[test]
fn a_whole_store_is_well() {
    let project = pair();
    let before = project.snapshot();
    let text = project.pipe(&["cache", "verify"]).expect_code(0).stdout;
    assert!(text.starts_with("no damage: 4 objects, 2 records and 1 run, "), "{text}");
    project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
    assert_eq!(project.snapshot(), before);
}

#[test]
fn without_a_store_there_is_nothing_to_verify_and_nothing_is_made() {
    let project = Project::new(PAIR);
    project.pipe(&["cache", "verify"]).expect_code(0);
    project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
    assert!(!project.path("cache").exists());
}

#[test]
fn every_damage_of_every_file_is_found_and_repaired_and_the_next_run_is_right() {
    let damages: [fn(&Path, &[u8]); 4] = [
        |path, bytes| {
            let mut flipped = bytes.to_owned();
            flipped[bytes.len() / 2] ^= 1;
            fs::write(path, flipped).unwrap();
        },
        |path, bytes| fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
        |path, _| fs::write(path, "").unwrap(),
        |_, _| {},
    ];
    let files = |project: &Project| {
        let mut files = project.stored("objects");
        files.extend(project.stored("records"));
        files.extend(project.stored("runs"));
        files
    };
    let count = files(&pair()).len();
    assert_eq!(count, 7);
    for which in 0..count {
        for (kind, damage) in damages.iter().enumerate() {
            let project = pair();
            let file = files(&project).remove(which);
            let bytes = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            damage(&file, &bytes);
            let removed = kind == 3;
            let name = file.strip_prefix(project.path("cache")).unwrap().to_owned();
            let harmless = removed && !name.starts_with("objects");
            let code = if harmless { 0 } else { 1 };
            let before = project.snapshot();
            let found = project.pipe(&["cache", "verify", "--json"]).expect_code(code);
            let findings = found.events().remove(0)["findings"].clone();
            assert_eq!(findings.as_array().unwrap().is_empty(), harmless, "{findings}");
            assert_eq!(project.snapshot(), before, "looking changes nothing");
            project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
            project.pipe(&["cache", "verify"]).expect_code(0);
            fs::remove_dir_all(project.path("out")).unwrap();
            project.run(&[]).expect_code(0);
            assert_eq!(project.read("out/result.txt"), "some text\n1\n", "{}", name.display());
            project.run(&[]).expect_code(0);
            project.pipe(&["cache", "verify"]).expect_code(0);
            let quarantined = name.starts_with("objects") && !removed;
            assert_eq!(project.entries("quarantine").len(), usize::from(quarantined));
        }
    }
}

#[test]
fn what_is_damaged_is_told_with_what_to_do() {
    let project = pair();
    for object in project.stored("objects") {
        if fs::read(&object).unwrap() == b"some text\n" {
            fs::remove_file(&object).unwrap();
            fs::write(object, "some evil\n").unwrap();
        }
    }
    let ended = project.pipe(&["cache", "verify"]).expect_code(1);
    assert!(ended.stdout.contains("(file): its bytes have changed"), "{}", ended.stdout);
    assert!(ended.stdout.contains("a result of a: its output `copy`"), "{}", ended.stdout);
    assert!(ended.stderr.contains("`pipe cache verify --repair`"), "{}", ended.stderr);
    let ended = project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
    assert!(ended.stdout.contains("repaired 2 findings"), "{}", ended.stdout);
    assert!(ended.stderr.contains("cache/quarantine"), "{}", ended.stderr);
    // `b` did not change.
    project.expect_run(&[], "a=ran b=hit").expect_code(0);
}

// `pipe verify STAGE`.

/// The files that hold earlier results, none of which may change.
fn kept(project: &Project) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = project.snapshot();
    files.retain(|path, _| !path.components().any(|part| part.as_os_str() == "tmp"));
    files
}

#[track_caller]
fn verified(project: &Project, arguments: &[&str], code: i32) -> Value {
    let arguments = [&["verify", "--json"], arguments].concat();
    project.pipe(&arguments).expect_code(code).events().remove(0)
}

#[test]
fn a_stable_stage_runs_twice_in_a_corner_and_nothing_changes() {
    let project = pair();
    let before = kept(&project);
    let ended = project.pipe(&["verify", "b"]).expect_code(0);
    assert_eq!(project.take_log(), "b b");
    assert!(ended.stdout.contains("run 1 and run 2: the same bytes"), "{}", ended.stdout);
    assert!(ended.stdout.contains("run 1 and the cached result: the same"), "{}", ended.stdout);
    assert!(ended.stdout.contains("b is bit-stable in 2 runs of "), "{}", ended.stdout);
    assert_eq!(kept(&project), before);
    assert_eq!(project.entries("tmp").len(), 0);
    project.pipe(&["verify", "a", "--times", "3"]).expect_code(0);
    assert_eq!(project.take_log(), "a a a");
    project.expect_run(&[], "a=hit b=hit");
}

#[test]
fn a_stage_that_is_not_cached_is_compared_with_itself_only() {
    let project = pair();
    project.write("pipeline.yaml", &PAIR.replace("cat \"$IN_copy\"", "rev \"$IN_copy\""));
    let found = verified(&project, &["b"], 0);
    assert_eq!((&found["stable"], &found["cached"]), (&true.into(), &false.into()));
    assert_eq!(found["comparisons"].as_array().unwrap().len(), 1);
    assert_eq!(project.stored("records").len(), 2);
}

#[test]
fn an_unstable_stage_is_told_by_its_first_byte() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo n >> count; echo run $(wc -l < count) > $OUT_x', outputs: [x]}\n",
    );
    project.run(&[]).expect_code(0);
    let found = verified(&project, &["a"], 1);
    assert_eq!(found["stable"], false);
    let difference = &found["comparisons"][0]["differences"]["x"][0];
    assert_eq!((&difference["how"], &difference["first_byte"]), (&"bytes".into(), &4.into()));
    let text = project.pipe(&["verify", "a"]).expect_code(1).stdout;
    assert!(text.contains("a is not bit-stable"), "{text}");
    assert!(text.contains("  x: from byte 4 on, 6 bytes"), "{text}");
    // The store still has the first result, unchanged.
    assert_eq!(project.pipe(&["cache", "cat", "a:x"]).stdout, "run 1\n");
}

#[test]
fn differing_lines_of_jsonl_are_counted() {
    let project = Project::new(
        r#"
stages:
  a:
    run: |
      echo n >> count
      mkdir $OUT_d
      (echo '{"row": 1}'; echo "{\"row\": $(wc -l < count)}"; echo '{"row": 3}') > $OUT_d/rows.jsonl
    outputs: [d]
"#,
    );
    let found = verified(&project, &["a"], 1);
    let difference = &found["comparisons"][0]["differences"]["d"][0];
    assert_eq!(difference["file"], "rows.jsonl");
    assert_eq!((&difference["lines"], &difference["differing"]), (&3.into(), &1.into()));
    assert_eq!(difference["first_line"], 2);
}

#[test]
fn a_file_that_only_one_run_writes_is_named() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo n >> count; mkdir $OUT_d; touch $OUT_d/$(wc -l < count)', outputs: [d]}\n",
    );
    let found = verified(&project, &["a"], 1);
    let differences = &found["comparisons"][0]["differences"]["d"];
    assert_eq!(
        (&differences[0]["file"], &differences[0]["how"]),
        (&"1".into(), &"only_in_first".into())
    );
    assert_eq!(
        (&differences[1]["file"], &differences[1]["how"]),
        (&"2".into(), &"only_in_second".into())
    );
}

/// A model with two tensors.
fn write_model(path: &Path, weights: [f32; 4]) {
    let specs = vec![
        TensorSpec::new::<f32>("encoder.weight", &[2, 2]),
        TensorSpec::new::<i64>("ids", &[1]),
    ];
    let fill = |spec: &TensorSpec, out: &mut dyn Write| match spec.name.as_str() {
        "ids" => out.write_all(&7i64.to_le_bytes()),
        _ => weights.iter().try_for_each(|weight| out.write_all(&weight.to_le_bytes())),
    };
    write_tensors(path, &BTreeMap::new(), specs, fill).unwrap();
}

#[test]
fn models_are_compared_tensor_by_tensor() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo n >> count; mkdir $OUT_m; cp $(wc -l < count) $OUT_m/model.safetensors', outputs: [m]}\n",
    );
    write_model(&project.path("1"), [3.0, 4.0, 0.0, 0.0]);
    write_model(&project.path("2"), [3.0, 4.5, 0.0, 0.0]);
    write_model(&project.path("3"), [3.0, 4.0, 0.0, 0.0]);
    write_model(&project.path("4"), [3.0, 4.5, 0.0, 0.0]);
    let found = verified(&project, &["a"], 1);
    let difference = &found["comparisons"][0]["differences"]["m"][0];
    assert_eq!((&difference["how"], &difference["tensors"]), (&"tensors".into(), &2.into()));
    let tensor = &difference["differing"][0];
    assert_eq!(tensor["tensor"], "encoder.weight");
    assert_eq!((&tensor["differing"], &tensor["numbers"]), (&1.into(), &4.into()));
    assert_eq!((&tensor["max_abs"], &tensor["relative"]), (&0.5.into(), &0.1.into()));
    assert_eq!(difference["differing"].as_array().unwrap().len(), 1);
    let text = project.pipe(&["verify", "a"]).expect_code(1).stdout;
    assert!(text.contains("  model.safetensors: 1 of 2 tensors\n"), "{text}");
    assert!(text.contains("    encoder.weight  max 0.5  relative 0.1\n"), "{text}");
}

#[test]
fn a_stage_that_fails_cannot_be_verified_and_its_last_lines_are_told() {
    let project = Project::new("stages:\n  a: {run: 'echo went wrong; exit 3', outputs: [x]}\n");
    let ended = project.pipe(&["verify", "a"]).expect_code(1);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("stage `a` failed: exit code 3"), "{}", ended.stderr);
    assert!(ended.stderr.contains("| went wrong"), "{}", ended.stderr);
    assert_eq!(project.entries("tmp").len(), 0);
}

#[test]
fn a_stage_whose_inputs_are_not_made_cannot_be_verified() {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    let ended = project.pipe(&["verify", "b"]).expect_code(1);
    assert!(ended.stderr.contains("stage `a` is not up to date"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`pipe run b` first"), "{}", ended.stderr);
    project.pipe(&["verify", "c"]).expect_code(2);
    assert_eq!(project.take_log(), "");
}

#[test]
fn a_built_in_stage_is_verified_without_the_checkpoints_of_its_run() {
    let project =
        Project::new("stages:\n  split: {inputs: {examples: rows.jsonl}, params: {share: 0.8}}\n");
    let row = |n: usize| format!("{{\"id\":\"{n}\",\"text\":\"t {n}\",\"label\":\"{}\"}}\n", n % 2);
    project.write("rows.jsonl", &(0..40).map(row).collect::<String>());
    project.run(&[]).expect_code(0);
    let before = kept(&project);
    let found = verified(&project, &["split"], 0);
    assert_eq!(found["comparisons"].as_array().unwrap().len(), 2);
    assert_eq!(kept(&project), before);
    assert_eq!(project.entries("state").len(), 0);
}
