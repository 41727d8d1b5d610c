//! A project that makes the engine use nearly every call that changes the disk, in several states;
//! and what must hold after any fault.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use pipe::files::stamp::{Stamp, file_clock_ns};
use pipe::store::Store;
use pipe::store::record::Record;

use crate::faults::in_memory;
use crate::harness::{Ended, Project};

/// Files, folders and links; a built-in with checkpoints; a stage that waits and turns out to be a
/// hit; one that fails, and one that needs it; one that leaves a process running; and published
/// files and folders.
const PIPELINE: &str = r#"
stages:
  words:
    run: echo words >> ran.log; echo some words; tr ' ' '\n' < "$IN_text" > "$OUT_words"
    inputs: {text: text.txt}
    outputs: [words]
    publish: {words: out/words.txt}
  count:
    run: echo count >> ran.log; tail -f /dev/null & wc -l < "$IN_words" > "$OUT_count"
    inputs: {words: words:words}
    outputs: [count]
    publish: {count: count.txt}
  cut_off:
    run: echo cut_off >> ran.log; cat "$IN_count" > "$OUT_copy"
    inputs: {count: count:count}
    outputs: [copy]
  parts:
    run: |
      echo parts >> ran.log
      mkdir -p "$OUT_parts/deep"
      sort "$IN_words" > "$OUT_parts/sorted"
      head -n 1 "$IN_words" > "$OUT_parts/deep/first"
      ln -s "$IN_words" "$OUT_link"
      ln "$OUT_parts/sorted" "$OUT_parts/deep/same"
    inputs: {words: words:words}
    outputs: [parts, link]
    publish: {parts: out/parts}
  joined:
    run: echo joined >> ran.log; cat "$IN_parts/sorted" "$IN_parts/deep/first" "$IN_copy" > "$OUT_joined"; echo "$PARAM_n" >> "$OUT_joined"
    inputs: {parts: parts:parts, copy: cut_off:copy}
    params: {n: 1}
    outputs: [joined]
    publish: {joined: joined.txt}
  rows:
    run: |
      echo rows >> ran.log
      for n in 1 2 3 4 5 6 7 8; do
        echo "{\"id\":\"$n\",\"label\":\"L$((n % 2))\",\"text\":\"$(head -n 1 "$IN_words") $n\"}"
      done > "$OUT_rows"
    inputs: {words: words:words}
    outputs: [rows]
  split:
    inputs: {examples: rows:rows}
    params: {share: 0.5, stratify: false}
    publish: {train: out/train.jsonl}
  fixed:
    run: echo fixed >> ran.log; echo always the same > "$OUT_text"
    outputs: [text]
    publish: {text: out/fixed.txt}
  fails:
    run: echo fails >> ran.log; echo half > "$OUT_x"; mkdir "$OUT_y"; echo oh no; exit 3
    outputs: [x, y]
  behind:
    run: echo behind >> ran.log; cat "$IN_x" > "$OUT_y"
    inputs: {x: fails:x}
    outputs: [y]
"#;

pub const ARGUMENTS: [&str; 4] = ["run", "--json", "--keep-going", "--jobs"];

/// The state in which the faulty run finds the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// No store yet.
    Fresh,
    /// Run once. Since then the source has changed, a published file was removed, and the object
    /// from which it was copied is damaged.
    Changed,
    /// Run once.
    Finished,
}

/// A project in one of these states, which is copied for each fault, and the outcome of an
/// undisturbed run.
pub struct Scene {
    before: Before,
    template: Project,
    /// All files after an undisturbed run.
    right: BTreeMap<String, String>,
    /// The stages' keys in that run.
    keys: BTreeMap<String, String>,
    /// The keys that had a record before that run.
    recorded_before: BTreeSet<String>,
    pub undisturbed: Ended,
}

impl Scene {
    pub fn new(before: Before) -> Scene {
        let template = Project::new_in(in_memory(), PIPELINE);
        template.write("text.txt", "the quick brown fox jumps\n");
        if before != Before::Fresh {
            template.pipe(&[&ARGUMENTS[..], &["1"]].concat()).expect_code(1);
            template.take_log();
        }
        if before == Before::Changed {
            template.write("text.txt", "over the lazy old dog\n");
            let fixed = template.path("out/fixed.txt");
            let text = fs::read(&fixed).unwrap();
            fs::remove_file(fixed).unwrap();
            let mut objects = template.stored("objects").into_iter();
            let object = objects.find(|object| fs::read(object).unwrap() == text).unwrap();
            overwrite(&object, &text.to_ascii_uppercase());
        }
        let project = copy_of(&template);
        let undisturbed = run(&project, "1", &[]).expect_code(1);
        let events = undisturbed.events().into_iter();
        let finished = events.filter(|event| event["event"] == "stage_finished");
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let keys =
            finished.filter_map(|event| Some((text(&event["stage"])?, text(&event["key"])?)));
        let keys: BTreeMap<String, String> = keys.collect();
        assert_eq!(keys.len(), 8, "{}", undisturbed.stdout);
        let recorded_before = records(&template).keys().cloned().collect();
        Scene { before, right: listing(&project), keys, recorded_before, undisturbed, template }
    }

    /// The number of points in an undisturbed run.
    pub fn points(&self) -> usize {
        let project = self.project();
        let log = project.path("points.log");
        let environment = [("PIPE_FAULT", "1000000"), ("PIPE_FAULT_LOG", log.to_str().unwrap())];
        run(&project, "1", &environment).expect_code(1);
        project.read("points.log").lines().count()
    }

    pub fn template(&self) -> &Project {
        &self.template
    }

    pub fn key(&self, stage: &str) -> &str {
        &self.keys[stage]
    }

    /// A copy of the project, for one faulty run.
    pub fn project(&self) -> Project {
        copy_of(&self.template)
    }

    /// Checks what must hold right after any fault. Then runs again, and checks that everything is
    /// as if the fault had not happened.
    #[track_caller]
    pub fn check(&self, project: &Project, what: &str) {
        let recorded = records(project);
        for key in &self.recorded_before {
            assert!(recorded.contains_key(key), "{what}: the record {key} is lost");
        }
        for record in recorded.values() {
            self.check_objects(project, record, what);
        }
        project.take_log();
        let next = run(project, "2", &[]);
        assert_eq!(next.code, Some(1), "{what}: {}{}", next.stdout, next.stderr);
        assert_eq!(next.summary()["failed"], 1, "{what}: {}", next.stdout);
        let ran = project.take_log();
        let ran: BTreeSet<&str> = ran.split(' ').collect();
        for (stage, key) in &self.keys {
            let is_damaged = stage == "fixed" && self.before == Before::Changed;
            if recorded.contains_key(key) && !is_damaged {
                let outcome = &next.about("stage_finished", stage)["outcome"];
                assert_eq!(outcome, "hit", "{what}: `{stage}` was recorded");
                assert!(!ran.contains(stage.as_str()), "{what}: `{stage}` was recorded");
            }
        }
        for folder in ["tmp", "locks"] {
            assert_eq!(project.entries(folder).len(), 0, "{what}: in {folder}");
        }
        let found = listing(project);
        for (path, content) in self.right.iter().filter(|(path, _)| !path.ends_with("cache/index"))
        {
            assert_eq!(found.get(path), Some(content), "{what}: {path}");
        }
        // Whether there is an index depends on the ticks of the clock.
        for path in found.keys().filter(|path| !path.ends_with("cache/index")) {
            assert!(self.right.contains_key(path), "{what}: {path} is left");
        }
    }

    #[track_caller]
    fn check_objects(&self, project: &Project, record: &Record, what: &str) {
        if record.stage == "fixed" && self.before == Before::Changed {
            return;
        }
        let store = Store::new(&project.path("cache"));
        for (output, artifact) in &record.outputs {
            let held = store.holds(artifact);
            assert!(held, "{what}: `{}:{output}` is recorded, and is not there", record.stage);
        }
    }
}

/// `pipe run` with this number of jobs.
pub fn run(project: &Project, jobs: &str, environment: &[(&str, &str)]) -> Ended {
    let ended = project.pipe_with(&[&ARGUMENTS[..], &[jobs]].concat(), environment);
    assert!(!ended.stderr.contains("panicked"), "{environment:?}: {}", ended.stderr);
    ended
}

/// Overwrites a file that may be read-only.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

const NO_STAMP: Stamp = Stamp { size: 0, modified_ns: 1, changed_ns: 1, inode: 0, device: 0 };

fn copy_of(template: &Project) -> Project {
    let project = Project::new_in(in_memory(), "");
    let (from, to) = (template.path("."), project.path("."));
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    // Wait for the next tick of the clock. A source that was copied in the current tick would not
    // enter the index, so some runs would leave an index and others would not.
    let last = Stamp { changed_ns: file_clock_ns(), ..NO_STAMP };
    while !last.is_settled(file_clock_ns()) {
        std::thread::yield_now();
    }
    project
}

/// All records by key. An incomplete record fails the test.
#[track_caller]
fn records(project: &Project) -> BTreeMap<String, Record> {
    let records = Store::new(&project.path("cache")).records();
    let files = project.stored("records");
    assert_eq!(records.len(), files.len(), "{files:?}");
    records.into_iter().map(|record| (record.key.to_string(), record)).collect()
}

/// Every file of the project, with the part of its content that must be the same in each run.
fn listing(project: &Project) -> BTreeMap<String, String> {
    let root = fs::canonicalize(project.path(".")).unwrap();
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(&root) {
        let entry = entry.unwrap();
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = || String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
        match path.split('/').collect::<Vec<_>>()[..] {
            // A run is named after the time at which it began.
            ["ran.log"] | ["cache", "runs", _] => {}
            // Both the name and the text depend on the absolute path.
            ["cache", "published", _] => {
                let text = text().replace(root.to_str().unwrap(), "");
                found.insert(format!("note {text}"), String::new());
            }
            // The name ends in a counter.
            ["cache", "quarantine", name] => {
                found.insert(format!("damaged {}", &name[..64]), text());
            }
            ["cache", "index" | "records" | "logs", ..] => {
                found.insert(path, String::new());
            }
            _ => {
                found.insert(path, text());
            }
        }
    }
    found
}
