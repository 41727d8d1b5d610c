//! A shared cache: two projects with one remote. Here that is a folder; the same over S3, and over
//! HTTP, in files of their own.

#[cfg(feature = "remotes")]
mod http;
#[cfg(feature = "remotes")]
mod s3;
mod settings;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ended, Project};

/// `b` writes a folder with a small file and one that is large enough to be downloaded in pieces.
pub const STAGES: &str = r#"
stages:
  a: {run: 'echo $PARAM_n > $OUT_x; echo a >> ran.log', params: {n: 1}, outputs: [x]}
  b:
    run: mkdir $OUT_d; cp $IN_x $OUT_d/x; seq 300000 > $OUT_d/large; echo b >> ran.log
    inputs: {x: a:x}
    outputs: [d]
    publish: {d: out}
"#;

/// A folder for a remote, and projects that know it as `lab`.
pub struct Lab {
    folder: TempDir,
    settings: String,
}

impl Lab {
    pub fn new() -> Lab {
        Lab::with("")
    }

    /// With more settings of the remote, such as `, trust: pull`.
    pub fn with(settings: &str) -> Lab {
        Lab { folder: TempDir::new().unwrap(), settings: settings.to_owned() }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    pub fn clone_of(&self) -> Project {
        let (root, more) = (self.root(), &self.settings);
        let remotes = format!("remotes: {{lab: {{url: '{}'{more}}}}}", root.display());
        Project::new(&(remotes + STAGES))
    }

    /// All files in the remote, sorted, relative.
    pub fn files(&self) -> Vec<String> {
        files_below(&self.root())
    }

    /// The one record of `stage`.
    pub fn record(&self, stage: &str) -> PathBuf {
        record_in(&self.root(), stage)
    }
}

pub fn files_below(root: &Path) -> Vec<String> {
    // Nothing may be there yet.
    let found = walkdir::WalkDir::new(root).into_iter().filter_map(Result::ok);
    let files = found.filter(|entry| entry.file_type().is_file());
    let relative = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<String> = files.map(|entry| relative(entry.path())).collect();
    files.sort();
    files
}

#[track_caller]
pub fn record_in(root: &Path, stage: &str) -> PathBuf {
    let of_stage = |file: &String| {
        file.ends_with(".json")
            && fs::read_to_string(root.join(file))
                .unwrap()
                .contains(&format!("\"stage\":\"{stage}\""))
    };
    let mut found = files_below(root).into_iter().filter(of_stage);
    let record = root.join(found.next().expect("the stage has a record there"));
    assert_eq!(found.next(), None);
    record
}

/// The object of `a:x`, and the large file in `b:d`.
#[track_caller]
pub fn objects(root: &Path) -> (PathBuf, PathBuf) {
    let objects = files_below(root).into_iter().filter(|file| file.starts_with("objects/"));
    let objects: Vec<PathBuf> = objects.map(|file| root.join(file)).collect();
    let of_size = |fits: fn(u64) -> bool| {
        objects.iter().find(|file| fits(fs::metadata(file).unwrap().len())).unwrap().clone()
    };
    (of_size(|size| size == 2), of_size(|size| size > 1_000_000))
}

/// Overwrites a file, whatever its mode.
#[track_caller]
pub fn replace(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[track_caller]
pub fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    replace(path, &bytes);
}

/// `"a=pulled b=there"` of a push or a pull with `--json`.
#[track_caller]
pub fn carried(ended: &Ended) -> String {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or("?").to_owned();
    let lines = ended.events();
    let one = |line: &Value| format!("{}={}", text(line, "stage"), text(line, "outcome"));
    lines.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The warnings of a run, all in one line.
#[track_caller]
pub fn warnings(ended: &Ended) -> Vec<String> {
    let warnings = ended.events().into_iter().filter(|line| line["event"] == "warning");
    warnings.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn expect_one_warning(ended: &Ended, part: &str) {
    let said = warnings(ended);
    assert!(said.len() == 1 && said[0].contains(part), "{said:?}");
}

const WITH_LAB: [&str; 2] = ["--remote", "lab"];

#[test]
fn what_was_pushed_is_pulled_into_an_empty_clone_which_then_computes_nothing() {
    let lab = Lab::new();
    let (here, there) = (lab.clone_of(), lab.clone_of());
    here.run(&[]).expect_code(0);
    assert_eq!(carried(&here.pipe(&["push", "--json"]).expect_code(0)), "a=pushed b=pushed");
    assert_eq!(carried(&there.pipe(&["pull", "--json"]).expect_code(0)), "a=pulled b=pulled");
    there.expect_run(&[], "a=hit b=hit");
    assert_eq!(there.take_log(), "");
    assert_eq!(there.read("out/x"), "1\n");
    assert_eq!(there.read("out/large"), here.read("out/large"));
    assert_eq!(carried(&there.pipe(&["pull", "--json"])), "a=there b=there");
    there.pipe(&["cache", "verify"]).expect_code(0);
    assert!(there.entries("tmp").is_empty() && there.entries("partial").is_empty());
    let names = |project: &Project| {
        let of = |folder: &str| -> Vec<String> {
            let root = project.path("cache");
            let stored = project.stored(folder).into_iter();
            stored.map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect()
        };
        [of("objects"), of("records")].concat()
    };
    assert_eq!(lab.files(), names(&here), "the remote is laid out as the store");
}

#[test]
fn what_one_clone_computed_another_does_not_compute_again() {
    let lab = Lab::new();
    let (one, other) = (lab.clone_of(), lab.clone_of());
    let ended = one.expect_run(&WITH_LAB, "a=ran b=ran");
    assert_eq!(
        ended.summary()["remote"],
        serde_json::json!({"name": "lab", "pulled": 0, "pushed": 2})
    );
    let ended = other.expect_run(&WITH_LAB, "a=hit b=hit");
    assert_eq!(
        ended.summary()["remote"],
        serde_json::json!({"name": "lab", "pulled": 2, "pushed": 0})
    );
    assert_eq!(ended.about("stage_finished", "b")["remote"], "lab");
    assert_eq!(other.take_log(), "");
    assert_eq!(other.read("out/x"), "1\n");
    // A part of it changes there, and comes back.
    other.expect_run(&["--remote", "lab", "--set", "a.n=2"], "a=ran b=ran");
    one.take_log();
    one.expect_run(&["--remote", "lab", "--set", "a.n=2"], "a=hit b=hit");
    assert_eq!(one.take_log(), "");
    assert_eq!(one.read("out/x"), "2\n");
}

#[test]
fn a_run_asks_no_remote_unless_told_to_and_never_for_what_is_forced() {
    let lab = Lab::new();
    let (one, other) = (lab.clone_of(), lab.clone_of());
    one.run(&WITH_LAB).expect_code(0);
    other.expect_run(&[], "a=ran b=ran");
    let third = lab.clone_of();
    third.expect_run(&["--remote", "lab", "--force=a"], "a=ran b=hit");
    let key = |ended: Ended| ended.about("stage_finished", "a")["key"].clone();
    assert_eq!(
        key(one.run(&WITH_LAB)),
        key(third.run(&[])),
        "where a result is from is not in its key"
    );
}

#[test]
fn nothing_is_uploaded_that_is_there() {
    let lab = Lab::new();
    let project = lab.clone_of();
    project.run(&WITH_LAB).expect_code(0);
    let inodes = || -> Vec<u64> {
        let inode = |file: String| fs::metadata(lab.root().join(file)).unwrap().ino();
        lab.files().into_iter().map(inode).collect()
    };
    let before = inodes();
    assert_eq!(carried(&project.pipe(&["push", "--json"])), "a=there b=there");
    assert_eq!(inodes(), before);
    fs::remove_file(objects(&lab.root()).1).unwrap();
    let ended = project.pipe(&["push", "--json"]).expect_code(0);
    assert_eq!(carried(&ended), "a=there b=pushed");
    assert_eq!(ended.events()[1]["objects"], 1);
}

#[test]
fn stages_are_pushed_and_pulled_by_name_with_what_they_need_and_others_are_told() {
    let lab = Lab::new();
    let (here, there) = (lab.clone_of(), lab.clone_of());
    here.run(&["a"]).expect_code(0);
    assert_eq!(carried(&here.pipe(&["push", "--json"])), "a=pushed b=absent");
    assert_eq!(carried(&there.pipe(&["pull", "b", "--json"])), "a=pulled b=absent");
    here.run(&["--set", "a.n=2"]).expect_code(0);
    here.run(&[]).expect_code(0);
    assert_eq!(carried(&here.pipe(&["push", "a", "--json"])), "a=there");
    let ended = here.pipe(&["push", "--all", "--json"]).expect_code(0);
    assert_eq!(ended.events().len(), 4);
    assert_eq!(carried(&there.pipe(&["pull", "--set", "a.n=2", "--json"])), "a=pulled b=pulled");
    here.pipe(&["push", "nobody"]).expect_code(2);
}

#[test]
fn a_flipped_byte_is_noticed_computed_here_and_repaired_there() {
    for large in [false, true] {
        let lab = Lab::new();
        lab.clone_of().run(&WITH_LAB).expect_code(0);
        let object = if large { objects(&lab.root()).1 } else { objects(&lab.root()).0 };
        let whole = fs::read(&object).unwrap();
        flip_a_byte(&object);

        let puller = lab.clone_of();
        let ended = puller.pipe(&["pull"]).expect_code(1);
        assert!(ended.stderr.contains("is damaged there"), "{}", ended.stderr);
        puller.pipe(&["cache", "verify"]).expect_code(0);

        let runner = lab.clone_of();
        let outcomes = if large { "a=hit b=ran" } else { "a=ran b=hit" };
        let ended = runner.expect_run(&WITH_LAB, outcomes).expect_code(0);
        expect_one_warning(&ended, "is damaged there; it is computed here");
        assert_eq!(fs::read(&object).unwrap(), whole, "what was uploaded replaces it");
        puller.pipe(&["pull"]).expect_code(0);
        puller.expect_run(&[], "a=hit b=hit");
    }
}

#[test]
fn a_damaged_remote_is_repaired_by_overwriting() {
    let lab = Lab::new();
    let project = lab.clone_of();
    project.run(&WITH_LAB).expect_code(0);
    flip_a_byte(&objects(&lab.root()).1);
    assert_eq!(carried(&project.pipe(&["push", "--json"])), "a=there b=there");
    project.pipe(&["push", "--overwrite"]).expect_code(0);
    lab.clone_of().pipe(&["pull"]).expect_code(0);
}

#[test]
fn what_is_damaged_here_is_not_pushed() {
    for overwrite in [false, true] {
        let lab = Lab::new();
        let project = lab.clone_of();
        project.run(&[]).expect_code(0);
        flip_a_byte(&objects(&project.path("cache")).1);
        let arguments: &[&str] = if overwrite { &["push", "--overwrite"] } else { &["push"] };
        let ended = project.pipe(arguments).expect_code(1);
        assert!(ended.stderr.contains("of this store is damaged"), "{}", ended.stderr);
        assert!(lab.files().iter().all(|file| !file.contains("tmp/")), "{:?}", lab.files());
        assert!(!lab.files().iter().any(|file| file.ends_with(".tree")));
    }
}

#[test]
fn a_truncated_upload_is_noticed_and_uploaded_again() {
    let lab = Lab::new();
    let project = lab.clone_of();
    project.run(&WITH_LAB).expect_code(0);
    let object = objects(&lab.root()).1;
    let whole = fs::read(&object).unwrap();
    for left in [whole.len() / 2, whole.len() - 1, 0] {
        replace(&object, &whole[..left]);
        lab.clone_of().pipe(&["pull"]).expect_code(1);
        assert_eq!(carried(&project.pipe(&["push", "--json"])), "a=there b=pushed");
        assert_eq!(fs::read(&object).unwrap(), whole);
    }
    replace(&object, &[whole.as_slice(), b"more"].concat());
    lab.clone_of().pipe(&["pull"]).expect_code(1);
}

#[test]
fn a_record_that_is_not_of_its_key_is_not_used() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let (of_a, of_b) = (lab.record("a"), lab.record("b"));
    let text = fs::read_to_string(&of_b).unwrap();
    let checked = |text: &str| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        value.as_object_mut().unwrap().remove("check");
        pipe::record::with_check(&value)
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
    // Planted without a signature: said once, though there are two.
    let ours = secret("ours");
    assert_eq!(carried(&ours.pipe(&["pull", "--json"])), "a=refused b=absent");
    let ended = ours.expect_run(&WITH_LAB, "a=ran b=ran");
    expect_one_warning(&ended, "is not signed, so it is not used");
    // What was computed has replaced it, signed.
    assert_eq!(carried(&secret("ours").pipe(&["pull", "--json"])), "a=pulled b=pulled");
    let theirs = secret("theirs");
    let ended = theirs.expect_run(&["--remote", "lab"], "a=ran b=ran");
    expect_one_warning(&ended, "is signed with another secret");
    // Who has no secret believes the digests.
    stranger.expect_run(&WITH_LAB, "a=hit b=hit");
    // By the environment as well.
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
    let planted = pipe::record::with_check(&planted);
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
fn a_remote_that_is_gone_or_hangs_is_said_once_and_the_run_goes_on() {
    let gone = Project::new(&format!("remotes: {{lab: /nowhere/at/all}}{STAGES}"));
    let ended = gone.expect_run(&WITH_LAB, "a=ran b=ran").expect_code(0);
    expect_one_warning(&ended, "there is no folder `/nowhere/at/all`; the run goes on without it");
    let ended = gone.pipe(&["pull", "--set", "a.n=2"]).expect_code(1);
    assert!(ended.stderr.contains("there is no folder `/nowhere/at/all`"), "{}", ended.stderr);

    // Nobody ever writes into this pipe, so that reading it hangs as a lost network disk does.
    let lab = Lab::with(", timeout: 200ms");
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let record = lab.record("a");
    fs::remove_file(&record).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &record,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let ended = lab.clone_of().expect_run(&WITH_LAB, "a=ran b=ran").expect_code(0);
    expect_one_warning(&ended, "nothing came from it for 200ms; the run goes on without it");
    let ended = lab.clone_of().pipe(&["pull"]).expect_code(1);
    assert!(ended.stderr.contains("nothing came from it for 200ms"), "{}", ended.stderr);
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

#[test]
fn two_that_push_the_same_at_once_do_each_other_no_harm() {
    let lab = Lab::new();
    let projects = [lab.clone_of(), lab.clone_of(), lab.clone_of()];
    for project in &projects {
        project.run(&[]).expect_code(0);
    }
    let running = projects.each_ref().map(|project| project.start_any(&["push", "--json"]));
    for push in running {
        push.end().expect_code(0);
    }
    assert!(lab.files().iter().all(|file| !file.starts_with("tmp/")), "{:?}", lab.files());
    let reader = lab.clone_of();
    reader.pipe(&["pull"]).expect_code(0);
    reader.pipe(&["cache", "verify"]).expect_code(0);
}

#[test]
fn a_pull_killed_anywhere_leaves_a_right_store_and_goes_on() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    for at in 1.. {
        let project = lab.clone_of();
        let ended = project.pipe_with(&["pull"], &[("PIPE_FAULT", &at.to_string())]);
        project.pipe(&["cache", "verify"]).expect_code(0);
        project.pipe(&["pull"]).expect_code(0);
        project.expect_run(&[], "a=hit b=hit");
        assert!(project.entries("tmp").is_empty() && project.entries("partial").is_empty());
        if ended.signal.is_none() {
            assert!(at > 20, "{at}");
            return;
        }
    }
}

#[test]
fn a_push_killed_anywhere_leaves_a_remote_that_can_be_pulled_from() {
    let template = Lab::new();
    let project = template.clone_of();
    project.run(&[]).expect_code(0);
    for at in 1.. {
        let _ = fs::remove_dir_all(template.root());
        let ended = project.pipe_with(&["push"], &[("PIPE_FAULT", &at.to_string())]);
        let reader = template.clone_of();
        reader.pipe(&["pull"]).expect_code(0);
        reader.run(&[]).expect_code(0);
        project.pipe(&["push"]).expect_code(0);
        let reader = template.clone_of();
        reader.pipe(&["pull"]).expect_code(0);
        reader.expect_run(&[], "a=hit b=hit");
        if ended.signal.is_none() {
            assert!(at > 20, "{at}");
            return;
        }
    }
}

#[test]
fn what_an_earlier_download_left_is_gone_on_from_or_thrown_away() {
    let lab = Lab::new();
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let object = objects(&lab.root()).1;
    let (name, whole) = (object.file_name().unwrap(), fs::read(&object).unwrap());
    let wrong = vec![7; whole.len()];
    let longer = [whole.as_slice(), b"x"].concat();
    for left in [&whole[..1000], &wrong[..1000], &whole, &wrong, &longer] {
        let project = lab.clone_of();
        let partial = project.path("cache/partial").join(name);
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(&partial, left).unwrap();
        project.pipe(&["pull"]).expect_code(0);
        project.pipe(&["cache", "verify"]).expect_code(0);
        project.expect_run(&[], "a=hit b=hit");
        assert!(project.entries("partial").is_empty());
    }
}
