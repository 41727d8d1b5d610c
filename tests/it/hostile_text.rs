//! Control characters from anywhere never reach the terminal raw: names of files, parameters,
//! arguments, the project's folder, what a stage prints, records, and answers of servers.

use std::fs;

use crate::harness::{Ended, Project};

/// A sequence that clears the screen, one that sets the title, the other form of an escape
/// sequence, a carriage return, and a mark that turns the direction of text.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\r\u{202e}";

/// Both streams as lines, without control characters.
#[track_caller]
fn expect_clean(what: &str, ended: &Ended) {
    for text in [&ended.stdout, &ended.stderr] {
        let raw = |character: char| {
            (character.is_control() && !matches!(character, '\n' | '\t')) || character == '\u{202e}'
        };
        let found: Vec<char> = text.chars().filter(|character| raw(*character)).collect();
        assert!(found.is_empty(), "{what}: {found:?} in {text}");
    }
}

/// The text in quotes, as YAML and JSON spell it.
fn quoted(text: &str) -> String {
    pipe::text::terminal::safe_json(&serde_json::to_string(text).unwrap()).into_owned()
}

/// A project whose folder, parameter, input and output texts are hostile.
fn project() -> Project {
    let folder = tempfile::Builder::new().prefix(EVIL).tempdir().unwrap();
    let project = Project::new_in(
        folder,
        &format!(
            "vars: {{v: {evil}}}\nstages:\n  a:\n    run: 'printf \"%s\\n\" \"$PARAM_p\"; printf \"%s\\n\" \
             \"$PARAM_p\" >&2; cp $IN_f $OUT_x'\n    params: {{p: {evil}}}\n    inputs: {{f: {file}}}\n    \
             outputs: [x]\n    publish: {{x: {published}}}\n  b: {{run: 'echo \"$PARAM_p\" >&2; false', \
             params: {{p: '${{v}}'}}, inputs: {{x: a:x}}}}\n",
            evil = quoted(EVIL),
            file = quoted(&format!("data/{EVIL}f")),
            published = quoted(&format!("out/{EVIL}x")),
        ),
    );
    project.write(&format!("data/{EVIL}f"), EVIL);
    project
}

#[test]
fn no_command_passes_control_characters_on() {
    let project = project();
    let missing = format!("a.p={EVIL}2");
    for arguments in [
        &["status"][..],
        &["run"],
        &["run", "--json"],
        &["run", "-v", "--jobs", "1"],
        &["explain", "a"],
        &["explain", "b", "--json"],
        &["status", "--set", &missing],
        &["explain", "a", "--set", &missing],
        &["run", "a", "--set", &missing],
        &["diff"],
        &["graph"],
        &["graph", "--format", "dot"],
        &["log"],
        &["log", "b"],
        &["show", "a:x"],
        &["cache", "ls"],
        &["cache", "show", "a:x"],
        &["cache", "show", "a:x", "--record"],
        &["cache", "verify"],
        &["cache", "gc", "--dry-run"],
        &["restore", "a", "--dry-run"],
        &["restore", "a:x", "--out", EVIL],
        &["status", EVIL],
        &["show", EVIL],
        &["restore", EVIL],
        &["explain", EVIL],
        &["status", "--set", EVIL],
        &["status", "--profile", EVIL],
        &["-C", EVIL, "status"],
        &["-f", EVIL, "status"],
        &[EVIL],
        &["run", "--jobs", EVIL],
        &["stages", EVIL],
        &["init", "--data", EVIL],
        &["push", "--remote", EVIL],
        &["verify"],
        &["doctor"],
    ] {
        for color in ["never", "always"] {
            let mut all = arguments.to_vec();
            all.extend(["--color", color]);
            let mut ended = project.pipe(&all);
            if color == "always" {
                for style in ["0", "1", "2", "31", "32", "33"] {
                    let style = format!("\u{1b}[{style}m");
                    ended.stdout = ended.stdout.replace(&style, "");
                    ended.stderr = ended.stderr.replace(&style, "");
                }
            }
            expect_clean(&format!("{arguments:?} --color {color}"), &ended);
        }
    }
}

#[test]
fn json_of_hostile_text_is_json_and_means_the_same() {
    let project = project();
    let ended = project.pipe(&["run", "--json", "a"]).expect_code(0);
    expect_clean("run --json", &ended);
    assert_eq!(ended.outcomes(), "a=ran");
    let ended = project.pipe(&["cache", "show", "a:x", "--record"]).expect_code(0);
    let record: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(record["fields"]["params"]["p"], EVIL);
}

#[test]
fn a_record_from_elsewhere_cannot_speak_to_the_terminal() {
    let project = Project::new("stages:\n  a: {run: 'echo > $OUT_x', outputs: [x]}\n");
    project.run(&[]).expect_code(0);
    let path = &project.stored("records")[0];
    let text = fs::read_to_string(path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record.as_object_mut().unwrap().remove("check");
    for field in ["machine", "device", "when", "pipe"] {
        record[field] = format!("{EVIL}{field}").into();
    }
    record["metrics"] = serde_json::json!({EVIL: 1.0});
    let text = pipe::store::record::with_check(&record).unwrap();
    fs::write(path, text).unwrap();
    for arguments in [
        &["status", "-v"][..],
        &["explain", "a"],
        &["cache", "ls"],
        &["cache", "show", "a:x", "--record"],
        &["run", "--json"],
        &["run"],
        &["log"],
        &["diff"],
    ] {
        expect_clean(&format!("{arguments:?}"), &project.pipe(arguments));
    }
}
