//! What is generated from the command line and the tables of the stages (the schema of
//! `pipeline.yaml`, completions, manual pages), and the findings of `pipe doctor`.

use pipe::pipeline::{STAGE_KEYS, TOP_KEYS};
use serde_json::Value;

use crate::harness::Project;

fn schema() -> Value {
    let project = Project::new("stages: {}\n");
    serde_json::from_str(&project.pipe(&["schema"]).expect_code(0).stdout).unwrap()
}

#[test]
fn the_schema_describes_every_key_of_the_file_and_no_other() {
    let schema = schema();
    for (at, keys) in [("/properties", &TOP_KEYS[..]), ("/$defs/stage/properties", &STAGE_KEYS)] {
        let properties = schema.pointer(at).unwrap().as_object().unwrap();
        assert_eq!(properties.len(), keys.len());
        for key in keys {
            assert!(properties[*key]["description"].is_string(), "{key}");
        }
    }
}

#[test]
fn the_schema_describes_every_parameter_input_and_output_of_the_built_ins() {
    let schema = schema();
    for stage in stages::all() {
        let of = &schema["$defs"][stage.name()]["properties"];
        for param in stage.params() {
            let known = &of["params"]["properties"][param.name];
            assert_eq!(known["description"], param.doc);
            assert_eq!(known.get("default").cloned(), param.default.value());
        }
        let required = of["inputs"]["required"].as_array().unwrap();
        for input in stage.inputs() {
            assert!(of["inputs"]["properties"][input.name].is_object(), "{}", input.name);
            assert_eq!(required.contains(&input.name.into()), input.required);
        }
        for output in stage.outputs() {
            assert!(of["publish"]["properties"][output.name].is_object(), "{}", output.name);
        }
    }
    let remote = &schema["properties"]["remotes"]["additionalProperties"]["anyOf"][1];
    for key in pipe::pipeline::remotes::REMOTE_KEYS {
        assert!(remote["properties"][key]["description"].is_string(), "{key}");
    }
    let rate = &schema["$defs"]["finetune"]["properties"]["params"]["properties"]["learning_rate"];
    assert_eq!(rate["anyOf"][0]["maximum"], 10.0);
    assert_eq!(rate["anyOf"][1]["pattern"], "\\$\\{");
}

#[test]
fn int8_is_a_precision_of_predict_alone_and_the_refusal_of_others_says_so() {
    let schema = schema();
    for stage in ["predict", "finetune", "pretrain"] {
        let of = &schema["$defs"][stage]["properties"]["params"]["properties"]["precision"];
        assert_eq!(of.to_string().contains("int8"), stage == "predict", "{of}");
    }
    for stage in ["finetune", "pretrain"] {
        let yaml = format!("stages:\n  {stage}:\n    params: {{precision: int8}}\n");
        let told = Project::new(&yaml).pipe(&["status"]).expect_code(2).stderr;
        let expected = format!(
            "parameter `precision` of stage `{stage}` is \"int8\", expected one of f32, tf32, bf16"
        );
        assert!(told.contains(&expected), "{told}");
        assert!(told.contains("help: `precision: int8` is for `predict`"), "{told}");
    }
}

#[test]
fn completions_and_manual_pages_know_all_commands() {
    let project = Project::new("stages: {}\n");
    for shell in ["bash", "zsh", "fish"] {
        let script = project.pipe(&["completions", shell]).expect_code(0).stdout;
        assert!(script.contains("keep-going") && script.contains("sweep"), "{shell}");
    }
    assert!(project.pipe(&["man"]).expect_code(0).stdout.contains(".TH pipe 1"));
    project.pipe(&["man", "--out", "pages/man1"]).expect_code(0);
    for page in ["pipe", "pipe-run", "pipe-cache-gc"] {
        assert!(project.read(&format!("pages/man1/{page}.1")).contains(&format!(".TH {page} 1")));
    }
    assert!(!project.path("pages/man1/pipe-guard.1").exists(), "hidden commands have no page");
}

#[test]
fn doctor_reports_what_is_there_and_what_is_wrong() {
    let project = Project::new("stages: {a: {run: 'true > $OUT_x', outputs: [x]}}\n");
    let findings =
        |code: i32| project.pipe(&["doctor", "--offline", "--json"]).expect_code(code).events();
    let state = |findings: &[Value], what: &str| {
        findings.iter().find(|it| it["what"] == what).unwrap()["state"].clone()
    };
    let found = findings(0);
    for what in ["processor", "memory", "pipeline", "store"] {
        assert_eq!(state(&found, what), "good", "{what}");
    }
    assert_eq!(state(&found, "hub"), "note");
    assert!(!project.path("cache").exists(), "`pipe doctor` creates nothing");
    project.write("pipeline.yaml", "stage: {}\n");
    assert_eq!(state(&findings(1), "pipeline"), "bad");
    let text = project.pipe(&["doctor", "--offline"]).expect_code(1).stdout;
    assert!(text.contains("✗ pipeline") && text.contains("`pipe status` shows where"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}
