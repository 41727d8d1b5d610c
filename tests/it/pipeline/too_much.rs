//! Texts that are not meant to be read: nested without end, or made of aliases.

use crate::harness::Project;

/// What `pipe status` says about a pipeline file; it says it at once.
#[track_caller]
fn refusal(text: &str) -> String {
    let ended = Project::new(text).pipe(&["status"]).expect_code(2);
    assert!(ended.stderr.len() < 4000, "{} bytes of error", ended.stderr.len());
    ended.stderr
}

#[test]
fn what_is_nested_too_deeply_is_refused_without_reading_on() {
    let indented: String = (0..300).map(|level| " ".repeat(level) + "a:\n").collect();
    let texts = [
        "[".repeat(200_000),
        "{".repeat(200_000),
        "{a: ".repeat(50_000),
        "[\"]\", ".repeat(30_000),
        "[\n".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        indented,
        format!("stages:\n  a: {{run: x, params: {{deep: {}}}}}", "[".repeat(100_000)),
    ];
    for text in texts {
        let said = refusal(&text);
        assert!(said.contains("is nested more than 128 levels deep"), "{said}");
    }
    for value in ["[".repeat(100_000), "{a: ".repeat(25_000)] {
        let project = Project::new("vars: {x: 1}\nstages: {a: {run: 'echo ${x}'}}");
        let ended = project.pipe(&["status", "--set", &format!("x={value}")]).expect_code(2);
        assert!(ended.stderr.contains("is nested more than 128 levels deep"), "{}", ended.stderr);
        assert!(ended.stderr.len() < 10_000);
    }
}

#[test]
fn aliases_that_stand_for_very_many_values_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let many_keys: String = (0..20_000).map(|key| format!("k{key}: {key}\n")).collect();
    let long = format!("a: &a '{}'\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1000));
    for text in [&bomb, &(bomb.clone() + &many_keys), &long] {
        let said = refusal(text);
        assert!(said.contains("aliases stand for more than 250000 values"), "{said}");
    }
    // Anchors as people use them.
    let stages: String =
        (0..200).map(|stage| format!("  s{stage}: {{<<: *all, salt: s{stage}}}\n")).collect();
    let pipeline = "stages:\n  s: &all {run: echo > $OUT_x, outputs: [x]}\n".to_owned() + &stages;
    Project::new(&pipeline).pipe(&["status"]).expect_code(0);
}

#[test]
fn very_long_keys_and_lines_make_short_messages() {
    let key = "k".repeat(100_000);
    for text in [
        format!("? {key}\n: 1\nstages: {{a: {{run: x}}}}\n"),
        format!("stages: {{a: {{run: x, uses: {key}}}}}\n"),
        format!("stages: {{a: {{run: x, inputs: {{b: '{key}:x'}}}}}}\n"),
    ] {
        refusal(&text);
    }
    // One line of many wrong keys.
    let keys: String = (0..5_000).map(|key| format!("x{key}: 1, ")).collect();
    let ended = Project::new(&format!("{{{keys}}}")).pipe(&["status"]).expect_code(2);
    assert!(ended.stderr.contains("more problems are not shown"), "{}", ended.stderr.len());
    assert!(ended.stderr.len() < 40_000, "{}", ended.stderr.len());
}

#[test]
fn a_pipeline_that_is_a_fifo_is_not_waited_for() {
    let project = Project::new("");
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    project.fifo("pipeline.yaml");
    let ended = project.pipe(&["status"]).expect_code(2);
    assert!(ended.stderr.contains("it is a FIFO"), "{}", ended.stderr);
}
