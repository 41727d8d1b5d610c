//! House rules that a compiler does not know.

use std::fs;
use std::path::{Path, PathBuf};

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
        // Downloads lie beside the store and have tests of their own.
        let excepted = ["src/files/disk.rs", "src/files/fault.rs", "src/sources/"];
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
