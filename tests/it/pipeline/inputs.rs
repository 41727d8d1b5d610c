//! Inputs: where they come from, and which references are refused.

use std::path::Path;

use pipe::pipeline::{Input, Overrides, PipelineError};

use super::{Project, artifact, load, problems_over, refusal, set};

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
        Input::Url { url: "https://x.org/f?a=b".to_owned(), blake3: Some(digest.to_lowercase()) }
    );
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
    assert!(input_refusal("~/x").1.contains("`~` is not expanded"));
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
        ("https://x.org/f".to_owned(), "is a URL that may change"),
        ("{url: 'https://x.org/f'}".to_owned(), "has no `blake3`"),
        (format!("{{blake3: {digest}}}"), "has no `url`"),
        ("{url: 'https://x.org/f', blake3: abc}".to_owned(), "is not 64 hexadecimal digits"),
        (format!("{{url: 'https://x.org/f', blake3: {}}}", "0g".repeat(32)), "is not 64 hexa"),
        (format!("{{url: 'ftp://x.org/f', blake3: {digest}}}"), "is not an http or https address"),
        (format!("{{url: 'https://', blake3: {digest}}}"), "is not an http or https address"),
        (format!("{{url: 'https://x.org/f', blake3: {digest}, b: 1}}"), "unknown key `b`"),
        (format!("{{url: 'https://x.org/f', blake3: {}}}", "12".repeat(32)), "is a number"),
    ] {
        let (found, _) = input_refusal(&text);
        assert!(found.contains(message), "{text}: {found}");
    }
}

#[test]
fn a_url_with_a_password_is_refused_and_not_repeated() {
    let digest = "0a".repeat(32);
    let commit = "a3cf26d81909cc4801b2fd77faf3287ec9e7372d";
    let url = format!("https://me:hidden@x.org/{commit}/f");
    for text in [
        url.clone(),
        "https://me:hidden@x.org/f".to_owned(),
        "https://hidden@x.org?a=/".to_owned(),
        "s3://key:hidden@bucket/f".to_owned(),
        format!("{{url: 'https://me:hidden@x.org/f', blake3: {digest}}}"),
    ] {
        let yaml = format!("stages:\n  s:\n    run: x\n    inputs: {{a: {text}}}\n");
        let error = Project::new(&yaml).load(&Overrides::default()).unwrap_err();
        let PipelineError::Invalid { problems, .. } = &error else { panic!("{error}") };
        let shown = format!("{error} {}", serde_json::to_string(problems).unwrap());
        assert!(shown.contains("has a user name in it"), "{shown}");
        assert!(!shown.contains("hidden"), "{shown}");
    }
    let project = Project::new("stages: {s: {run: x, inputs: {a: data.txt}}}");
    let set = vec![("s.inputs.a".to_owned(), url)];
    let error = project.load(&Overrides { set, ..Overrides::default() }).unwrap_err();
    assert!(error.to_string().contains("--set s.inputs.a=…"), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
    // An `@` elsewhere is no user name.
    let pinned = format!("{{url: 'https://x.org/f@2?to=a@b', blake3: {digest}}}");
    assert!(matches!(input_of(&pinned), Input::Url { .. }));
}

#[test]
fn a_url_may_be_pinned_by_a_git_commit_in_its_path() {
    let commit = "a3cf26d81909cc4801b2fd77faf3287ec9e7372d";
    let url = format!("https://raw.githubusercontent.com/owner/name/{commit}/f.jsonl");
    assert_eq!(input_of(&url), Input::Url { url: url.clone(), blake3: None });
    for unpinned in [
        format!("https://x.org/owner/{}/f", &commit[..39]),
        format!("https://x.org/f?at=/{commit}/"),
        format!("http://x.org/{commit}/f"),
    ] {
        let (found, _) = input_refusal(&unpinned);
        assert!(found.contains("is a URL that may change"), "{unpinned}: {found}");
    }
}

#[test]
fn a_name_that_cannot_be_on_the_hub_is_refused() {
    for text in
        ["hub:", "hub:a/b/c", "hub:../b", "hub:a/b@", "hub:a/b@../../x", "hub:a b/c", "hub:a//b"]
    {
        let (message, _) = input_refusal(&format!("'{text}'"));
        assert!(message.contains("is not a valid name on the hub"), "{text}: {message}");
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
