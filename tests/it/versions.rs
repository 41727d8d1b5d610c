//! A built-in stage's version enters the key, its code does not. So that edited code cannot go on
//! serving old results unnoticed, `stage_versions.txt` holds a digest of each stage's sources
//! beside its version.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// For every stage, the files and folders of `stages/src` that can change its results.
const SOURCES: [(&str, &[&str]); 12] = [
    (
        "audit",
        &[
            "builtin/audit",
            "builtin/score/bootstrap.rs",
            "data/classification.rs",
            "data/data_file.rs",
            "data/example.rs",
            "data/issue.rs",
            "data/label_names.rs",
            "data/lines.rs",
            "data/marks.rs",
            "data/nearest.rs",
            "data/prediction.rs",
            "data/random",
            "data/random.rs",
            "data/set.rs",
            "stage/output.rs",
            "data/target.rs",
            "data/task.rs",
        ],
    ),
    (
        "baseline",
        &[
            "builtin/baseline",
            "data/example.rs",
            "data/labels.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/prediction.rs",
            "data/random",
            "data/random.rs",
            "data/classification.rs",
            "data/target.rs",
            "data/task.rs",
            "data/multi_label.rs",
            "data/regression.rs",
            "data/threshold.rs",
        ],
    ),
    (
        "clean",
        &[
            "builtin/clean",
            "data/data_file.rs",
            "data/example.rs",
            "data/issue.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/target.rs",
            "data/task.rs",
        ],
    ),
    (
        "ensemble",
        &[
            "builtin/ensemble",
            "data/labels.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/prediction.rs",
            "data/set.rs",
            "data/target.rs",
            "data/task.rs",
            "data/threshold.rs",
            "data/classification.rs",
        ],
    ),
    (
        "ingest",
        &[
            "builtin/ingest",
            "data/example.rs",
            "data/label_names.rs",
            "data/labels.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/json_items.rs",
            "data/lines.rs",
            "data/marks.rs",
            "stage/output.rs",
            "data/target.rs",
            "data/task.rs",
        ],
    ),
    (
        "split",
        &[
            "builtin/split",
            "data/example.rs",
            "data/labels.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/random.rs",
            "data/random",
            "data/target.rs",
            "data/task.rs",
        ],
    ),
    (
        "tokenize",
        &[
            "builtin/tokenize",
            "data/token_file.rs",
            "text",
            "family",
            "model/config.rs",
            "model/config",
            "data/tensors.rs",
            "data/example.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/target.rs",
            "data/task.rs",
            "data/token_labels.rs",
            "data/token_writer.rs",
        ],
    ),
    (
        "train-tokenizer",
        &[
            "builtin/train_tokenizer",
            "data/corpus.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
        ],
    ),
    (
        "pretrain",
        &[
            "builtin/pretrain",
            "builtin/model_output.rs",
            "builtin/open_device.rs",
            "stage/metric_lines.rs",
            "data/corpus.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "model",
            "stage/output.rs",
            "data/random",
            "data/random.rs",
            "data/tensors.rs",
            "text",
            "family",
            "data/token_file.rs",
            "train",
            "data/classification.rs",
            "data/target.rs",
            "data/task.rs",
            "data/token_labels.rs",
            "data/token_writer.rs",
            "data/multi_label.rs",
            "data/regression.rs",
            "data/threshold.rs",
        ],
    ),
    (
        "finetune",
        &[
            "builtin/finetune",
            "builtin/model_output.rs",
            "builtin/open_device.rs",
            "builtin/token_input.rs",
            "stage/metric_lines.rs",
            "model",
            "stage/output.rs",
            "data/random",
            "data/random.rs",
            "data/tensors.rs",
            "text",
            "family",
            "data/token_file.rs",
            "train",
            "data/classification.rs",
            "data/temperature.rs",
            "data/threshold.rs",
            "data/target.rs",
            "data/task.rs",
            "data/token_labels.rs",
            "data/token_writer.rs",
            "data/multi_label.rs",
            "data/regression.rs",
        ],
    ),
    (
        "predict",
        &[
            "builtin/predict",
            "builtin/open_device.rs",
            "builtin/token_input.rs",
            "model",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/prediction.rs",
            "data/random",
            "data/random.rs",
            "data/tensors.rs",
            "text",
            "family",
            "data/token_file.rs",
            "train/evaluation.rs",
            "data/classification.rs",
            "data/threshold.rs",
            "data/target.rs",
            "data/task.rs",
            "data/token_labels.rs",
            "data/token_writer.rs",
            "data/multi_label.rs",
            "data/regression.rs",
            "train/class_outputs.rs",
            "train/task_evaluation.rs",
        ],
    ),
    (
        "score",
        &[
            "builtin/score",
            "data/labels.rs",
            "data/data_file",
            "data/data_file.rs",
            "data/lines.rs",
            "stage/output.rs",
            "data/prediction.rs",
            "data/random.rs",
            "data/random",
            "data/classification.rs",
            "data/threshold.rs",
            "data/target.rs",
            "data/task.rs",
            "data/multi_label.rs",
            "data/regression.rs",
        ],
    ),
];

/// Modules that affect messages, checks or wiring, but no byte of a result. Parameters are
/// in the key as `params` made them.
const NEUTRAL: [&str; 14] = [
    "builtin",
    "data/finite",
    "data/label_names",
    "data/nearest",
    "stage",
    "stage/choice",
    "stage/error",
    "stage/event",
    "stage/manifest",
    "stage/params",
    "stage/progress",
    "stage/user_folders",
    "train/params",
    "stage/panics",
];

const UPDATE: &str = "PIPE_UPDATE_STAGE_VERSIONS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("stages/src")
}

/// The Rust files below a file or folder, by their paths from the root.
fn files_of(sources: &[&str]) -> BTreeMap<String, String> {
    let entries = sources.iter().flat_map(|source| {
        let path = root().join(source);
        assert!(path.exists(), "{} is not where this test looks for it", path.display());
        walkdir::WalkDir::new(path).into_iter().map(|entry| entry.unwrap().into_path())
    });
    let rust = entries.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let file = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    rust.map(file).collect()
}

/// Comments, empty lines, indentation and the tests at a file's end change no result.
fn code_of(text: &str) -> String {
    let code = text.find("#[cfg(test)]\nmod tests").map_or(text, |at| &text[..at]);
    let lines = code.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn digest_of(sources: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, text) in files_of(sources) {
        let code = code_of(&text);
        hasher.update(format!("{name} {}\n{code}", code.len()).as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[test]
fn a_stage_s_sources_do_not_change_without_its_version_being_reconsidered() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stage_versions.txt");
    let mut now = "# stage, version, digest of its sources; see versions.rs\n".to_owned();
    for (name, sources) in SOURCES {
        let version = stages::find(name).unwrap().version();
        let _ = writeln!(now, "{name} {version} {}", digest_of(sources));
    }
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, &now).unwrap();
    }
    let known = fs::read_to_string(&file).unwrap_or_default();
    let mut wrong = String::new();
    for line in now.lines().filter(|line| !known.lines().any(|known| known == *line)) {
        let name = line.split(' ').next().unwrap();
        let _ = write!(
            wrong,
            "\nthe sources or the version of stage `{name}` have changed: either raise the version, \
             if the same inputs may give other bytes now, or, if results are unchanged, update the \
             digest. The line for tests/it/stage_versions.txt is then\n{line}\n"
        );
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nto write all lines: {UPDATE}=1 cargo test --test it versions\n"
    );
    assert_eq!(known, now, "tests/it/stage_versions.txt holds lines of no stage");
}

#[test]
fn the_table_names_every_module_that_a_stage_uses_and_every_stage() {
    let mut stages: Vec<&str> = stages::all().iter().map(|stage| stage.name()).collect();
    stages.sort_unstable();
    let mut listed: Vec<&str> = SOURCES.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    assert_eq!(stages, listed);
    for (name, sources) in SOURCES {
        for (file, text) in files_of(sources) {
            let code = code_of(&text);
            for used in code.split("crate::").skip(1) {
                let end = used.find(|char: char| {
                    !char.is_ascii_lowercase() && !char.is_ascii_digit() && !"_:".contains(char)
                });
                let path = used[..end.unwrap_or(used.len())].trim_end_matches(':');
                let module = module_of(path);
                let is_listed = sources.iter().any(|source| {
                    let source = Path::new(source.strip_suffix(".rs").unwrap_or(source));
                    Path::new(&module).starts_with(source)
                });
                assert!(
                    is_listed || NEUTRAL.contains(&module.as_str()) || module.is_empty(),
                    "stage `{name}`: {file} uses `{module}`, which the table leaves out"
                );
            }
        }
    }
}

/// The module of a path such as `data::labels::sorted`: as many of its names as are files.
fn module_of(path: &str) -> String {
    let mut module = String::new();
    for name in path.split("::") {
        let next = Path::new(&module).join(name);
        let file = root().join(&next);
        if !file.is_dir() && !file.with_extension("rs").is_file() {
            break;
        }
        module = next.to_str().unwrap().to_owned();
    }
    module
}

#[test]
fn comments_and_tests_are_not_part_of_the_code() {
    let code = "//! What.\n\nfn one() -> u32 {\n    // why\n    1\n}\n";
    let with_tests = format!("{code}\n#[cfg(test)]\nmod tests {{\n    fn two() {{}}\n}}\n");
    assert_eq!(code_of(code), "fn one() -> u32 {\n1\n}\n");
    assert_eq!(code_of(&with_tests), code_of(code));
    assert_ne!(code_of(&code.replace('1', "2")), code_of(code));
}
