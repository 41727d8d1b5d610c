//! Which records of a remote are trusted: those of their key, signed if there is a secret, as far
//! as `trust:` allows.

use std::fs;

use serde_json::Value;

use crate::harness::Project;
use crate::remotes::{Lab, STAGES, WITH_LAB, carried, expect_one_warning, replace};

#[test]
fn a_record_that_is_not_of_its_key_is_not_used() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let (of_a, of_b) = (lab.record("a"), lab.record("b"));
    let text = fs::read_to_string(&of_b).unwrap();
    let checked = |text: &str| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        value.as_object_mut().unwrap().remove("check");
        pipe::store::record::with_check(&value).unwrap()
    };
    let other_fields = text.replace("seq 300000", "seq 300001");
    let other_outputs = text.replace("\"d\":{", "\"e\":{");
    let planted = [fs::read_to_string(&of_a).unwrap(), "{}".to_owned(), String::new()];
    for planted in planted.into_iter().chain([checked(&other_fields), checked(&other_outputs)]) {
        replace(&of_b, planted.as_bytes());
        let project = lab.clone_of();
        assert_eq!(carried(&project.pipe(&["pull", "--json"])), "a=pulled b=refused");
        let ended = project.expect_run(&WITH_LAB, "a=hit b=ran");
        expect_one_warning(&ended, "is damaged, or of another key");
        assert_eq!(carried(&lab.clone_of().pipe(&["pull", "--json"])), "a=pulled b=pulled");
    }
}

#[test]
fn with_a_secret_only_what_is_signed_with_it_is_used() {
    let lab = Lab::new();
    let stranger = lab.clone_of();
    stranger.run(&WITH_LAB).expect_code(0);
    let secret = |secret: &str| {
        let project = lab.clone_of();
        let config = format!("remotes: {{lab: {{secret: {secret}}}}}");
        project.write("config/pipe/config.yaml", &config);
        project
    };
    // Planted without a signature. One warning is enough, although there are two records.
    let ours = secret("ours");
    assert_eq!(carried(&ours.pipe(&["pull", "--json"])), "a=refused b=absent");
    let ended = ours.expect_run(&WITH_LAB, "a=ran b=ran");
    expect_one_warning(&ended, "is not signed, so it is not used");
    // The computed results have replaced them, with signatures.
    assert_eq!(carried(&secret("ours").pipe(&["pull", "--json"])), "a=pulled b=pulled");
    let theirs = secret("theirs");
    let ended = theirs.expect_run(&["--remote", "lab"], "a=ran b=ran");
    expect_one_warning(&ended, "is signed with another secret");
    // A project without a secret trusts every record of its key.
    stranger.expect_run(&WITH_LAB, "a=hit b=hit");
    // The environment can set the secret too.
    let by_variable = lab.clone_of();
    let ended = by_variable.pipe_with(&["pull", "--json"], &[("PIPE_REMOTE_SECRET", "theirs")]);
    assert_eq!(carried(&ended), "a=pulled b=pulled");
}

#[test]
fn a_signature_does_not_fit_another_record() {
    let lab = Lab::new();
    let secret = [("PIPE_REMOTE_SECRET", "ours")];
    let push = |arguments: &[&str]| {
        let project = lab.clone_of();
        project.run(arguments).expect_code(0);
        project.pipe_with(&[&["push"], arguments].concat(), &secret).expect_code(0);
    };
    push(&[]);
    let record = lab.record("b");
    let text = fs::read_to_string(&record).unwrap();
    let mut planted: Value = serde_json::from_str(&text).unwrap();
    planted["seconds"] = 7.0.into();
    planted.as_object_mut().unwrap().remove("check");
    let planted = pipe::store::record::with_check(&planted).unwrap();
    let signature = |text: &str| {
        let digest = blake3::hash(text.as_bytes()).to_hex();
        record.with_extension(format!("{digest}.sig"))
    };
    fs::copy(signature(&text), signature(&planted)).unwrap();
    replace(&record, planted.as_bytes());
    let ended = lab.clone_of().pipe_with(&["pull", "--json"], &secret);
    assert_eq!(carried(&ended), "a=pulled b=refused");
    assert_eq!(ended.events()[1]["message"], "its record there is signed with another secret");
}

#[test]
fn trust_says_which_way_results_go() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let with = |trust: &str| {
        let root = lab.root();
        let remotes = format!("remotes: {{lab: {{url: '{}', trust: {trust}}}}}", root.display());
        Project::new(&(remotes + STAGES))
    };
    let before = lab.files();
    let puller = with("pull");
    puller.expect_run(&["--remote", "lab", "--set", "a.n=2"], "a=ran b=ran");
    assert_eq!(lab.files(), before, "nothing is uploaded");
    puller.expect_run(&WITH_LAB, "a=hit b=hit");
    let ended = puller.pipe(&["push"]).expect_code(2);
    assert!(ended.stderr.contains("`lab` is for pull only"), "{}", ended.stderr);
    let pusher = with("push");
    pusher.expect_run(&["--remote", "lab", "--set", "a.n=2"], "a=ran b=ran");
    assert_ne!(lab.files(), before);
    pusher.expect_run(&WITH_LAB, "a=ran b=ran");
    pusher.pipe(&["pull"]).expect_code(2);
}
