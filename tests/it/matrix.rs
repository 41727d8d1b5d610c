//! `foreach` and `matrix`: the names of variants, their values, how they are selected, and sets of
//! artifacts as the input of one stage.

use std::path::Path;

use pipe::pipeline::{Overrides, Pipeline, PipelineError};
use stages::stage::params::Params;
use stages::stage::{CheckError, StageSpec};
use stages::{Context, Count, InputSpec, Kind, StageError};

use crate::harness::Project;

/// Four variants, of two seeds and two shares, and a stage that reads all of them.
const GRID: &str = r#"
vars: {seeds: [1, 2], base: 10}
stages:
  train:
    matrix: {seed: "${seeds}", share: [0.8, 0.9]}
    run: echo "${variant}" >> ran.log; echo "$PARAM_seed ${matrix.share} $PARAM_epochs" > "$OUT_model"
    params: {seed: "${matrix.seed}", epochs: 1}
    outputs: [model]
    publish: {model: "models/${matrix.seed}-${matrix.share}.txt"}
  score:
    run: echo score >> ran.log; for model in "$IN_models"/*; do echo "$(basename "$model") $(cat "$model")"; done > "$OUT_table"
    inputs: {models: "train@*:model"}
    outputs: [table]
    publish: {table: table.txt}
"#;

fn refusal(yaml: &str) -> String {
    let project = Project::new(yaml);
    project.pipe(&["status"]).expect_code(2).stderr
}

#[track_caller]
fn expect(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` is not in\n{text}");
}

#[test]
fn a_matrix_makes_the_product_and_a_set_collects_it() {
    let project = Project::new(GRID);
    let run = project.run(&[]).expect_code(0);
    assert_eq!(run.summary()["ran"], 5);
    assert_eq!(
        project.take_log(),
        "score seed=1,share=0.8 seed=1,share=0.9 seed=2,share=0.8 seed=2,share=0.9"
    );
    assert_eq!(
        project.read("table.txt"),
        "seed=1,share=0.8 1 0.8 1\nseed=1,share=0.9 1 0.9 1\n\
         seed=2,share=0.8 2 0.8 1\nseed=2,share=0.9 2 0.9 1\n"
    );
    assert_eq!(project.read("models/2-0.8.txt"), "2 0.8 1\n");
    assert_eq!(project.run(&[]).summary()["hits"], 5);
}

#[test]
fn variants_come_in_the_order_written() {
    let project = Project::new(
        "stages:\n  a: {foreach: [3, x, 1], run: 'true', outputs: [o]}\n  b: {matrix: {y: [2, 1], x: [b, a]}, run: 'true', outputs: [o]}\n",
    );
    let status = project.pipe(&["status", "--json"]).expect_code(0);
    let events = status.events();
    let names: Vec<&str> = events.iter().map(|line| line["stage"].as_str().unwrap()).collect();
    assert_eq!(names.join(" "), "a@3 a@x a@1 b@y=2,x=b b@y=2,x=a b@y=1,x=b b@y=1,x=a");
}

#[test]
fn an_item_fills_inputs_parameters_commands_environment_and_salt() {
    let project = Project::new(
        r#"
stages:
  a:
    foreach: {one: 1, two: 2}
    run: echo "$(cat "$IN_text") ${item} $PARAM_number ${variant} $WORD_2" > "$OUT_o"
    inputs: {text: "text-${item}.txt"}
    params: {number: "${item}"}
    env: ["WORD_${item}"]
    salt: "salt ${item}"
    outputs: [o]
    publish: {o: "o-${variant}.txt"}
"#,
    );
    project.write("text-1.txt", "first");
    project.write("text-2.txt", "second");
    project.pipe_with(&["run"], &[("WORD_2", "word")]).expect_code(0);
    assert_eq!(project.read("o-one.txt"), "first 1 1 one word\n");
    assert_eq!(project.read("o-two.txt"), "second 2 2 two word\n");
    let explained = project.pipe_with(&["explain", "a@two"], &[("WORD_2", "word")]);
    expect(&explained.stdout, "salt: salt 2");
    expect(&explained.stdout, "environment: $WORD_2");
}

#[test]
fn a_list_in_a_variable_is_replaced_from_the_command_line() {
    let project = Project::new(GRID);
    project.run(&[]).expect_code(0);
    project.take_log();
    let run = project.run(&["--set", "seeds=[2, 3]"]).expect_code(0);
    assert_eq!(project.take_log(), "score seed=3,share=0.8 seed=3,share=0.9");
    let reason = run.about("stage_started", "score")["reason"].clone();
    let changes: Vec<String> = reason["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            let what = if change["to"].is_null() { "-" } else { "+" };
            format!("{what}{}", change["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        changes.join(" "),
        "-models/seed=1,share=0.8 -models/seed=1,share=0.9 \
         +models/seed=3,share=0.8 +models/seed=3,share=0.9"
    );
}

#[test]
fn a_new_entry_of_a_set_is_a_change_even_before_it_is_known() {
    let project = Project::new(GRID);
    project.run(&[]).expect_code(0);
    let status = project.pipe(&["status", "--json", "--set", "seeds=[1, 2, 3]"]).expect_code(0);
    let score = status.about("stage_planned", "score");
    assert_eq!(score["may_be_cut_off"], false);
    assert_eq!(score["why"]["changes"][0]["name"], "models/seed=3,share=0.8");
    // An entry that exists and has to be rebuilt may come out the same.
    let again = project.pipe(&["status", "--json", "--set", "train.epochs=2"]).expect_code(0);
    assert_eq!(again.about("stage_planned", "score")["may_be_cut_off"], true);
}

#[test]
fn overrides_reach_all_variants_or_the_one_that_is_named() {
    let project = Project::new(GRID);
    project.run(&["--set", "train.epochs=2"]).expect_code(0);
    assert_eq!(project.read("models/1-0.8.txt"), "1 0.8 2\n");
    assert_eq!(project.read("models/2-0.9.txt"), "2 0.9 2\n");
    project.take_log();
    // The more specific override wins, in any order. A part of a label matches several variants.
    let arguments = ["--set", "train@seed=1,share=0.9.epochs=5", "--set", "train@seed=2.epochs=7"];
    project.run(&[&arguments[..], &["--set", "train.epochs=2"]].concat()).expect_code(0);
    assert_eq!(project.read("models/1-0.8.txt"), "1 0.8 2\n");
    assert_eq!(project.read("models/1-0.9.txt"), "1 0.9 5\n");
    assert_eq!(project.read("models/2-0.8.txt"), "2 0.8 7\n");
    assert_eq!(project.take_log(), "score seed=1,share=0.9 seed=2,share=0.8 seed=2,share=0.9");
}

#[test]
fn a_profile_reaches_single_variants_too() {
    let yaml = GRID.replace("stages:", "profiles: {long: {train@seed=2.epochs: 9}}\nstages:");
    let project = Project::new(&yaml);
    project.run(&["--profile", "long"]).expect_code(0);
    assert_eq!(project.read("models/1-0.9.txt"), "1 0.9 1\n");
    assert_eq!(project.read("models/2-0.9.txt"), "2 0.9 9\n");
    // A profile is checked even if it is not applied.
    let wrong = refusal(&yaml.replace("train@seed=2.epochs", "train@seed=2.epohs"));
    expect(&wrong, "unknown parameter `epohs` of stage `train@seed=2,share=0.8`");
    expect(&wrong, "did you mean `epochs`?");
}

#[test]
fn a_stage_is_chosen_with_all_its_variants_or_one_by_one() {
    let project = Project::new(GRID);
    project.run(&["train@seed=1,share=0.80"]).expect_code(0);
    assert_eq!(project.take_log(), "seed=1,share=0.8");
    project.run(&["train@share=0.8"]).expect_code(0);
    assert_eq!(project.take_log(), "seed=2,share=0.8");
    project.run(&["train"]).expect_code(0);
    assert_eq!(project.take_log(), "seed=1,share=0.9 seed=2,share=0.9");
    project.run(&["--force", "train@seed=2"]).expect_code(0);
    assert_eq!(project.take_log(), "seed=2,share=0.8 seed=2,share=0.9");
    let typo = project.pipe(&["run", "train@sed=1,share=0.8"]).expect_code(2);
    expect(&typo.stderr, "did you mean `train@seed=1,share=0.8`?");
    let many = project.pipe(&["explain", "train"]).expect_code(2);
    expect(&many.stderr, "`train` means 4 variants, but one stage is needed");
    expect(&many.stderr, "name one, such as `train@seed=1,share=0.8`");
}

#[test]
fn a_new_variant_is_compared_with_the_others() {
    let project = Project::new(GRID);
    project.run(&[]).expect_code(0);
    let status = project.pipe(&["explain", "train@seed=3,share=0.9", "--set", "seeds=[3]"]);
    // Several variants are equally near, so it is compared with the one that ended last.
    let compared = ["seed 1 → 3", "seed 2 → 3"].iter().any(|it| status.stdout.contains(it));
    assert!(compared, "{}", status.stdout);
    // The artifact of another variant is not shown as its own.
    let shown = project.pipe(&["show", "train@seed=3,share=0.9:model", "--set", "seeds=[3]"]);
    expect(&shown.expect_code(1).stderr, "does not exist yet");
    let shown = project.pipe(&["show", "train@seed=2,share=0.9:model"]).expect_code(0);
    expect(&shown.stdout, "2 0.9 1");
}

#[test]
fn patterns_and_lists_make_sets_and_their_entries_have_names() {
    let project = Project::new(
        r#"
stages:
  a: {matrix: {s: [1, 2], t: [x, y]}, run: 'echo ${variant} > $OUT_o', outputs: [o]}
  b: {run: 'echo b > $OUT_o', outputs: [o]}
  part: {run: 'ls $IN_in > $OUT_o', inputs: {in: "a@s=*,t=y:o"}, outputs: [o], publish: {o: part.txt}}
  list: {run: 'ls $IN_in > $OUT_o', inputs: {in: [a@t=x,s=2:o, b:o, "a@t=y,*:o", text.txt]}, outputs: [o], publish: {o: list.txt}}
  same: {foreach: [1, 2], run: 'cat $IN_in > $OUT_o', inputs: {in: "a@s=${item},t=y:o"}, outputs: [o], publish: {o: "same${item}.txt"}}
"#
        .replace("[a@t=x,s=2:o,", "['a@t=x,s=2:o',")
        .as_str(),
    );
    project.write("text.txt", "text\n");
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("part.txt"), "s=1,t=y\ns=2,t=y\n");
    assert_eq!(project.read("list.txt"), "a@s=1,t=y\na@s=2,t=x\na@s=2,t=y\nb\ntext.txt\n");
    assert_eq!(project.read("same2.txt"), "s=2,t=y\n");
    // A changed file in a set is a changed input.
    project.write("text.txt", "other text\n");
    let status = project.pipe(&["status"]).expect_code(0);
    expect(&status.stdout, "input `in/text.txt` changed (text.txt)");
}

#[test]
fn a_mistake_in_foreach_or_matrix_is_reported_with_its_line() {
    let of = |keys: &str| refusal(&format!("stages:\n  a:\n    {keys}\n    run: 'true'\n"));
    for (keys, parts) in [
        ("foreach: []", ["`foreach` of stage `a` has no values", "yaml:3:14"]),
        ("matrix: {s: []}", ["`s` in `matrix` of stage `a` has no values", "yaml:3:17"]),
        ("foreach: [1, 2, 1]", ["has the value 1 twice", "yaml:3:21"]),
        ("foreach: [a/b, 'a:b']", ["would both be called `a-b`", "name them"]),
        ("foreach: [1, [2]]", ["a value of `foreach` of stage `a` is a list", "yaml:3:18"]),
        ("foreach: [1, {b: 2}]", ["a value of `foreach` of stage `a` is a map", "yaml:3:18"]),
        ("foreach: [~]", ["is nothing", "yaml:3:15"]),
        ("foreach: 3", ["must be a list, not a number", "write `[1, 2, 3]`"]),
        ("foreach: {a b: 1}", ["`a b` cannot be part of a stage's name", "yaml:3:15"]),
        ("matrix: [1, 2]", ["must be a map, not a list", "or `foreach: [1, 2, 3]`"]),
        ("matrix: {}", ["`matrix` of stage `a` is empty", "yaml:3:13"]),
        ("{foreach: [1], matrix: {s: [1]}, run: x}", ["has both `foreach` and `matrix`", "yaml"]),
        ("matrx: {s: [1]}", ["unknown key `matrx`", "did you mean `matrix`?"]),
    ] {
        let text = match keys.starts_with('{') {
            true => refusal(&format!("stages:\n  a: {keys}\n")),
            false => of(keys),
        };
        for part in parts {
            expect(&text, part);
        }
        assert_eq!(text.matches("error:").count(), 1, "{text}");
    }
}

#[test]
fn a_mistake_that_all_variants_share_is_reported_once() {
    let yaml = "stages:\n  a: {matrix: {seed: [1, 2, 3]}, run: 'echo ${matrix.sed}'}\n";
    let text = refusal(yaml);
    expect(&text, "there is no variable `matrix.sed`");
    expect(&text, "did you mean `matrix.seed`?");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    let text = refusal("stages:\n  a: {foreach: [1, 2, 3], run: x, inputs: {i: missing.txt}}\n");
    expect(&text, "input `i` of stage `a@1`: there is no");
    assert_eq!(text.matches("error:").count(), 1, "{text}");
    let text = refusal("stages:\n  a: {run: 'echo ${matrix.seed}'}\n");
    expect(&text, "declare `seed` under `matrix:` of the stage");
    expect(&refusal("stages:\n  a: {run: 'true', salt: '${item}'}\n"), "it comes from `foreach:`");
}

#[test]
fn a_wrong_reference_to_variants_says_what_there_is() {
    let of = |input: &str| {
        refusal(&format!(
            "stages:\n  a: {{foreach: [1, 2], run: 'true', outputs: [o]}}\n  b: {{run: 'true', inputs: {{i: {input}}}}}\n"
        ))
    };
    expect(&of("'a:o'"), "`a:o`, which matches 2 variants");
    expect(&of("'a:o'"), "write `a@1:o` for one of them, `a@*:o` for all");
    expect(&of("'a@3:o'"), "there is no stage `a@3`");
    expect(&of("'aa@*:o'"), "did you mean `a@*`?");
    expect(&of("'b@*:o'"), "`b@*` matches no variant of a stage");
    expect(&of("'a@*:p'"), "has no output `p`");
    expect(&of("[]"), "input `i` of stage `b` is an empty list");
    expect(&of("['a@1:o', 'a@1:o']"), "would both be `a@1`");
    expect(&of("[[x]]"), "input `i` of stage `b` is a list");
}

/// A built-in that takes a set of files, and one that takes a single file.
const REGISTRY: &[&dyn stages::Stage] = &[&Blend, &Single];

struct Blend;
struct Single;

const fn inputs(many: bool) -> &'static [InputSpec] {
    const fn input(many: bool) -> InputSpec {
        let count = if many { Count::Set } else { Count::One };
        InputSpec { name: "files", required: true, kind: Kind::File, count, doc: "files" }
    }
    const MANY: &[InputSpec] = &[input(true)];
    const ONE: &[InputSpec] = &[input(false)];
    if many { MANY } else { ONE }
}

macro_rules! stage {
    ($type:ident, $name:literal, $many:literal) => {
        impl stages::Stage for $type {
            fn spec(&self) -> &'static StageSpec {
                const SPEC: StageSpec = StageSpec {
                    name: $name,
                    version: 1,
                    summary: "reads files",
                    inputs: inputs($many),
                    outputs: &[],
                    params: &[],
                    headline: &[],
                };
                &SPEC
            }
            fn check(&self, _: &Params, _: &[&str]) -> Result<(), CheckError> {
                Ok(())
            }
            fn run(&self, _: &Context) -> Result<(), StageError> {
                unreachable!("these tests run nothing")
            }
        }
    };
}
stage!(Blend, "blend", true);
stage!(Single, "single", false);

fn load(yaml: &str) -> Result<Pipeline, PipelineError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, yaml).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("text.txt"), "").unwrap();
    Pipeline::load_with(Path::new(&file), &Overrides::default(), REGISTRY)
}

const MAKERS: &str = "stages:\n  a: {foreach: [1, 2], run: 'true', outputs: [o]}\n";

#[test]
fn a_built_in_that_takes_many_gets_a_set_even_of_one() {
    let inputs = |input: &str| -> Vec<String> {
        let pipeline = load(&format!("{MAKERS}  blend: {{inputs: {{files: {input}}}}}\n")).unwrap();
        pipeline.stage("blend").unwrap().inputs.keys().cloned().collect()
    };
    assert_eq!(inputs("'a@*:o'"), ["files/1", "files/2"]);
    assert_eq!(inputs("'a@1:o'"), ["files/a@1"]);
    assert_eq!(inputs("text.txt"), ["files/text.txt"]);
    let folder = load("stages: {blend: {inputs: {files: [text.txt, folder]}}}").unwrap_err();
    expect(&folder.to_string(), "must be a file");
}

#[test]
fn a_built_in_that_takes_one_refuses_a_set() {
    let wrong = load(&format!("{MAKERS}  single: {{inputs: {{files: 'a@*:o'}}}}\n")).unwrap_err();
    expect(
        &wrong.to_string(),
        "input `files` of stage `single` takes a single one, this is a set of 2",
    );
    expect(&wrong.to_string(), "write one of them, such as `a@1:o`");
}
