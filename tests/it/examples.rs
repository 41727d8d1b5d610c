//! The pipelines in `examples/`, as they are in the repository. `encoder.yaml` is run in `encoder.rs`.

#![cfg(feature = "model")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::Project;

#[test]
fn the_ensemble_averages_its_members_and_is_compared_with_n_grams() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::new("");
    let pipeline = fs::read_to_string(root.join("examples/ensemble.yaml")).unwrap();
    project.write("examples/ensemble.yaml", &pipeline);
    for folder in ["data/sample", "models/small-roberta"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            project.write(&format!("{folder}/{name}"), &fs::read_to_string(&path).unwrap());
        }
    }
    for link in ["data", "models"] {
        symlink(format!("../{link}"), project.path("examples").join(link)).unwrap();
    }
    let small = [
        ["--set", "model=models/small-roberta"],
        ["--set", "finetune.epochs=1"],
        ["--set", "seeds=[1,2]"],
    ];
    let arguments = [&["-f", "examples/ensemble.yaml"][..], &small.concat()].concat();
    project.expect_run(
        &arguments,
        "baseline=ran ensemble=ran finetune@1=ran finetune@2=ran ingest=ran predict@1=ran \
         predict@2=ran score=ran split=ran tokenize=ran",
    );
    assert_eq!(project.read("examples/answer.txt").lines().count(), 120);
    let scores = [&["cache", "cat", "score:scores"][..], &arguments].concat();
    let scores = project.pipe(&scores).expect_code(0).stdout;
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    assert!(scores["test"]["accuracy"].is_number() && scores["valid"].is_object(), "{scores}");
    assert!(scores.to_string().contains("against"), "{scores}");
}
