//! Loading pipelines: what is accepted and what it means, what is refused and with which message.

mod between;
mod inputs;
mod overrides;
mod refusals;
mod too_much;
mod variables;

use std::path::{Path, PathBuf};

use pipe::pipeline::{Action, Input, Overrides, Pipeline, PipelineError, Problem};
use serde_json::json;
use stages::stage::params::{Default as ParamDefault, ParamKind, ParamSpec, Params};
use stages::stage::{CheckError, StageSpec};
use stages::{Context, Count, InputSpec, Kind, OutputSpec, StageError};

/// A folder with a pipeline, and a file and a folder as inputs.
pub struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub fn new(yaml: &str) -> Project {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
        std::fs::write(folder.path().join("data.txt"), "data").unwrap();
        std::fs::create_dir(folder.path().join("model")).unwrap();
        Project { folder }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn load(&self, overrides: &Overrides) -> Result<Pipeline, PipelineError> {
        Pipeline::load_with(&self.root().join("pipeline.yaml"), overrides, REGISTRY)
    }
}

#[track_caller]
pub fn load(yaml: &str) -> Pipeline {
    load_over(yaml, &Overrides::default())
}

#[track_caller]
fn load_over(yaml: &str, overrides: &Overrides) -> Pipeline {
    match Project::new(yaml).load(overrides) {
        Ok(pipeline) => pipeline,
        Err(error) => panic!("refused:\n{error}"),
    }
}

#[track_caller]
fn problems(yaml: &str) -> Vec<Problem> {
    problems_over(yaml, &Overrides::default())
}

#[track_caller]
fn problems_over(yaml: &str, overrides: &Overrides) -> Vec<Problem> {
    match Project::new(yaml).load(overrides) {
        Ok(_) => panic!("accepted:\n{yaml}"),
        Err(PipelineError::Invalid { problems, .. }) => problems,
        Err(error) => panic!("{error}"),
    }
}

/// The message and the help of the only problem of a pipeline.
#[track_caller]
fn refusal(yaml: &str) -> (String, String) {
    one(problems(yaml))
}

#[track_caller]
fn one(problems: Vec<Problem>) -> (String, String) {
    let [problem] = &problems[..] else { panic!("not one problem: {problems:#?}") };
    (problem.message.clone(), problem.help.clone().unwrap_or_default())
}

fn set(pairs: &[(&str, &str)]) -> Overrides {
    let owned = |(key, value): &(&str, &str)| (key.to_string(), value.to_string());
    Overrides { set: pairs.iter().map(owned).collect(), profile: None }
}

fn profile(name: &str) -> Overrides {
    Overrides { set: Vec::new(), profile: Some(name.to_owned()) }
}

/// The built-ins of these tests: `clean` reads a text, `train` trains on its output.
const REGISTRY: &[&dyn stages::Stage] = &[&Clean, &Train];

struct Clean;
struct Train;

const fn input(name: &'static str, required: bool, kind: Kind) -> InputSpec {
    InputSpec { name, required, kind, count: Count::One, doc: "something to read" }
}

const fn output(name: &'static str, kind: Kind, given: Option<&'static str>) -> OutputSpec {
    OutputSpec { name, file: name, kind, given, doc: "something made" }
}

const fn param(name: &'static str, kind: ParamKind, default: ParamDefault) -> ParamSpec {
    ParamSpec::new(name, kind, default, "something to choose")
}

impl stages::Stage for Clean {
    fn spec(&self) -> &'static StageSpec {
        const SPEC: StageSpec = StageSpec {
            name: "clean",
            version: 3,
            summary: "cleans",
            inputs: &[input("text", true, Kind::File), input("extra", false, Kind::File)],
            outputs: &[
                output("text", Kind::File, None),
                output("extra", Kind::File, Some("extra")),
            ],
            params: &[param("remove", ParamKind::TextList, ParamDefault::TextList(&["@USER"]))],
            headline: &[],
        };
        &SPEC
    }
    fn run(&self, _: &Context) -> Result<(), StageError> {
        unreachable!("these tests run nothing")
    }
}

impl stages::Stage for Train {
    fn spec(&self) -> &'static StageSpec {
        const SPEC: StageSpec = StageSpec {
            name: "train",
            version: 1,
            summary: "trains",
            inputs: &[input("text", true, Kind::File), input("model", false, Kind::Folder)],
            outputs: &[output("model", Kind::Folder, None), output("metrics", Kind::File, None)],
            params: &[
                param("epochs", ParamKind::Int { min: 1, max: 100 }, ParamDefault::Int(4)),
                param(
                    "learning_rate",
                    ParamKind::Float { min: 0.0, max: 1.0 },
                    ParamDefault::Float(2e-5),
                ),
                param("keep", ParamKind::Choice(&["last", "best"]), ParamDefault::Text("last")),
                param("metric", ParamKind::Text, ParamDefault::Null),
                param("seed", ParamKind::Int { min: 0, max: i64::MAX }, ParamDefault::Required),
            ],
            headline: &[],
        };
        &SPEC
    }
    fn check(&self, params: &Params, _wired: &[&str]) -> Result<(), CheckError> {
        if params.text("keep") == "best" && params.optional_text("metric").is_none() {
            let message = "`keep: best` needs a `metric`".to_owned();
            return Err(CheckError { name: Some("keep"), message });
        }
        Ok(())
    }
    fn run(&self, _: &Context) -> Result<(), StageError> {
        unreachable!("these tests run nothing")
    }
}

const WHOLE: &str = "\
vars:
  source: data.txt
  seed: 42
profiles:
  quick: {train.epochs: 1, seed: 7}
stages:
  clean:
    inputs: {text: \"${source}\"}
  train:
    inputs: {text: clean:text, model: model}
    params: {seed: \"${seed}\", learning_rate: 1}
    publish: {metrics: out/metrics.json}
  count:
    run: wc -l < \"$IN_text\" > \"$OUT_lines\"
    inputs: {text: clean:text}
    params: {unit: lines}
    outputs: [lines]
    env: [LC_ALL]
    salt: 2
";

#[test]
fn a_whole_pipeline_means_what_it_says() {
    let project = Project::new(WHOLE);
    let pipeline = project.load(&Overrides::default()).unwrap();
    let names: Vec<&str> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["clean", "train", "count"]);
    assert_eq!(pipeline.root, project.root());

    let clean = pipeline.stage("clean").unwrap();
    assert_eq!(clean.line, 7);
    assert_eq!(clean.action, Action::Builtin { name: "clean".to_owned(), version: 3 });
    assert_eq!(clean.inputs["text"], Input::Path(project.root().join("data.txt")));
    assert_eq!(clean.params["remove"], json!(["@USER"]), "defaults are filled in");
    assert_eq!(clean.outputs.len(), 1, "`extra` is made only from `extra`");

    let train = pipeline.stage("train").unwrap();
    assert_eq!(train.inputs["text"], artifact("clean", "text"));
    assert_eq!(train.params["seed"], json!(42), "a lone variable keeps its type");
    assert_eq!(train.params["learning_rate"], json!(1.0), "1 is the number 1.0");
    assert_eq!(train.publish["metrics"], PathBuf::from("out/metrics.json"));
    assert_eq!(train.output("model").unwrap().kind, Some(Kind::Folder));

    let count = pipeline.stage("count").unwrap();
    let text = "wc -l < \"$IN_text\" > \"$OUT_lines\"".to_owned();
    assert_eq!(count.action, Action::Command { text });
    assert_eq!(count.params["unit"], json!("lines"));
    assert_eq!(count.output("lines").unwrap().file, "lines");
    assert_eq!(count.output("lines").unwrap().kind, None);
    assert_eq!(count.env, ["LC_ALL"]);
    assert_eq!(count.salt.as_deref(), Some("2"));
}

fn artifact(stage: &str, output: &str) -> Input {
    Input::Artifact { stage: stage.to_owned(), output: output.to_owned() }
}

#[test]
fn the_pipeline_is_found_in_a_folder_above() {
    let project = Project::new(WHOLE);
    let deep = project.root().join("a/b");
    std::fs::create_dir_all(&deep).unwrap();
    let found = pipe::pipeline::find_pipeline_file(&deep);
    assert_eq!(found, Some(project.root().join("pipeline.yaml")));
}
