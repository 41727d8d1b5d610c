//! The imports between the files of a crate, as far as they can be read from paths in the source:
//! `use` declarations, however nested, and paths within the code. Unit tests at a file's end are
//! left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// One file that names something of another; both relative to the crate's source folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: PathBuf,
    /// Of `from`, counted from 1.
    pub line: usize,
    pub to: PathBuf,
}

type Module = Vec<String>;

/// All imports between the files below `crate_folder`, a folder of the repository.
pub fn imports(crate_folder: &Path) -> Vec<Import> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(crate_folder);
    let files = walkdir::WalkDir::new(&root).into_iter().map(|entry| entry.unwrap().into_path());
    let rust = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files: BTreeMap<Module, PathBuf> = rust
        .map(|path| path.strip_prefix(&root).unwrap().to_owned())
        .filter(|path| path != Path::new("lib.rs") && path != Path::new("main.rs"))
        .map(|path| (module_of(&path), path))
        .collect();
    assert!(files.len() > 10, "{} is not where this test looks for it", root.display());
    let mut found = Vec::new();
    for (module, from) in &files {
        let text = fs::read_to_string(root.join(from)).unwrap();
        for (line, path) in paths(&code_of(&text)) {
            let Some(target) = absolute(&path, module, &files) else { continue };
            // The longest beginning of the path that is a file.
            let module_file = (1..=target.len()).rev().find_map(|end| files.get(&target[..end]));
            let Some(to) = module_file.filter(|to| *to != from) else { continue };
            found.push(Import { from: from.clone(), line, to: to.clone() });
        }
    }
    found
}

/// The imports that lie on a cycle: from each of their files the other one is reached.
pub fn cycles(imports: &[Import]) -> Vec<Import> {
    let mut targets: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for Import { from, to, .. } in imports {
        targets.entry(from).or_default().insert(to);
    }
    let reaches = |from: &Path, wanted: &Path| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            if file == wanted {
                return true;
            }
            if seen.insert(file) {
                open.extend(targets.get(file).into_iter().flatten());
            }
        }
        false
    };
    imports.iter().filter(|import| reaches(&import.to, &import.from)).cloned().collect()
}

/// `cli/cache/mod.rs` and `cli/cache.rs` are the module `cli::cache`.
fn module_of(path: &Path) -> Module {
    let path = path.with_extension("");
    let mut names: Module = path.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    names.pop_if(|last| last == "mod");
    names
}

/// The text without comment lines and without the unit tests, its lines where they were.
fn code_of(text: &str) -> String {
    let code = text.find("#[cfg(test)]\nmod tests").map_or(text, |at| &text[..at]);
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let lines = code.lines().map(|line| if is_comment(line) { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths of two names or more, with the line that each begins in; groups in braces are
/// taken apart.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let declaration = Regex::new(r"(?m)^\s*(?:pub(?:\([a-z]+\))? )?use ([^;]+);").unwrap();
    let path = Regex::new(r"\b[a-z_][a-z_0-9]*(?:::\w+)+").unwrap();
    let line_at = |at: usize| code[..at].matches('\n').count() + 1;
    let mut found = Vec::new();
    for captures in declaration.captures_iter(code) {
        let tree = captures.get(1).unwrap();
        let mut leaves = Vec::new();
        take_apart(tree.as_str(), "", &mut leaves);
        found.extend(leaves.into_iter().map(|leaf| (line_at(tree.start()), names(&leaf))));
    }
    found.extend(path.find_iter(code).map(|it| (line_at(it.start()), names(it.as_str()))));
    found
}

fn names(path: &str) -> Vec<String> {
    path.split("::").map(|name| name.split(" as ").next().unwrap().trim().to_owned()).collect()
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn take_apart(tree: &str, prefix: &str, leaves: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        leaves.push(format!("{prefix}{tree}"));
        return;
    };
    let group = group.trim_end().strip_suffix('}').unwrap();
    let (mut depth, mut start) = (0, 0);
    for (at, character) in group.char_indices().chain([(group.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    take_apart(&group[start..at], &format!("{prefix}{head}"), leaves);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// A path as seen from a module, from the crate's root on; `None` if it leads out of the crate.
fn absolute(path: &[String], module: &Module, files: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let climbed = path.iter().take_while(|name| *name == "super").count();
    let below = |ancestor: &[String], rest: &[String]| Some([ancestor, rest].concat());
    match path[0].as_str() {
        "crate" => below(&[], &path[1..]),
        "self" => below(module, &path[1..]),
        "super" => below(&module[..module.len().checked_sub(climbed)?], &path[climbed..]),
        child if files.contains_key(&[module.as_slice(), &[child.to_owned()]].concat()) => {
            below(module, path)
        }
        _ => None,
    }
}

#[test]
fn every_form_of_a_path_is_found() {
    let code =
        "use crate::a::{B, c::{self, D}};\npub(crate) use super::e::F as G;\nlet x = h::i();";
    let found: Vec<(usize, String)> =
        paths(code).into_iter().map(|(line, path)| (line, path.join("::"))).collect();
    for (line, path) in [
        (1, "crate::a::B"),
        (1, "crate::a::c::self"),
        (1, "crate::a::c::D"),
        (2, "super::e::F"),
        (3, "h::i"),
    ] {
        assert!(found.contains(&(line, path.to_owned())), "{path} is not in {found:?}");
    }
}

#[test]
fn a_cycle_is_found_and_a_chain_is_none() {
    let import = |from: &str, to: &str| Import { from: from.into(), line: 1, to: to.into() };
    let chain = [import("a", "b"), import("b", "c"), import("a", "c")];
    assert!(cycles(&chain).is_empty());
    let closed = [&chain[..], &[import("c", "b")]].concat();
    assert_eq!(cycles(&closed), [import("b", "c"), import("c", "b")]);
}
