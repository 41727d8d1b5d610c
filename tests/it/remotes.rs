//! A shared cache: two projects with one remote. Here the remote is a folder; other files test the
//! same over S3 and over HTTP.

mod damage;
#[cfg(feature = "remotes")]
mod http;
#[cfg(feature = "remotes")]
mod s3;
mod settings;
mod trust;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ended, Project};

/// `b` writes a folder with a small file and a file that is large enough for a resumable download.
pub const STAGES: &str = r#"
stages:
  a: {run: 'echo $PARAM_n > $OUT_x; echo a >> ran.log', params: {n: 1}, outputs: [x]}
  b:
    run: mkdir $OUT_d; cp $IN_x $OUT_d/x; seq 300000 > $OUT_d/large; true > $OUT_d/empty; echo b >> ran.log
    inputs: {x: a:x}
    outputs: [d]
    publish: {d: out}
"#;

/// A remote in a folder, and projects that declare it as `lab`.
pub struct Lab {
    folder: TempDir,
    settings: String,
}

impl Lab {
    pub fn new() -> Lab {
        Lab::with("")
    }

    /// With further settings of the remote, such as `, trust: pull`.
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

    /// The relative paths of all files in the remote, sorted.
    pub fn files(&self) -> Vec<String> {
        files_below(&self.root())
    }

    /// The only record of `stage`.
    pub fn record(&self, stage: &str) -> PathBuf {
        record_in(&self.root(), stage)
    }
}

pub fn files_below(root: &Path) -> Vec<String> {
    // The folder may not exist yet.
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

/// The object of `a:x`, and that of the large file in `b:d`.
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

/// The outcomes of a push or a pull with `--json`: `"a=pulled b=there"`.
#[track_caller]
pub fn carried(ended: &Ended) -> String {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or("?").to_owned();
    let lines = ended.events();
    let one = |line: &Value| format!("{}={}", text(line, "stage"), text(line, "outcome"));
    lines.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The warnings of a run.
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
    assert_eq!(lab.files(), names(&here), "the remote is laid out like the store");
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
    assert!(one.entries("tmp").is_empty() && other.entries("tmp").is_empty());
    assert_eq!(other.read("out/x"), "1\n");
    // A stage changes in the other project, and its result comes back.
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
        "the origin of a result is not in its key"
    );
}

#[test]
fn a_dry_pull_says_what_is_there_and_writes_nothing() {
    let lab = Lab::new();
    let project = lab.clone_of();
    assert_eq!(carried(&project.pipe(&["pull", "--dry-run", "--json"])), "a=absent b=absent");
    lab.clone_of().run(&WITH_LAB).expect_code(0);
    let ended = project.pipe(&["pull", "--dry-run", "--json"]).expect_code(0);
    assert_eq!(carried(&ended), "a=available b=available");
    assert_eq!(ended.events()[0]["bytes"], 2);
    assert!(!project.path("cache").exists());
}

#[test]
fn doctor_says_whether_a_remote_answers() {
    let lab = Lab::new();
    let project = lab.clone_of();
    let here = |code: i32| {
        let found = project.pipe(&["doctor", "--offline", "--json"]).expect_code(code).events();
        let of_remotes = found.into_iter().filter(|finding| finding["what"] == "remote");
        of_remotes.map(|it| (it["state"].clone(), it["text"].to_string())).collect::<Vec<_>>()
    };
    assert!(
        here(0)[0].0 == "good" && here(0)[0].1.contains("answers, trust both"),
        "{:?}",
        here(0)
    );
    let config = "remotes: {lost: /nowhere/at/all, far: 's3://bucket'}";
    project.write("config/pipe/config.yaml", config);
    let found = here(0);
    assert!(found[0].0 == "note" && found[0].1.contains("not contacted: offline"), "{found:?}");
    assert!(found[2].0 == "note" && found[2].1.contains("there is no folder"), "{found:?}");
    project.write("config/pipe/config.yaml", "remotes: 7");
    assert_eq!(here(1)[0].0, "bad");
}

#[test]
fn a_broken_off_download_goes_when_results_of_its_age_do() {
    let lab = Lab::new();
    let project = lab.clone_of();
    project.run(&[]).expect_code(0);
    project.write("cache/partial/left", "a beginning");
    project.pipe(&["cache", "gc"]).expect_code(0);
    assert_eq!(project.entries("partial").len(), 1);
    project.pipe(&["cache", "gc", "--older-than", "0s"]).expect_code(0);
    assert_eq!(project.entries("partial").len(), 0);
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
fn a_remote_that_is_gone_or_hangs_is_said_once_and_the_run_goes_on() {
    let gone = Project::new(&format!("remotes: {{lab: /nowhere/at/all}}{STAGES}"));
    let ended = gone.expect_run(&WITH_LAB, "a=ran b=ran").expect_code(0);
    expect_one_warning(&ended, "there is no folder `/nowhere/at/all`; the run goes on without it");
    let ended = gone.pipe(&["pull", "--set", "a.n=2"]).expect_code(1);
    assert!(ended.stderr.contains("there is no folder `/nowhere/at/all`"), "{}", ended.stderr);

    // Nobody writes to this pipe, so reading it hangs like a lost network disk.
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
    expect_one_warning(&ended, "it sent nothing for 200ms; the run goes on without it");
    let ended = lab.clone_of().pipe(&["pull"]).expect_code(1);
    assert!(ended.stderr.contains("it sent nothing for 200ms"), "{}", ended.stderr);
}
