//! The settings of remotes, in the project and in the user's own file, and the mistakes that are
//! refused.

use crate::harness::Project;
use crate::remotes::{Lab, STAGES, carried};

/// A project with this text under `remotes:`.
fn project(remotes: &str) -> Project {
    Project::new(&format!("remotes:\n  {remotes}\n{STAGES}"))
}

#[track_caller]
fn expect_refused(remotes: &str, parts: &[&str]) {
    let ended = project(remotes).pipe(&["status"]).expect_code(2);
    for part in parts {
        assert!(ended.stderr.contains(part), "{part} is not in\n{}", ended.stderr);
    }
}

#[test]
fn a_secret_in_the_project_is_refused_and_not_shown() {
    for (key, where_else) in [
        ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("access_key_id", "AWS_ACCESS_KEY_ID"),
        ("session_token", "AWS_SESSION_TOKEN"),
        ("secret", "PIPE_REMOTE_SECRET"),
    ] {
        let project = project(&format!("lab: {{url: 's3://bucket', {key}: hunter2}}"));
        let ended = project.pipe(&["status", "--json"]).expect_code(2);
        assert!(!ended.stderr.contains("hunter2") && !ended.stdout.contains("hunter2"));
        assert!(ended.stderr.contains(&format!("`{key}` of remote `lab` must not be in")));
        assert!(ended.stderr.contains(where_else) && ended.stderr.contains("config.yaml"));
    }
    let ended = project("lab: 'https://user:hunter2@example.org/x'").pipe(&["status"]);
    assert!(ended.code == Some(2) && !ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[test]
fn mistakes_are_told_with_their_line_and_what_is_meant() {
    expect_refused("lab: {urll: /x}", &["unknown key `urll` of remote `lab`", "mean `url`", ":2:"]);
    expect_refused("lab: {trust: pull}", &["remote `lab` has no `url`"]);
    expect_refused("lab: {url: /x, trust: pul}", &["`trust` of remote `lab` is `pul`", "`pull`"]);
    expect_refused("lab: {url: /x, timeout: soon}", &["`timeout` of remote `lab`", "`10s`"]);
    expect_refused("lab: {url: 's3:///x'}", &["names no bucket"]);
    expect_refused("lab: 'ftp://x/y'", &["is neither a folder nor"]);
    expect_refused("lab: 7", &["must be a URL or a map, not a number"]);
    expect_refused("lab: {url: 's3://b', endpoint: minio}", &["`endpoint` of remote `lab`"]);
}

#[test]
fn a_remote_is_named_or_the_default_or_the_only_one() {
    let none = Project::new(STAGES);
    let ended = none.pipe(&["push"]).expect_code(2);
    assert!(ended.stderr.contains("none is declared"), "{}", ended.stderr);
    let two = project("{lab: one, other: two}");
    let ended = two.pipe(&["push"]).expect_code(2);
    assert!(
        ended.stderr.contains("name one with `--remote NAME`: `lab`, `other`"),
        "{}",
        ended.stderr
    );
    let ended = two.run(&["--remote", "laboratory"]).expect_code(2);
    assert!(ended.stderr.contains("no remote `laboratory`"), "{}", ended.stderr);
    let ended = two.run(&["--remote", "otter"]).expect_code(2);
    assert!(ended.stderr.contains("did you mean `other`?"), "{}", ended.stderr);
    two.run(&[]).expect_code(0);
    two.write("config/pipe/config.yaml", "remote: other");
    two.pipe(&["push"]).expect_code(0);
    assert!(two.path("two/records").is_dir() && !two.path("one").exists());
}

#[test]
fn the_users_own_file_adds_remotes_and_lays_its_keys_over_the_projects() {
    let lab = Lab::new();
    lab.clone_of().run(&["--remote", "lab"]).expect_code(0);
    let project = Project::new(STAGES);
    let config = |text: String| project.write("config/pipe/config.yaml", &text);
    config(format!("remotes: {{mine: 'file://{}'}}", lab.root().display()));
    assert_eq!(carried(&project.pipe(&["pull", "--json"])), "a=pulled b=pulled");

    // The user's default remote applies to all runs, unless they are offline.
    config(format!("remote: mine\nremotes: {{mine: '{}'}}", lab.root().display()));
    let set = ["--set", "a.n=3"];
    let ended = project.expect_run(&set, "a=ran b=ran");
    assert_eq!(ended.summary()["remote"]["pushed"], 2);
    let ended = project.expect_run(&["--offline"], "a=hit b=hit");
    assert_eq!(ended.summary()["remote"], serde_json::Value::Null);
    // A project that does not declare the default remote runs without it.
    config("remote: elsewhere".to_owned());
    project.expect_run(&[], "a=hit b=hit");

    let project = lab.clone_of();
    project.write("config/pipe/config.yaml", "remotes: {lab: {trust: push}}");
    project.pipe(&["pull"]).expect_code(2);
}

#[test]
fn a_wrong_file_of_the_users_is_told_without_its_secrets() {
    let project = project("lab: x");
    for (text, part) in [
        ("remotes: {lab: {secret: [hunter2]}}", "`secret` of remote `lab` must be a text"),
        ("remotes: {lab: {sekret: hunter2}}", "unknown key `sekret`"),
        ("remotes: {lab: {url: relative}}", "is a relative path"),
        ("a: : hunter2", "this is not YAML"),
        ("remots: {}", "unknown key `remots`"),
    ] {
        project.write("config/pipe/config.yaml", text);
        let ended = project.pipe(&["push"]).expect_code(2);
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
        assert!(ended.stderr.contains("config/pipe/config.yaml:1"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    // Commands without remotes do not read that file.
    project.pipe(&["status"]).expect_code(0);
}
