//! `${name}` in values, and in commands, where the shell has variables too.

use pipe::pipeline::Action;
use serde_json::json;

use super::{WHOLE, load, problems, problems_over, refusal, set};

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
fn a_cycle_of_variables_is_refused() {
    let (message, _) =
        refusal("vars: {a: '${b}', b: '${c}', c: '${b}'}\nstages: {s: {run: 'true'}}");
    assert_eq!(message, "the variables form a cycle: b → c → b");
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
    assert_eq!(message, "variable `l` is a list and cannot stand inside a text");
}

#[test]
fn doubling_variables_cannot_fill_the_memory() {
    let mut yaml = String::from("vars:\n  v0: 0123456789\n");
    for index in 1..60 {
        let before = index - 1;
        yaml += &format!("  v{index}: \"${{v{before}}}${{v{before}}}\"\n");
    }
    yaml += "stages: {s: {run: 'true', params: {a: '${v59}'}}}\n";
    assert!(problems(&yaml)[0].message.ends_with("filled in, the value is too long"));
}

#[test]
fn a_message_about_a_value_names_the_variable_it_came_from() {
    let found = problems_over(WHOLE, &set(&[("source", "nowhere.txt")]));
    assert!(found[0].message.contains("nowhere.txt"), "{found:?}");
    assert_eq!(found[0].notes, ["`${source}` is \"nowhere.txt\", from `--set source=nowhere.txt`"]);
}
