//! Mistakes within the file or a single stage, and their messages.

use pipe::pipeline::Overrides;
use serde_json::json;

use super::{Project, WHOLE, load, problems, refusal};

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
fn invalid_yaml_is_refused_with_its_place() {
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
        ("stages: {s: {run: x, env: [IN_x]}}", "`IN_x` is a variable that pipe itself sets"),
        ("stages: {s: {run: x, salt: [1]}}", "`salt` of stage `s` must be a text, not a list"),
        ("stages: {s: {run: x, inputs: {a: [[1]]}}}", "input `a` of stage `s` is a list"),
        (
            "vars: {v: {a: 1}}\nstages: {s: {run: x}}",
            "variable `v` must be a scalar or a list, not a map",
        ),
        ("stages: {s: {run: x, params: {a: !t 1}}}", "the tag `!t` is not supported"),
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
    assert_eq!(
        message,
        "stage `trian` has neither `uses` nor `run`, and there is no built-in of that name"
    );
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
