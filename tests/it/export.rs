//! `pipe export` writes a graph and what goes with it, and replaces nothing that it did not write.

#![cfg(feature = "model")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use stages::onnx::is_ours;

use crate::harness::Project;
use crate::job::{ALL_RAN, project_of_epochs};

fn trained() -> Project {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    project
}

/// The names of the files below a folder.
fn files(project: &Project, folder: &str) -> Vec<String> {
    let root = project.path(folder);
    let all = walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().map(Result::unwrap);
    let all = all.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path());
    all.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_only_model_of_a_pipeline_is_written_with_its_tokenizer_in_the_layout_of_optimum() {
    let project = trained();
    let told = project.pipe(&["export", "--onnx", "out/onnx/model.onnx"]).expect_code(0).stderr;
    assert!(told.contains("wrote `out/onnx/model.onnx`: ") && told.contains(", f32"), "{told}");
    assert!(told.contains("wrote `out/config.json`"), "{told}");
    let found = files(&project, "out");
    assert_eq!(found, ["config.json", "merges.txt", "onnx/model.onnx", "vocab.json"]);
    let graph = fs::read(project.path("out/onnx/model.onnx")).unwrap();
    assert!(is_ours(&graph[..64]) && graph.windows(6).any(|it| it == b"logits"));
    let config = fs::read_to_string(project.path("out/config.json")).unwrap();
    assert!(config.contains("\"NOT_SARCASM\""), "{config}");
    // By its name, and in 8 bits beside the first one.
    let named = ["export", "finetune:model", "--int8", "--onnx", "out/onnx/model_quantized.onnx"];
    let told = project.pipe(&named).expect_code(0).stderr;
    assert!(told.contains(", int8") && !told.contains("config.json"), "{told}");
    let size = |name: &str| fs::metadata(project.path(name)).unwrap().len();
    assert!(2 * size("out/onnx/model_quantized.onnx") < size("out/onnx/model.onnx"));
    // From a folder without a pipeline, beside the file.
    fs::create_dir(project.path("copy")).unwrap();
    for name in ["config.json", "model.safetensors", "vocab.json", "merges.txt"] {
        let command = format!("\"$0\" cache cat finetune:model/{name} > copy/{name}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &command, env!("CARGO_BIN_EXE_pipe")]).current_dir(project.path("."));
        assert!(shell.env_remove("PIPE_CACHE").status().unwrap().success(), "{name}");
    }
    fs::remove_file(project.path("pipeline.yaml")).unwrap();
    let told = project.pipe(&["export", "copy", "--onnx", "copy/model.onnx"]).expect_code(0).stderr;
    assert!(!told.contains("config.json"), "{told}");
    assert_eq!(fs::read(project.path("copy/model.onnx")).unwrap(), graph);
}

#[test]
fn only_what_it_wrote_itself_is_replaced_without_force() {
    let project = trained();
    let export = |more: &[&str]| project.pipe(&[&["export", "--onnx"], more].concat());
    for _ in 0..2 {
        export(&["out/model.onnx"]).expect_code(0);
    }
    let before = fs::read(project.path("out/model.onnx")).unwrap();
    project.write("out/config.json", "{}");
    let told = export(&["out/model.onnx"]).expect_code(2).stderr;
    assert!(told.contains("`out/config.json`") && told.contains("--force"), "{told}");
    assert_eq!(fs::read_to_string(project.path("out/config.json")).unwrap(), "{}");
    export(&["out/model.onnx", "--force"]).expect_code(0);
    assert_ne!(fs::read_to_string(project.path("out/config.json")).unwrap(), "{}");
    project.write("out/model.onnx", "mine");
    let told = export(&["out/model.onnx"]).expect_code(2).stderr;
    assert!(told.contains("`out/model.onnx`"), "{told}");
    assert_eq!(fs::read_to_string(project.path("out/model.onnx")).unwrap(), "mine");
    export(&["out/model.onnx", "--force"]).expect_code(0);
    assert_eq!(fs::read(project.path("out/model.onnx")).unwrap(), before);
    // The parameters of a larger graph that was there before go with it, and nothing else does.
    project.write("out/model.onnx_data", "elements of tensors, written by pipe\n\0\0");
    project.write("out/other.onnx_data", "mine");
    for name in ["model", "other"] {
        export(&[&format!("out/{name}.onnx")]).expect_code(0);
    }
    assert!(!project.path("out/model.onnx_data").exists());
    assert_eq!(fs::read_to_string(project.path("out/other.onnx_data")).unwrap(), "mine");
    // A link stays, and what it names is replaced.
    symlink("out/model.onnx", project.path("link.onnx")).unwrap();
    let told = export(&["link.onnx"]).expect_code(0).stderr;
    assert!(project.path("link.onnx").is_symlink(), "{told}");
    let folder = export(&["out"]).expect_code(2).stderr;
    assert!(folder.contains("something other than a file"), "{folder}");
    let taken = export(&["new/config.json"]).expect_code(2).stderr;
    assert!(taken.contains("model.onnx") && !project.path("new").exists(), "{taken}");
}

#[test]
fn a_model_that_cannot_be_found_or_chosen_is_an_error_that_says_what_to_name() {
    let project = project_of_epochs(1);
    let told = |arguments: &[&str], code: i32| {
        let all = [&["export", "--onnx", "out/model.onnx"], arguments].concat();
        let told = project.pipe(&all).expect_code(code).stderr;
        assert!(!project.path("out").exists(), "{told}");
        told
    };
    let early = told(&[], 1);
    assert!(early.contains("`finetune:model` does not exist yet"), "{early}");
    let typo = told(&["finetun:model"], 2);
    assert!(typo.contains("did you mean `finetune`?"), "{typo}");
    let typo = told(&["finetune:modl"], 2);
    assert!(typo.contains("it has `model`"), "{typo}");
    let headless = told(&["models/small-roberta"], 1);
    assert!(
        headless.contains("exporting the model: models/small-roberta: no weights"),
        "{headless}"
    );
    let pipeline = fs::read_to_string(project.path("pipeline.yaml")).unwrap();
    let two = "\n  other:\n    uses: predict\n    inputs: {test: tokenize:test, model: models/small-roberta}\n";
    let two = pipeline.replacen("\nstages:\n", &format!("\nstages:{two}"), 1);
    assert_ne!(two, pipeline);
    project.write("pipeline.yaml", &two);
    let many = told(&[], 2);
    assert!(many.contains("has 2 models: `finetune:model`, `models/small-roberta`"), "{many}");
    let classify = project.pipe(&["classify", "a"]).expect_code(2).stderr;
    assert!(
        classify.contains("has 2 models") && classify.contains("`finetune:model`"),
        "{classify}"
    );
}

#[test]
fn a_threshold_that_the_graph_does_not_know_is_told() {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    let export = |threshold: &str| {
        let set = format!("predict.threshold={threshold}");
        let all = ["export", "--onnx", "out/model.onnx", "--set", &set];
        project.pipe(&all).expect_code(0).stderr
    };
    let told = export("0.3");
    assert!(told.contains("`fold: true`") && told.contains("above 0.3000"), "{told}");
    for threshold in ["none", "0.5"] {
        let even = export(threshold);
        assert!(!even.contains("`fold: true`"), "{even}");
    }
}
