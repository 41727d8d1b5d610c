//! Checks across stages: cycles and published paths.

use std::path::{Path, PathBuf};

use pipe::pipeline::{Overrides, Pipeline};

use super::{Project, WHOLE, load, problems, refusal, set};

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
    assert_eq!(refusal(&yaml).0, "the stages form a cycle: a → b → c → a");
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
fn publishing_through_a_link_out_of_the_project_is_refused() {
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
fn two_outputs_cannot_be_published_to_one_path() {
    let (message, _) = refusal(&publishing(&["a/b", "./a/b"]));
    assert_eq!(message, "output `o` of stage `s1` is published to `a/b`, which is already claimed");
    let found = problems(&publishing(&["a/b/c", "a"]));
    assert_eq!(found[0].notes, ["output `o` of stage `s1` claims it at line 3"]);
    load(&publishing(&["a/b", "a/c", "ab"]));
}

#[test]
fn outputs_of_a_command_have_different_files() {
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
    assert_eq!(message, "input `i` of stage `b` is a file that stage `a` publishes");
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
    // A small random generator with a fixed seed, so that every run does the same damage.
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

/// From a few hundred stages on, several threads build them.
#[test]
fn the_stages_of_a_long_pipeline_keep_their_order_and_so_do_its_mistakes() {
    let text = |wrong: &[usize]| {
        let mut text = "stages:\n".to_owned();
        for index in 0..450 {
            let input = if wrong.contains(&index) { "gone.txt" } else { "data.txt" };
            text.push_str(&format!(
                "  s{index}: {{run: x, inputs: {{a: {input}}}, outputs: [y]}}\n"
            ));
        }
        text
    };
    let names: Vec<String> = load(&text(&[])).stages.into_iter().map(|stage| stage.name).collect();
    assert_eq!(names, (0..450).map(|index| format!("s{index}")).collect::<Vec<_>>());
    let wrong = [7, 140, 141, 449];
    let problems = problems(&text(&wrong));
    let stages: Vec<&str> = problems.iter().filter_map(|it| it.stage.as_deref()).collect();
    assert_eq!(stages, wrong.map(|index| format!("s{index}")));
}
