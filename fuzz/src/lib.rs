//! The fuzz targets: each reads its bytes as the engine would, and panics if the result breaks an
//! invariant. `cargo fuzz` and the test that replays the corpus share them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pipe::files::digest::Digest;
use pipe::files::tree::Tree;
use pipe::pipeline::{Location, Overrides, Pipeline, PipelineError};
use pipe::plan::graph::Graph;
use pipe::store::index::Index;
use pipe::store::key::{Key, KeyFields};
use pipe::store::record::Record;
use stages::{Event, Manifest};

/// A target's name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("pipeline", pipeline),
    ("interpolation", interpolation),
    ("overrides", overrides),
    ("manifest", manifest),
    ("events", events),
    ("index", index),
    ("record", record),
    ("tree", tree),
];

/// Any text as `pipeline.yaml`.
pub fn pipeline(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        load(text, &Overrides::default());
    }
}

/// The values of three variables, a parameter and a command, separated by empty lines, in YAML that is
/// otherwise valid.
pub fn interpolation(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.splitn(5, "\n\n");
    let mut next = || parts.next().unwrap_or_default();
    let vars = BTreeMap::from([("a", next()), ("b", next()), ("long_name", next())]);
    let (param, run) = (next(), next());
    let yaml = serde_json::json!({
        "vars": vars,
        "stages": {
            "s": {
                "run": format!("true {run}"),
                "params": {"p": param, "list": [param, {"in": param}]},
                "env": ["HOME"],
                "salt": param,
                "outputs": ["o"],
            },
            "split": {"inputs": {"examples": param}, "params": {"share": param}},
        },
    });
    let yaml = serde_yaml::to_string(&yaml).expect("the value is YAML");
    load(&yaml, &Overrides::default());
}

const OVERRIDDEN: &str = r#"
vars: {model: hub:a/b, n: 1, list: [x, "${n}"]}
profiles: {quick: {count.n: 2, split.share: 0.5, n: 3}}
stages:
  count: {run: 'wc < $IN_text', inputs: {text: t}, params: {n: "${n}", l: "${list}"}, outputs: [o]}
  split: {inputs: {examples: count:o}, params: {share: 0.9}}
"#;

/// The first line names a profile; each other line is a `--set`.
pub fn overrides(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.lines();
    let profile = lines.next().filter(|name| !name.is_empty()).map(str::to_owned);
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    let overrides = Overrides { set: lines.filter_map(pair).collect(), profile };
    load(OVERRIDDEN, &overrides);
}

/// Loads a pipeline, and then does what planning does before it touches a file.
fn load(text: &str, overrides: &Overrides) {
    let file = scratch_file("pipeline.yaml");
    fs::write(&file, text).expect("the scratch folder is writable");
    let pipeline = match Pipeline::load(&file, overrides) {
        Ok(pipeline) => pipeline,
        Err(error) => return check_error(&error, text),
    };
    let graph = Graph::new(&pipeline);
    assert_eq!(graph.order().len(), pipeline.stages.len(), "a cycle went unnoticed");
    let lines = text.split(['\n', '\r']).count();
    for stage in &pipeline.stages {
        assert!((1..=lines).contains(&stage.line), "`{}`: line {}", stage.name, stage.line);
        for path in stage.publish.values() {
            assert!(pipeline.root.join(path).starts_with(&pipeline.root));
            assert!(!path.components().any(|part| part == std::path::Component::ParentDir));
        }
        let fields = KeyFields::of(stage, BTreeMap::new());
        let canonical = fields.canonical();
        assert!(canonical.starts_with("pipe key 1\n{"));
        let text = serde_json::to_string(&fields).expect("fields are JSON");
        let again: KeyFields = serde_json::from_str(&text).expect("and can be read back");
        assert_eq!(again.key(), fields.key(), "{text}");
    }
}

fn check_error(error: &PipelineError, text: &str) {
    let shown = error.to_string();
    assert!(!shown.is_empty());
    let PipelineError::Invalid { problems, .. } = error else { panic!("{shown}") };
    assert!(!problems.is_empty());
    // The characters that end a line in YAML 1.1.
    let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    let lines = text.split(breaks).count();
    for problem in problems {
        assert!(!problem.message.is_empty());
        if let Location::File { line, column, .. } = &problem.location {
            assert!(*line >= 1 && *line <= lines + 1 && *column >= 1, "{problem:?}");
        }
    }
    serde_json::to_string(error).expect("an error is JSON");
}

/// `stage.json`.
pub fn manifest(bytes: &[u8]) {
    let file = scratch_file("stage.json");
    fs::write(&file, bytes).expect("the scratch folder is writable");
    match Manifest::read(&file) {
        Ok(manifest) => {
            let text = serde_json::to_vec(&manifest).expect("a manifest is JSON");
            fs::write(&file, text).expect("the scratch folder is writable");
            assert_eq!(Manifest::read(&file).expect("it can be read back"), manifest);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The lines of a stage's standard output.
pub fn events(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(event) = serde_json::from_slice::<Event>(line) {
            let text = serde_json::to_string(&event).expect("an event is JSON");
            let again: Event = serde_json::from_str(&text).expect("it can be read back");
            assert_eq!(again, event, "{text}");
        }
    }
}

/// `cache/index`: the bytes as they are, and the bytes with a valid checksum.
pub fn index(bytes: &[u8]) {
    let file = scratch_file("index");
    let checked = [bytes, Digest::of_bytes(bytes).as_bytes()].concat();
    for text in [bytes, &checked] {
        fs::write(&file, text).expect("the scratch folder is writable");
        let index = Index::load(&file, true);
        // Whatever the index contains, it cannot be about this file.
        let found = index.hash(&file).expect("it is there");
        assert_eq!(found.content.digest, Digest::of_bytes(text));
    }
}

/// A record: the text as it is, and with a valid checksum.
pub fn record(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let key = value.as_ref().and_then(|value| value["key"].as_str()?.parse().ok());
    let key = key.unwrap_or_else(any_key);
    let body = text.trim_end().strip_suffix('}').unwrap_or(text);
    let checked = format!("{body},\"check\":\"{}\"}}\n", Digest::of_bytes(body.as_bytes()));
    for text in [text, &checked] {
        let Some(record) = Record::parse(text, key) else { continue };
        assert_eq!(record.key, key);
        let again = Record::parse(&record.to_text().unwrap(), key).expect("it can be read back");
        assert_eq!(again, record);
    }
}

/// The listing of a folder.
pub fn tree(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(tree) = Tree::parse(text) else { return };
    assert_eq!(Tree::parse(&tree.to_text()).as_ref(), Some(&tree));
    for path in tree.files.keys().chain(&tree.empty_folders) {
        let joined = Path::new("/root").join(path);
        assert!(joined.starts_with("/root") && joined != Path::new("/root"), "{path}");
        assert!(!joined.components().any(|part| part == std::path::Component::ParentDir));
    }
}

fn any_key() -> Key {
    "0".repeat(64).parse().expect("that is a key")
}

/// A file for each thread, in memory where /dev/shm exists.
fn scratch_file(name: &str) -> PathBuf {
    thread_local! {
        static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    }
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| {
            let made = tempfile::TempDir::new_in("/dev/shm").or_else(|_| tempfile::TempDir::new());
            made.expect("a temporary folder can be made")
        });
        folder.path().join(name)
    })
}
