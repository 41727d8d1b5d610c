//! Reading pipelines: what is accepted and what it means, what is refused and how it is told.

use std::path::{Path, PathBuf};

use pipe::pipeline::{Action, Input, Overrides, Pipeline, PipelineError, Problem};
use serde_json::json;
use stages::params::{Default as ParamDefault, ParamKind, ParamSpec, Params};
use stages::stage::CheckError;
use stages::{Context, InputSpec, Kind, OutputSpec, StageError};

/// A folder with a pipeline in it, and a file and a folder to read.
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

/// The one problem of a pipeline: its message and its help.
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

/// A stage that reads a text, and one that trains on what it makes.
const REGISTRY: &[&dyn stages::Stage] = &[&Clean, &Train];

struct Clean;
struct Train;

const fn input(name: &'static str, required: bool, kind: Kind) -> InputSpec {
    InputSpec { name, required, kind, doc: "something to read" }
}

const fn output(name: &'static str, kind: Kind, given: Option<&'static str>) -> OutputSpec {
    OutputSpec { name, file: name, kind, given, doc: "something made" }
}

const fn param(name: &'static str, kind: ParamKind, default: ParamDefault) -> ParamSpec {
    ParamSpec { name, kind, default, doc: "something to choose" }
}

impl stages::Stage for Clean {
    fn name(&self) -> &'static str {
        "clean"
    }
    fn version(&self) -> u32 {
        3
    }
    fn summary(&self) -> &'static str {
        "cleans"
    }
    fn inputs(&self) -> &'static [InputSpec] {
        const { &[input("text", true, Kind::File), input("extra", false, Kind::File)] }
    }
    fn outputs(&self) -> &'static [OutputSpec] {
        const { &[output("text", Kind::File, None), output("extra", Kind::File, Some("extra"))] }
    }
    fn params(&self) -> &'static [ParamSpec] {
        const { &[param("remove", ParamKind::TextList, ParamDefault::TextList(&["@USER"]))] }
    }
    fn run(&self, _: &Context) -> Result<(), StageError> {
        unreachable!("these tests run nothing")
    }
}

impl stages::Stage for Train {
    fn name(&self) -> &'static str {
        "train"
    }
    fn version(&self) -> u32 {
        1
    }
    fn summary(&self) -> &'static str {
        "trains"
    }
    fn inputs(&self) -> &'static [InputSpec] {
        const { &[input("text", true, Kind::File), input("model", false, Kind::Folder)] }
    }
    fn outputs(&self) -> &'static [OutputSpec] {
        const { &[output("model", Kind::Folder, None), output("metrics", Kind::File, None)] }
    }
    fn params(&self) -> &'static [ParamSpec] {
        const {
            &[
                param("epochs", ParamKind::Int { min: 1, max: 100 }, ParamDefault::Int(4)),
                param(
                    "learning_rate",
                    ParamKind::Float { min: 0.0, max: 1.0 },
                    ParamDefault::Float(2e-5),
                ),
                param("keep", ParamKind::Choice(&["last", "best"]), ParamDefault::Text("last")),
                param("metric", ParamKind::Text, ParamDefault::Null),
                param("seed", ParamKind::Int { min: 0, max: i64::MAX }, ParamDefault::Required),
            ]
        }
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

// Overrides.

#[test]
fn set_wins_over_the_profile_and_the_profile_over_the_file() {
    let epochs = |overrides: &Overrides| {
        load_over(WHOLE, overrides).stage("train").unwrap().params["epochs"].clone()
    };
    assert_eq!(epochs(&Overrides::default()), json!(4));
    assert_eq!(epochs(&profile("quick")), json!(1));
    let both = Overrides { profile: Some("quick".to_owned()), ..set(&[("train.epochs", "9")]) };
    assert_eq!(epochs(&both), json!(9));
    assert_eq!(epochs(&set(&[("train.epochs", "5"), ("train.epochs", "6")])), json!(6));
}

#[test]
fn a_profile_overrides_variables_too() {
    let pipeline = load_over(WHOLE, &profile("quick"));
    assert_eq!(pipeline.stage("train").unwrap().params["seed"], json!(7));
}

#[test]
fn a_profile_leaves_out_an_optional_input() {
    let yaml = WHOLE.replace("seed: 7}", "train.inputs.model: null}");
    let pipeline = load_over(&yaml, &profile("quick"));
    assert!(!pipeline.stage("train").unwrap().inputs.contains_key("model"));
}

#[test]
fn the_values_of_set_are_yaml_scalars_and_lists() {
    let yaml = "stages: {x: {run: 'true', params: {a: 0}}}";
    let value = |text: &str| {
        load_over(yaml, &set(&[("x.a", text)])).stage("x").unwrap().params["a"].clone()
    };
    assert_eq!(value("3e-5"), json!(3e-5));
    assert_eq!(value("-4"), json!(-4));
    assert_eq!(value("true"), json!(true));
    assert_eq!(value("[1, b]"), json!([1, "b"]));
    assert_eq!(value("{a: b}"), json!({"a": "b"}));
    assert_eq!(value("'4'"), json!("4"));
    assert_eq!(value("null"), json!(null));
    // What YAML would take for a comment, a map or nothing is a text.
    assert_eq!(value("a #b"), json!("a #b"));
    assert_eq!(value("#b"), json!("#b"));
    assert_eq!(value("a: b"), json!("a: b"));
    assert_eq!(value(""), json!(""));
    assert_eq!(value("@USER"), json!("@USER"));
    assert_eq!(value("!x y"), json!("!x y"));
    assert_eq!(value("*x"), json!("*x"));
}

#[test]
fn set_wires_an_input_that_the_file_does_not_have() {
    let pipeline = load_over(WHOLE, &set(&[("clean.inputs.extra", "data.txt")]));
    let clean = pipeline.stage("clean").unwrap();
    assert!(clean.inputs.contains_key("extra"));
    assert_eq!(clean.outputs.len(), 2, "with the input comes its output");
}

#[test]
fn unknown_names_in_set_are_refused_with_the_nearest() {
    let refused = |key: &str| one(problems_over(WHOLE, &set(&[(key, "1")])));
    let of = |message: &str, help: &str| (message.to_owned(), help.to_owned());
    assert_eq!(refused("sede"), of("there is no variable `sede`", "did you mean `seed`?"));
    assert_eq!(
        refused("trian.epochs"),
        of("`trian.epochs`: there is no stage `trian`", "did you mean `train`?")
    );
    assert_eq!(
        refused("train.epohcs"),
        of("unknown parameter `epohcs` of stage `train`", "did you mean `epochs`?")
    );
    assert_eq!(
        refused("train.inputs.texts"),
        of("unknown input `texts` of stage `train`", "did you mean `text`?")
    );
    assert_eq!(
        refused("count.units"),
        of("unknown parameter `units` of stage `count`", "did you mean `unit`?")
    );
    assert!(refused("train").1.contains("`train` is a stage"));
    assert!(refused("a.b.c").0.contains("names nothing that can be overridden"));
}

#[test]
fn a_fault_from_the_command_line_points_there() {
    let error = Project::new(WHOLE).load(&set(&[("train.epochs", "0")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: parameter `epochs` of stage `train` is 0, expected a whole number from 1 to 100\n \
         --> --set train.epochs=0"
    );
    let error = Project::new(WHOLE).load(&profile("quik")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: there is no profile `quik`\n --> --profile quik\nhelp: did you mean `quick`?"
    );
}

#[test]
fn a_typo_in_a_profile_is_found_before_the_profile_is_needed() {
    let (message, help) = refusal(&WHOLE.replace("train.epochs", "train.epoch"));
    assert_eq!(message, "unknown parameter `epoch` of stage `train`");
    assert_eq!(help, "did you mean `epochs`?");
}

// Variables.

#[test]
fn variables_use_each_other_in_any_order() {
    let pipeline = load(
        "vars: {c: '${b}!', a: x, b: '${a}y', n: 0.5, l: [1, '${n}']}\n\
         stages: {s: {run: 'true', params: {c: '${c}', l: '${l}', t: 'n=${n}'}}}",
    );
    let params = &pipeline.stage("s").unwrap().params;
    assert_eq!(params["c"], json!("xy!"));
    assert_eq!(params["l"], json!([1, 0.5]));
    assert_eq!(params["t"], json!("n=0.5"));
}

#[test]
fn variables_in_a_circle_are_refused() {
    let (message, _) =
        refusal("vars: {a: '${b}', b: '${c}', c: '${b}'}\nstages: {s: {run: 'true'}}");
    assert_eq!(message, "variables use each other: b → c → b");
}

#[test]
fn the_shell_keeps_its_own_dollars() {
    let command = |run: &str| {
        let yaml = format!("vars: {{v: 1}}\nstages:\n  s:\n    env: [HOME]\n    run: {run}\n");
        match &load(&yaml).stage("s").unwrap().action {
            Action::Command { text } => text.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(command("echo ${v} $v"), "echo 1 $v");
    assert_eq!(
        command("cat $IN_x ${IN_x} ${OUT_y} ${PARAM_z}"),
        "cat $IN_x ${IN_x} ${OUT_y} ${PARAM_z}"
    );
    assert_eq!(command("echo ${HOME} ${x:-1} $$ $(ls)"), "echo ${HOME} ${x:-1} $$ $(ls)");
    assert_eq!(command("echo $${v}"), "echo ${v}");
}

#[test]
fn an_unknown_variable_is_refused_in_a_value_and_in_a_command() {
    let (message, help) =
        refusal("vars: {seed: 1}\nstages: {s: {run: 'true', params: {a: '${sed}'}}}");
    assert_eq!((&*message, &*help), ("there is no variable `sed`", "did you mean `seed`?"));
    let (message, help) = refusal("stages: {s: {run: 'echo ${HOME}'}}");
    assert_eq!(message, "there is no variable `HOME`");
    assert_eq!(help, "write `$${HOME}` or `$HOME` for the shell's variable");
    let (message, _) = refusal("stages: {s: {run: 'true', params: {a: '${a b}'}}}");
    assert_eq!(message, "`${a b}` is not a variable");
}

#[test]
fn a_list_cannot_stand_inside_a_text() {
    let (message, _) = refusal("vars: {l: [1]}\nstages: {s: {run: 'true', params: {a: 'x ${l}'}}}");
    assert_eq!(message, "variable `l` is a list, it cannot stand in a text");
}

#[test]
fn doubling_variables_cannot_fill_the_memory() {
    let mut yaml = String::from("vars:\n  v0: 0123456789\n");
    for index in 1..60 {
        let before = index - 1;
        yaml += &format!("  v{index}: \"${{v{before}}}${{v{before}}}\"\n");
    }
    yaml += "stages: {s: {run: 'true', params: {a: '${v59}'}}}\n";
    assert!(problems(&yaml)[0].message.ends_with("filled in the value is too long"));
}

#[test]
fn a_wrong_value_names_the_variable_that_brought_it() {
    let found = problems_over(WHOLE, &set(&[("source", "nowhere.txt")]));
    assert!(found[0].message.contains("nowhere.txt"), "{found:?}");
    assert_eq!(found[0].notes, ["`${source}` is \"nowhere.txt\", from `--set source=nowhere.txt`"]);
}

// Refusals, each with its place.

#[test]
fn a_problem_is_shown_as_rustc_would() {
    let yaml = WHOLE.replace("learning_rate: 1", "lerning_rate: 2e-5");
    let project = Project::new(&yaml);
    let file = project.root().join("pipeline.yaml");
    let error = project.load(&Overrides::default()).unwrap_err().to_string();
    let expected = format!(
        "error: unknown parameter `lerning_rate` of stage `train`\n  \
         --> {}:11:31\n   |\n\
         11 |     params: {{seed: \"${{seed}}\", lerning_rate: 2e-5}}\n   \
         |                               ^^^^^^^^^^^^\n\
         help: did you mean `learning_rate`?",
        file.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn a_problem_is_also_data() {
    let yaml = WHOLE.replace("learning_rate: 1", "lerning_rate: 2e-5");
    let error = Project::new(&yaml).load(&Overrides::default()).unwrap_err();
    let json = serde_json::to_value(&error).unwrap();
    assert_eq!(json["error"], "invalid");
    let problem = &json["problems"][0];
    assert_eq!(problem["stage"], "train");
    assert_eq!(problem["parameter"], "lerning_rate");
    assert_eq!(problem["location"]["line"], 11);
    assert_eq!(problem["location"]["column"], 31);
    assert_eq!(problem["help"], "did you mean `learning_rate`?");
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let found = problems(
        "varz: {}\n\
         stages:\n\
         \x20 clean:\n\
         \x20   inputs: {text: missing.txt}\n\
         \x20   parms: {}\n\
         \x20 train:\n\
         \x20   params: {epochs: many}\n",
    );
    let messages: Vec<&str> = found.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages.len(), 6, "{messages:#?}");
    assert_eq!(messages[0], "unknown key `varz`");
    assert!(messages[1].starts_with("input `text` of stage `clean`: there is no `/"));
    assert_eq!(messages[2], "unknown key `parms` of stage `clean`");
    assert_eq!(messages[3], "stage `train` needs the input `text`");
    assert_eq!(
        messages[4],
        "stage `train` needs the parameter `seed`: a whole number of at least 0"
    );
    assert!(messages[5].starts_with("parameter `epochs` of stage `train` is \"many\", expected"));
}

#[test]
fn duplicate_keys_are_refused_at_every_level() {
    for yaml in [
        "stages: {s: {run: 'true'}}\nstages: {s: {run: 'true'}}",
        "stages: {s: {run: 'true'}, s: {run: 'true'}}",
        "stages: {s: {run: 'true', run: 'false'}}",
        "vars: {a: 1, a: 2}\nstages: {s: {run: 'true'}}",
        "stages: {s: {run: 'true', params: {x: {y: 1, y: 2}}}}",
    ] {
        assert!(refusal(yaml).0.ends_with("is given twice"), "{yaml}");
    }
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    let found = problems("stages:\n  s: [\n");
    assert!(found[0].message.starts_with("this is not YAML: "), "{found:?}");
    for yaml in
        ["", "# nothing\n", "[]", "a", "stages:\n", "stages: {}\n", "stages: 3\n", "a: b: c"]
    {
        problems(yaml);
    }
    let deep = "[".repeat(100_000);
    problems(&deep);
}

#[test]
fn anchors_aliases_and_merged_keys_work() {
    let pipeline = load(
        "stages:\n  a: &a\n    run: 'true'\n    params: &p {x: 1}\n  b: {run: 'false', params: *p}\n  \
         c: {<<: *a, salt: s}\n",
    );
    assert_eq!(pipeline.stage("b").unwrap().params["x"], json!(1));
    assert_eq!(pipeline.stage("c").unwrap().params["x"], json!(1));
}

#[test]
fn wrong_kinds_of_sections_are_refused() {
    for (yaml, message) in [
        ("stages: {s: 3}", "stage `s` must be a map, not a number"),
        ("stages: {s: {run: [x]}}", "`run` of stage `s` must be a text, not a list"),
        ("stages: {s: {run: ''}}", "`run` of stage `s` must be a text, not an empty one"),
        ("stages: {s: {run: x, inputs: []}}", "`inputs` of stage `s` must be a map, not a list"),
        ("stages: {s: {run: x, params: 1}}", "`params` of stage `s` must be a map, not a number"),
        ("stages: {s: {run: x, outputs: a}}", "`outputs` of stage `s` must be a list, not a text"),
        ("stages: {s: {run: x, outputs: [1]}}", "an output of stage `s` is a number"),
        ("stages: {s: {run: x, env: HOME}}", "`env` of stage `s` must be a list, not a text"),
        ("stages: {s: {run: x, env: [3]}}", "a number is not the name of an environment variable"),
        ("stages: {s: {run: x, env: [a b]}}", "`a b` is not the name of an environment variable"),
        (
            "stages: {s: {run: x, env: [IN_x]}}",
            "`IN_x` is one of the variables that pipe itself sets",
        ),
        ("stages: {s: {run: x, salt: [1]}}", "`salt` of stage `s` must be a text, not a list"),
        ("stages: {s: {run: x, inputs: {a: [1]}}}", "input `a` of stage `s` is a list"),
        (
            "vars: {v: {a: 1}}\nstages: {s: {run: x}}",
            "variable `v` must be a scalar or a list, not a map",
        ),
        ("stages: {s: {run: x, params: {a: !t 1}}}", "the tag `!t` means nothing here"),
        ("stages: {s: {run: x, params: {a: .inf}}}", "`.inf` is not a finite number"),
        ("stages: {s: {run: x, uses: clean}}", "stage `s` has both `uses` and `run`"),
        (
            "stages: {clean: {inputs: {text: data.txt}, outputs: [a]}}",
            "`outputs` of stage `clean` is for commands only",
        ),
    ] {
        assert_eq!(refusal(yaml).0, message, "{yaml}");
    }
}

#[test]
fn an_unknown_built_in_is_refused_with_the_nearest() {
    let (message, help) = refusal("stages: {s: {uses: claen}}");
    assert_eq!(
        (&*message, &*help),
        ("there is no built-in stage `claen`", "did you mean `clean`?")
    );
    let (message, help) = refusal("stages: {trian: {}}");
    assert_eq!(message, "stage `trian` has neither `uses` nor `run`, and no built-in is called so");
    assert_eq!(help, "did you mean `train`?");
}

#[test]
fn parameters_are_checked_against_the_built_in() {
    let refused = |params: &str| {
        refusal(&format!("stages: {{train: {{inputs: {{text: data.txt}}, params: {{{params}}}}}}}"))
    };
    assert_eq!(
        refused("seed: -1").0,
        "parameter `seed` of stage `train` is -1, expected a whole number of at least 0"
    );
    let (message, help) = refused("seed: 1, epochs: '4'");
    assert!(message.contains("is \"4\", expected a whole number"), "{message}");
    assert_eq!(help, "write 4 without quotes");
    assert_eq!(refused("seed: 1, keep: bets").1, "did you mean `best`?");
    assert_eq!(
        refused("seed: 1, text: data.txt").1,
        "`text` is an input: write it under `inputs:`"
    );
    let (message, _) = refused("seed: 1, keep: best");
    assert_eq!(message, "stage `train`: `keep: best` needs a `metric`");
}

#[test]
fn names_are_letters_digits_underscores_and_dashes() {
    for yaml in [
        "stages: {a b: {run: x}}",
        "stages: {'': {run: x}}",
        "stages: {-a: {run: x}}",
        "stages: {a.b: {run: x}}",
        "stages: {hub: {run: x}}",
        "stages: {s: {run: x, outputs: [a/b]}}",
        "stages: {s: {run: x, outputs: {a b: f}}}",
        "stages: {s: {run: x, params: {a b: f}}}",
        "stages: {s: {run: x, inputs: {a.b: data.txt}}}",
        "vars: {a b: 1}\nstages: {s: {run: x}}",
        "vars: {IN_a: 1}\nstages: {s: {run: x}}",
    ] {
        assert!(!problems(yaml).is_empty());
    }
    load("stages: {2020-a_b: {run: x, outputs: [a-b]}, 7: {run: x}}");
}

#[test]
fn names_that_would_be_one_environment_variable_are_refused() {
    let (message, _) = refusal("stages: {s: {run: x, params: {a-b: 1, a_b: 2}}}");
    assert_eq!(message, "parameters `a-b` and `a_b` of stage `s` would both be `$PARAM_a_b`");
    let (message, _) = refusal("stages: {s: {run: x, inputs: {a-b: data.txt, a_b: data.txt}}}");
    assert_eq!(message, "inputs `a-b` and `a_b` of stage `s` would both be `$IN_a_b`");
    let (message, _) = refusal("stages: {s: {run: x, outputs: [a-b, a_b]}}");
    assert_eq!(message, "outputs `a-b` and `a_b` of stage `s` would both be `$OUT_a_b`");
}

// Inputs.

fn input_of(text: &str) -> Input {
    let yaml = format!(
        "stages:\n  made: {{run: x, outputs: [out]}}\n  s:\n    run: x\n    inputs: {{a: {text}}}\n"
    );
    load(&yaml).stage("s").unwrap().inputs["a"].clone()
}

#[track_caller]
fn input_refusal(text: &str) -> (String, String) {
    refusal(&format!(
        "stages:\n  made: {{run: x, outputs: [out]}}\n  s:\n    run: x\n    inputs: {{a: {text}}}\n"
    ))
}

#[test]
fn an_input_is_a_path_an_artifact_a_url_or_a_model() {
    assert!(matches!(input_of("data.txt"), Input::Path(path) if path.ends_with("data.txt")));
    assert!(matches!(input_of("./model"), Input::Path(path) if path.ends_with("model")));
    assert!(matches!(input_of("/"), Input::Path(path) if path == Path::new("/")));
    assert_eq!(input_of("made:out"), artifact("made", "out"));
    let hub = |repository: &str, revision: &str| Input::Hub {
        repository: repository.to_owned(),
        revision: revision.to_owned(),
    };
    assert_eq!(input_of("hub:o/n"), hub("o/n", "main"));
    assert_eq!(input_of("hub:o/n.v1@refs/pr/1"), hub("o/n.v1", "refs/pr/1"));
    assert_eq!(input_of("hub:bert-base-uncased"), hub("bert-base-uncased", "main"));
    let digest = "AB".repeat(32);
    assert_eq!(
        input_of(&format!("{{url: 'https://x.org/f?a=b', blake3: {digest}}}")),
        Input::Url { url: "https://x.org/f?a=b".to_owned(), blake3: digest.to_lowercase() }
    );
}

#[test]
fn the_keys_that_replace_a_source_are_known() {
    let pipeline = load(
        "stages:\n  a: {run: x, inputs: {m: hub:o/n}}\n  b: {run: x, inputs: {k: hub:o/n, d: data.txt}}\n",
    );
    let source = pipeline.stages[0].inputs["m"].clone();
    assert_eq!(pipeline.keys_of(&source), ["a.inputs.m", "b.inputs.k"]);
}

#[test]
fn wrong_references_are_refused_with_the_nearest() {
    let (message, help) = input_refusal("mdae:out");
    assert_eq!(message, "input `a` of stage `s` is `mdae:out`: there is no stage `mdae`");
    assert_eq!(help, "did you mean `made`?");
    let (message, help) = input_refusal("made:uot");
    assert_eq!(message, "input `a` of stage `s`: stage `made` has no output `uot`");
    assert_eq!(help, "did you mean `out`?");
}

#[test]
fn a_file_with_a_colon_is_written_with_its_folder() {
    let project = Project::new("stages: {s: {run: x, inputs: {a: ./b:c}}}");
    std::fs::write(project.root().join("b:c"), "").unwrap();
    let pipeline = project.load(&Overrides::default()).unwrap();
    assert_eq!(pipeline.stages[0].inputs["a"], Input::Path(project.root().join("b:c")));

    let project = Project::new("stages: {s: {run: x, inputs: {a: b:c}}}");
    std::fs::write(project.root().join("b:c"), "").unwrap();
    let error = project.load(&Overrides::default()).unwrap_err().to_string();
    assert!(error.ends_with("help: for the file of that name write `./b:c`"), "{error}");
}

#[test]
fn a_missing_path_names_the_place_that_was_tried() {
    let project = Project::new("stages: {s: {run: x, inputs: {a: no/such}}}");
    let error = project.load(&Overrides::default()).unwrap_err().to_string();
    let tried = project.root().join("no/such");
    assert!(error.contains(&format!("there is no `{}`", tried.display())), "{error}");
    assert!(input_refusal("~/x").1.contains("`~` means nothing here"));
}

#[test]
fn a_relative_path_of_the_file_stays_in_the_project() {
    for path in ["../x", "a/../../x", "..", "./.."] {
        assert!(input_refusal(path).0.contains("leaves the project"), "{path}");
    }
    let yaml = "vars: {v: data.txt}\nstages: {s: {run: x, inputs: {a: '${v}/.'}}}";
    let leaves = |overrides: &Overrides| problems_over(yaml, overrides)[0].message.clone();
    assert!(
        !leaves(&set(&[("v", "../nowhere-at-all")])).contains("leaves"),
        "--set may lead anywhere"
    );
    assert!(!leaves(&set(&[("s.inputs.a", "../nowhere-at-all")])).contains("leaves"));
    let in_file = "vars: {v: ..}\nstages: {s: {run: x, inputs: {a: '${v}/x'}}}";
    assert!(refusal(in_file).0.contains("leaves the project"));
}

#[test]
fn a_url_needs_a_well_formed_digest() {
    let digest = "0a".repeat(32);
    for (text, message) in [
        ("https://x.org/f".to_owned(), "is a URL without a digest"),
        ("{url: 'https://x.org/f'}".to_owned(), "has no `blake3`"),
        (format!("{{blake3: {digest}}}"), "has no `url`"),
        ("{url: 'https://x.org/f', blake3: abc}".to_owned(), "is not 64 hexadecimal digits"),
        (format!("{{url: 'https://x.org/f', blake3: {}}}", "0g".repeat(32)), "is not 64 hexa"),
        (format!("{{url: 'ftp://x.org/f', blake3: {digest}}}"), "is no http or https address"),
        (format!("{{url: 'https://', blake3: {digest}}}"), "is no http or https address"),
        (format!("{{url: 'https://x.org/f', blake3: {digest}, b: 1}}"), "unknown key `b`"),
        (format!("{{url: 'https://x.org/f', blake3: {}}}", "12".repeat(32)), "is a number"),
    ] {
        let (found, _) = input_refusal(&text);
        assert!(found.contains(message), "{text}: {found}");
    }
}

#[test]
fn a_name_that_cannot_be_on_the_hub_is_refused() {
    for text in
        ["hub:", "hub:a/b/c", "hub:../b", "hub:a/b@", "hub:a/b@../../x", "hub:a b/c", "hub:a//b"]
    {
        let (message, _) = input_refusal(&format!("'{text}'"));
        assert!(message.contains("cannot be on the hub"), "{text}: {message}");
    }
}

#[test]
fn a_folder_where_a_file_is_read_is_refused() {
    let (message, _) = refusal("stages: {clean: {inputs: {text: model}}}");
    assert!(message.starts_with("input `text` of stage `clean` must be a file, "), "{message}");
    let (message, _) = refusal("stages: {clean: {inputs: {text: 'hub:a/b'}}}");
    assert_eq!(message, "input `text` of stage `clean` must be a file, `hub:a/b@main` is a folder");
}

#[test]
fn a_missing_and_an_unknown_input_are_refused() {
    let (message, help) = refusal("stages: {clean: {}}");
    assert_eq!(message, "stage `clean` needs the input `text`");
    assert_eq!(help, "add `text:` under `inputs:` (something to read)");
    let (message, help) = refusal("stages: {clean: {inputs: {text: data.txt, extar: data.txt}}}");
    assert_eq!(message, "unknown input `extar` of stage `clean`");
    assert_eq!(help, "did you mean `extra`?");
    let (_, help) = refusal("stages: {clean: {inputs: {text: data.txt, remove: data.txt}}}");
    assert_eq!(help, "`remove` is a parameter: write it under `params:`");
}

// What shows only between stages.

#[test]
fn a_cycle_is_named_as_a_whole() {
    let stage = |name: &str, from: &str| {
        format!("  {name}: {{run: x, inputs: {{i: {from}:o}}, outputs: [o]}}\n")
    };
    let yaml = format!(
        "stages:\n{}{}{}{}",
        stage("a", "c"),
        stage("b", "a"),
        stage("c", "b"),
        stage("d", "c")
    );
    assert_eq!(refusal(&yaml).0, "stages feed each other in a circle: a → b → c → a");
    let own = format!("stages:\n{}", stage("a", "a"));
    assert_eq!(refusal(&own).0, "stage `a` reads its own output");
}

fn publishing(paths: &[&str]) -> String {
    let stage = |(index, path): (usize, &&str)| {
        format!("  s{index}: {{run: x, outputs: [o], publish: {{o: \"{path}\"}}}}\n")
    };
    format!("stages:\n{}", paths.iter().enumerate().map(stage).collect::<String>())
}

#[test]
fn a_published_path_stays_in_the_project() {
    for path in ["/tmp/x", "../x", "a/../../x", "a/..", ".", "./", "pipeline.yaml", ".git/hooks/x"]
    {
        problems(&publishing(&[path]));
    }
    let pipeline = load(&publishing(&["./a//b/./c"]));
    assert_eq!(pipeline.stages[0].publish["o"], PathBuf::from("a/b/c"));
}

#[test]
fn a_link_out_of_the_project_is_no_place_to_publish() {
    let elsewhere = tempfile::tempdir().unwrap();
    let link = |target: &Path, path: &str| {
        let project = Project::new(&publishing(&[path]));
        std::os::unix::fs::symlink(target, project.root().join("link")).unwrap();
        project.load(&Overrides::default()).map_err(|error| error.to_string())
    };
    let error = link(elsewhere.path(), "link/x").unwrap_err();
    assert!(error.contains("the link `link` leads out of the project"), "{error}");
    link(&elsewhere.path().join("nothing"), "link").unwrap_err();
    link(Path::new("model"), "link/x").unwrap();
}

#[test]
fn a_published_path_is_claimed_once() {
    let (message, _) = refusal(&publishing(&["a/b", "./a/b"]));
    assert_eq!(message, "output `o` of stage `s1` is published to `a/b`, which is claimed already");
    let found = problems(&publishing(&["a/b/c", "a"]));
    assert_eq!(found[0].notes, ["output `o` of stage `s1` claims it at line 3"]);
    load(&publishing(&["a/b", "a/c", "ab"]));
}

#[test]
fn outputs_of_a_command_are_claimed_once() {
    for outputs in ["[a, a]", "{a: f, b: f}", "{a: x/y}", "{a: ..}", "{a: ''}", "{a: 1}"] {
        refusal(&format!("stages: {{s: {{run: x, outputs: {outputs}}}}}"));
    }
    let pipeline = load("stages: {s: {run: x, outputs: {a: a.txt}}}");
    assert_eq!(pipeline.stages[0].outputs[0].file, "a.txt");
    let (message, help) = refusal("stages: {s: {run: x, outputs: [lines], publish: {line: l}}}");
    assert_eq!(message, "stage `s` has no output `line` to publish");
    assert_eq!(help, "did you mean `lines`?");
}

#[test]
fn reading_what_another_stage_publishes_is_refused() {
    let yaml = "stages:\n  \
         a: {run: x, outputs: [o], publish: {o: data.txt}}\n  \
         b: {run: x, inputs: {i: data.txt}}\n";
    let (message, help) = refusal(yaml);
    assert_eq!(message, "input `i` of stage `b` is what stage `a` publishes");
    assert_eq!(help, "write `a:o`");
}

#[test]
fn an_escape_in_a_value_does_not_reach_the_terminal() {
    let error = Project::new("stages: {s: {run: x, inputs: {a: \"\\e[2Jx\"}}}")
        .load(&Overrides::default())
        .unwrap_err()
        .to_string();
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Pipeline::load(Path::new("/no/such/pipeline.yaml"), &Overrides::default());
    let error = error.unwrap_err();
    assert!(error.to_string().starts_with("reading /no/such/pipeline.yaml: "), "{error}");
    assert_eq!(serde_json::to_value(&error).unwrap()["error"], "read");
}

#[test]
fn random_damage_to_a_pipeline_never_panics() {
    // A small generator of its own, so that the same damage is done every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let alphabet: Vec<char> = "\n\n  ::{}[]\"'${}&*!|>#-,?%@`\\\t\u{0}aé🙃0.".chars().collect();
    let project = Project::new(WHOLE);
    let file = project.root().join("pipeline.yaml");
    for _ in 0..3_000 {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, alphabet[random(alphabet.len())]),
                _ => text[at] = alphabet[random(alphabet.len())],
            }
        }
        std::fs::write(&file, text.into_iter().collect::<String>()).unwrap();
        if let Err(error) = project.load(&set(&[("train.epochs", "2")])) {
            assert!(!error.to_string().is_empty());
        }
    }
}
