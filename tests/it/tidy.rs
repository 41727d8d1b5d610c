//! House rules that the compiler does not know. The layers of the two crates have a file of their
//! own, [`imports`](crate::imports), that reads `use` lines.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use stages::stage::error::hints;

use crate::imports::{Import, cycles, imports};

/// The folders of the engine, from the top. A folder imports from those below its line, never
/// from one above it or beside it.
const ENGINE: [&[&str]; 12] = [
    &["cli"],
    &["serve"],
    &["console"],
    &["report", "maintenance"],
    &["results"],
    &["run"],
    &["executor"],
    &["plan"],
    &["remote", "sources"],
    &["pipeline", "init"],
    &["store", "text"],
    &["files"],
];

/// The folders of `stages`.
const STAGES: [&[&str]; 7] =
    [&["builtin"], &["train", "onnx"], &["model"], &["text"], &["family"], &["data"], &["stage"]];

#[test]
fn folders_import_only_from_folders_below_them() {
    for (crate_folder, layers) in [("src", ENGINE.as_slice()), ("stages/src", STAGES.as_slice())] {
        let layer = |file: &Path| {
            let folder = file.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
            let found = layers.iter().position(|layer| layer.contains(&folder.as_str()));
            // `main.rs` and `lib.rs` stand above all.
            let is_root = file.components().count() == 1;
            assert!(
                found.is_some() || is_root,
                "{crate_folder}/{folder} is in no layer of this test"
            );
            (folder, found)
        };
        for Import { from, line, to } in imports(Path::new(crate_folder)) {
            let ((folder, above), (other, below)) = (layer(&from), layer(&to));
            let fits = folder == other || (above < below && below.is_some());
            assert!(
                fits,
                "{crate_folder}/{}:{line} imports {crate_folder}/{}, which does not stand below it",
                from.display(),
                to.display()
            );
        }
    }
}

#[test]
fn no_files_import_one_another_in_a_cycle() {
    for crate_folder in ["src", "stages/src"] {
        let found = cycles(&imports(Path::new(crate_folder)));
        let said: Vec<String> = found
            .iter()
            .map(|Import { from, line, to }| {
                format!("{crate_folder}/{}:{line} imports {}", from.display(), to.display())
            })
            .collect();
        assert!(said.is_empty(), "these imports close a cycle:\n{}", said.join("\n"));
    }
}

#[test]
fn the_roots_hold_nothing_but_their_entry_files() {
    for (folder, files) in [("src", &["lib.rs", "main.rs"][..]), ("stages/src", &["lib.rs"])] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
        let mut found: Vec<String> = entries
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, files, "{folder}");
    }
}

/// All Rust files below a folder of the repository, with their text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = walkdir::WalkDir::new(&root).into_iter().map(|entry| entry.unwrap().into_path());
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let found: Vec<_> =
        rust.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    assert!(found.len() > 10, "{folder} is not where this test looks for it");
    found
}

#[test]
fn every_file_says_first_what_it_is_for_and_is_short_enough_to_read() {
    for folder in ["src", "stages/src"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{} has no `//!` line first", path.display());
            let lines = text.lines().count();
            assert!(lines <= 420, "{} has {lines} lines: split it", path.display());
        }
    }
}

#[test]
fn the_engine_names_no_tensor_library() {
    for (path, text) in sources("src") {
        assert!(!text.contains("burn::") && !text.contains("tokenizers::"), "{}", path.display());
    }
}

#[test]
fn nothing_in_the_program_reaches_outside_of_the_project() {
    for folder in ["src", "stages/src"] {
        for (path, text) in sources(folder) {
            assert!(!text.contains("../shared"), "{}", path.display());
        }
    }
}

/// So that the tests which kill the engine at each change of the disk miss none.
#[test]
fn the_engine_changes_the_disk_through_one_module_only() {
    let calls = [
        "fs::write(",
        "fs::rename(",
        "fs::create_dir",
        "fs::remove_",
        "fs::copy(",
        "fs::set_permissions(",
        "fs::hard_link(",
        "File::create",
        "File::options(",
        "OpenOptions",
        "os::unix::fs::symlink(",
        "setxattr(",
        "renameat_with(",
        ".set_modified(",
        ".sync_all(",
        ".set_len(",
    ];
    for (path, text) in sources("src") {
        let text = text.split("#[cfg(test)]").next().unwrap();
        let excepted = ["src/files/disk.rs", "src/files/fault.rs"];
        if excepted.iter().any(|excepted| path.to_str().unwrap().contains(excepted)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap().replace("disk::", "");
            let found = calls.iter().find(|call| code.contains(*call));
            assert!(found.is_none(), "{}:{}: use `disk::…`", path.display(), number + 1);
        }
    }
}

#[test]
fn functions_are_short_and_structs_have_few_fields() {
    const LINES: usize = 80;
    const FIELDS: usize = 15;
    let item =
        Regex::new(r"^(\s*)(?:pub(?:\([a-z]+\))? )?(?:const |async |unsafe )*(fn|struct) (\w+)")
            .unwrap();
    let field = Regex::new(r"^\s+(?:pub(?:\([a-z]+\))? )?\w+: ").unwrap();
    for folder in ["src", "stages/src"] {
        for (path, text) in sources(folder) {
            let lines: Vec<&str> = text.lines().collect();
            for (start, line) in lines.iter().enumerate() {
                let Some(found) = item.captures(line).filter(|_| !line.ends_with(['}', ';']))
                else {
                    continue;
                };
                let (kind, name) = (&found[2], &found[3]);
                let end = format!("{}}}", &found[1]);
                let body = lines[start..].iter().take_while(|line| **line != end);
                let (size, most) = match kind {
                    "fn" => (body.count() + 1, LINES),
                    _ => (body.filter(|line| field.is_match(line)).count(), FIELDS),
                };
                let what = if kind == "fn" { "lines" } else { "fields" };
                let place = format!("{}:{}", path.display(), start + 1);
                assert!(size <= most, "{place}: `{kind} {name}` has {size} {what}: divide it");
            }
        }
    }
}

#[test]
fn every_parameter_that_a_hint_or_an_error_of_a_stage_names_exists() {
    let known: Vec<&str> =
        stages::all().iter().flat_map(|stage| stage.params()).map(|spec| spec.name).collect();
    let in_hints = Regex::new("`([a-z_0-9]+)[`:]").unwrap();
    let hints = hints::ALL.iter().flat_map(|hint| in_hints.captures_iter(hint));
    let mut named: Vec<String> = hints.map(|found| found[1].to_owned()).collect();
    assert!(named.len() > 4, "{named:?}");
    let in_errors = Regex::new(r#"(?:Param \{ name: |return problem\(\s*)"([a-z_0-9]+)""#).unwrap();
    for (_, text) in sources("stages/src") {
        named.extend(in_errors.captures_iter(&text).map(|found| found[1].to_owned()));
    }
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        // `pretrain` refuses inputs in the same words.
        let is_known = known.contains(&&*name) || ["model", "tokenizer"].contains(&&*name);
        assert!(is_known, "there is no parameter `{name}`");
    }
}
