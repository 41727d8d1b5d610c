//! The section `publish` of a stage: the paths that outputs are copied to, which must be inside
//! the project.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::document::Draft;
use super::outputs::Outputs;
use super::problem::Problems;
use super::yaml::YamlNode;
use crate::files::place::{real_path, resolved};

/// Reads the `publish` section of a stage: from output names to clean paths relative to the root.
pub(super) fn read_publications(
    draft: &Draft,
    outputs: &Outputs,
    root: &Path,
    pipeline_file: &Path,
    problems: &mut Problems,
) -> BTreeMap<String, PathBuf> {
    let stage = &draft.name;
    let known = outputs.get(stage).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = known.iter().map(|output| output.name.as_str()).collect();
    let mut publish = BTreeMap::new();
    for given in &draft.publish {
        let output = &given.key;
        // An unknown built-in, which has no outputs, is reported by `stage`.
        let unknown_builtin = names.is_empty() && draft.run.is_none();
        if !unknown_builtin && !names.contains(&output.as_str()) {
            let message = format!("stage `{stage}` has no output `{output}` to publish");
            let problem = problems.at(given.key_origin, message).stage(stage);
            problem.nearest_or_all(output, &names);
        }
        let what = format!("output `{output}` of stage `{stage}`");
        match target(&given.value, root, pipeline_file) {
            Ok(path) => {
                publish.insert(output.clone(), path);
            }
            Err(reason) => {
                let problem = problems.with(&given.value, format!("{what} {reason}"));
                problem.stage(stage).help("publish to a path inside the project".to_owned());
            }
        }
    }
    publish
}

/// A clean path below the root. The error continues "output `o` of stage `s` …".
fn target(node: &YamlNode, root: &Path, pipeline_file: &Path) -> Result<PathBuf, String> {
    let Some(text) = node.as_text().filter(|text| !text.is_empty() && !text.contains('\0')) else {
        return Err(format!("is published to {}, not to a path", node.what()));
    };
    let mut path = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => {
                return Err(format!("is published to an absolute path, `{text}`"));
            }
            Component::ParentDir => {
                return Err(format!("is published to `{text}`, and `..` may leave the project"));
            }
        }
    }
    if path.as_os_str().is_empty() {
        return Err("would be published over the whole project".to_owned());
    }
    let real = match real_path(root, &path) {
        Ok(real) => real,
        Err(problem) => return Err(format!("is published to `{text}`, but {problem}")),
    };
    if real == resolved(pipeline_file) {
        return Err(format!("would be published over `{text}`"));
    }
    if leads_out(root, &path) {
        return Err(format!(
            "is published to `{text}`, and the link `{text}` leads out of the project"
        ));
    }
    Ok(path)
}

/// Whether the path itself is a symbolic link to a place outside the root. A broken link is refused
/// as well: its target may appear later.
fn leads_out(root: &Path, path: &Path) -> bool {
    let at = root.join(path);
    let inside = || Some(at.canonicalize().ok()?.starts_with(root.canonicalize().ok()?));
    at.is_symlink() && inside() != Some(true)
}
