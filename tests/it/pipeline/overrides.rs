//! Profiles and `--set`.

use pipe::pipeline::Overrides;
use serde_json::json;

use super::{Project, WHOLE, load_over, one, problems_over, profile, refusal, set};

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
    // Text that YAML would read as a comment, a map or null stays a text.
    assert_eq!(value("a #b"), json!("a #b"));
    assert_eq!(value("#b"), json!("#b"));
    assert_eq!(value("a: b"), json!("a: b"));
    assert_eq!(value(""), json!(""));
    assert_eq!(value("@USER"), json!("@USER"));
    assert_eq!(value("!x y"), json!("!x y"));
    assert_eq!(value("*x"), json!("*x"));
}

#[test]
fn set_adds_an_input_that_the_file_does_not_have() {
    let pipeline = load_over(WHOLE, &set(&[("clean.inputs.extra", "data.txt")]));
    let clean = pipeline.stage("clean").unwrap();
    assert!(clean.inputs.contains_key("extra"));
    assert_eq!(clean.outputs.len(), 2, "the output that depends on the input exists too");
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
fn a_mistake_on_the_command_line_points_there() {
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
