//! Reads the value of one input: a path, another stage's output, a URL, or a model on the hub.

use std::path::{Component, Path, PathBuf};

use stages::{InputSpec, Kind};

use super::document::entry;
use super::hub_names::{self, WrongName};
use super::model::{Input, Output};
use super::names;
use super::outputs::Outputs;
use super::problem::Problems;
use super::remote_settings::RemotePlace;
use super::yaml::{YamlNode, YamlValue};
use crate::files::digest::is_hex;
use crate::files::pattern::{PatternError, is_pattern, matching};
use crate::text::variants::{MARK, family, matches};

/// Reads one input of a stage, which may refer to `outputs` and to paths below `root`.
pub(super) struct InputReader<'a> {
    pub(super) stage: &'a str,
    pub(super) name: &'a str,
    pub(super) outputs: &'a Outputs,
    pub(super) root: &'a Path,
}

impl InputReader<'_> {
    pub(super) fn what(&self) -> String {
        format!("input `{}` of stage `{}`", self.name, self.stage)
    }

    /// Reads a single input, not a set. Reports a mistake and returns `None`.
    pub(super) fn read(&self, node: &YamlNode, problems: &mut Problems) -> Option<Input> {
        if let YamlValue::Map(_) = node.content {
            return self.url(node, problems);
        }
        let Some(text) = node.as_text() else {
            let message = format!("{} is {}", self.what(), node.what());
            problems.with(node, message).stage(self.stage).help(
                "write a path, `stage:output`, `hub:owner/name` or {url: …, blake3: …}".to_owned(),
            );
            return None;
        };
        if text.is_empty() || text.contains('\0') {
            problems.with(node, format!("{} is not a path", self.what())).stage(self.stage);
            return None;
        }
        if let Some(name) = text.strip_prefix("hub:") {
            let read = hub_names::read(name);
            return read.map_err(|wrong| self.refuse_name(&wrong, node, problems)).ok();
        }
        if RemotePlace::has_password(text) {
            self.refuse_password(node, problems);
            return None;
        }
        if text.starts_with("https://") && names_commit(text) {
            return Some(Input::Url { url: text.to_owned(), blake3: None });
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            let message = format!("{} is a URL that may change", self.what());
            problems.with(node, message).stage(self.stage).help(format!(
                "pin it: {{url: \"{text}\", blake3: <64 hexadecimal digits>}}, which `b3sum` \
                 prints; or an https address with a whole Git commit in its path"
            ));
            return None;
        }
        if let Some((stage, output)) = text.split_once(':') {
            if let Some(known) = self.outputs.get(stage) {
                return self.artifact(stage, output, known, node, problems);
            }
            if names::is_name(family(stage)) {
                return self.variant(text, stage, output, node, problems);
            }
        }
        self.path(text, node, problems)
    }

    /// Reads a reference to a stage that has not exactly this name: the one variant that it matches.
    /// Reports any other number of matches.
    fn variant(
        &self,
        text: &str,
        stage: &str,
        output: &str,
        node: &YamlNode,
        problems: &mut Problems,
    ) -> Option<Input> {
        let meant: Vec<_> = self.outputs.iter().filter(|(name, _)| matches(stage, name)).collect();
        match meant[..] {
            [] => {
                let stages: Vec<&str> = self.outputs.keys().map(String::as_str).collect();
                let message = format!("{} is `{text}`: there is no stage `{stage}`", self.what());
                let problem = problems.with(node, message).stage(self.stage);
                problem.nearest_or_all(stage, &stages);
                if !Path::new(text).is_absolute() && self.root.join(text).exists() {
                    problem.help(format!("for the file of that name write `./{text}`"));
                }
                None
            }
            [(name, known)] if stage.contains(MARK) => {
                self.artifact(name, output, known, node, problems)
            }
            [(first, _), ..] => {
                let count = meant.len();
                let message =
                    format!("{} is `{text}`, which matches {count} variants", self.what());
                let problem = problems.with(node, message).stage(self.stage);
                let family = family(stage);
                problem.help(format!(
                    "write `{first}:{output}` for one of them, `{family}@*:{output}` for all"
                ));
                None
            }
        }
    }

    pub(super) fn artifact(
        &self,
        stage: &str,
        output: &str,
        known: &[Output],
        node: &YamlNode,
        problems: &mut Problems,
    ) -> Option<Input> {
        if known.iter().any(|known| known.name == output) {
            return Some(Input::Artifact { stage: stage.to_owned(), output: output.to_owned() });
        }
        let names: Vec<&str> = known.iter().map(|output| output.name.as_str()).collect();
        let message = format!("{}: stage `{stage}` has no output `{output}`", self.what());
        problems.with(node, message).stage(self.stage).nearest_or_all(output, &names);
        None
    }

    fn path(&self, text: &str, node: &YamlNode, problems: &mut Problems) -> Option<Input> {
        let relative = Path::new(text).is_relative();
        if relative && !node.is_from_set() && leaves(Path::new(text)) {
            let message = format!("{} leaves the project: `{text}`", self.what());
            problems
                .with(node, message)
                .stage(self.stage)
                .help("use an absolute path, or give it with `--set` on this machine".to_owned());
            return None;
        }
        let path = normal(&self.root.join(text));
        problems.note_source(&path);
        if let Err(error) = std::fs::metadata(&path)
            && problems.sources_needed
        {
            let message = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    format!("{}: there is no `{}`", self.what(), path.display())
                }
                _ => format!("{}: `{}` cannot be read: {error}", self.what(), path.display()),
            };
            let problem = problems.with(node, message).stage(self.stage);
            if text.starts_with('~') {
                problem.help("`~` is not expanded; write the whole path".to_owned());
            } else if relative {
                problem.help(format!("relative paths start at `{}`", self.root.display()));
            }
            return None;
        }
        Some(Input::Path(path))
    }

    /// Whether the input is a pattern of file names: a path with `*`, `?` or `[…]` that names no file
    /// itself.
    pub(super) fn is_pattern_of_files(&self, node: &YamlNode) -> bool {
        let Some(text) = node.as_text() else { return false };
        let is_reference = text.starts_with("hub:")
            || text.split_once(':').is_some_and(|(stage, _)| names::is_name(family(stage)));
        !is_reference && is_pattern(text, self.root)
    }

    /// The files that a pattern matches, in the order of their paths. Reports a mistake and returns
    /// `None`.
    pub(super) fn files(&self, node: &YamlNode, problems: &mut Problems) -> Option<Vec<Input>> {
        let text = node.as_text()?;
        let refuse = |problems: &mut Problems, message: String, help: String| {
            problems.with(node, message).stage(self.stage).help(help);
            None
        };
        if Path::new(text).is_relative() && !node.is_from_set() && leaves(Path::new(text)) {
            let message = format!("{} leaves the project: `{text}`", self.what());
            let help = "use an absolute path, or give it with `--set` on this machine";
            return refuse(problems, message, help.to_owned());
        }
        match matching(text, self.root) {
            Ok(paths) => {
                let each: Vec<PathBuf> = paths.iter().map(|path| normal(path)).collect();
                each.iter().for_each(|path| problems.note_source(path));
                Some(each.into_iter().map(Input::Path).collect())
            }
            Err(PatternError::NoMatch { .. }) if !problems.sources_needed => Some(Vec::new()),
            Err(error) => refuse(problems, format!("{}: {error}", self.what()), error.help()),
        }
    }

    fn refuse_name(&self, wrong: &WrongName, node: &YamlNode, problems: &mut Problems) {
        let message = format!("{}: `{}` is not a valid name on the hub", self.what(), wrong.part);
        let problem = problems.with(node, message).stage(self.stage);
        problem.help(format!("write {}", wrong.form));
    }

    /// A URL is shown on the screen, in reports and in the log of runs.
    fn refuse_password(&self, node: &YamlNode, problems: &mut Problems) {
        let message = format!("the URL of {} has a user name in it", self.what());
        let problem = problems.with(node, message).stage(self.stage).hide_text();
        problem.help("download the file yourself and write its path here".to_owned());
    }

    fn url(&self, node: &YamlNode, problems: &mut Problems) -> Option<Input> {
        let YamlValue::Map(entries) = &node.content else { return None };
        let help = "write {url: https://…, blake3: <64 hexadecimal digits>}";
        let mut complete = true;
        for given in entries.iter().filter(|given| !matches!(&*given.key, "url" | "blake3")) {
            let message = format!("unknown key `{}` of {}", given.key, self.what());
            let problem = problems.at(given.key_origin, message).stage(self.stage);
            problem.nearest_or_all(&given.key, &["url", "blake3"]);
            complete = false;
        }
        let text = |key: &str, problems: &mut Problems| {
            let found = entry(entries, key);
            if found.is_none() {
                let message = format!("{} has no `{key}`", self.what());
                problems.with(node, message).stage(self.stage).help(help.to_owned());
            }
            let value = &found?.value;
            // YAML reads digits alone as a number and drops leading zeros.
            let text = value.as_text();
            if text.is_none() {
                let message = format!("`{key}` of {} is {}", self.what(), value.what());
                let problem = problems.with(value, message).stage(self.stage);
                problem.help("put it in quotes".to_owned());
            }
            text.map(|text| (text, value))
        };
        let url = text("url", problems);
        let digest = text("blake3", problems);
        let ((url, url_node), (digest, digest_node)) = (url?, digest?);
        if RemotePlace::has_password(url) {
            self.refuse_password(url_node, problems);
            return None;
        }
        let address = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if address.is_none_or(|rest| rest.is_empty() || rest.starts_with('/'))
            || url.chars().any(|character| character.is_whitespace() || character.is_control())
        {
            let message = format!("`url` of {} is not an http or https address", self.what());
            problems.with(url_node, message).stage(self.stage).help(help.to_owned());
            complete = false;
        }
        if !is_hex(digest, 64) {
            let message = format!("`blake3` of {} is not 64 hexadecimal digits", self.what());
            let problem = problems.with(digest_node, message).stage(self.stage);
            problem.help(format!("it has {} characters; `b3sum FILE` prints it", digest.len()));
            complete = false;
        }
        let (url, blake3) = (url.to_owned(), digest.to_ascii_lowercase());
        complete.then_some(Input::Url { url, blake3: Some(blake3) })
    }

    /// Refuses a folder where the built-in reads a file, and a file where it reads a folder.
    pub(super) fn check_kind(
        &self,
        input: &Input,
        spec: &InputSpec,
        node: &YamlNode,
        problems: &mut Problems,
    ) {
        let found = match input {
            Input::Path(path) if path.is_dir() => Some(Kind::Folder),
            Input::Path(path) if !path.exists() => None,
            Input::Path(_) | Input::Url { .. } | Input::HubData { .. } => Some(Kind::File),
            Input::Hub { .. } => Some(Kind::Folder),
            Input::Artifact { stage, output } => self
                .outputs
                .get(stage)
                .and_then(|outputs| outputs.iter().find(|known| known.name == *output))
                .and_then(|output| output.kind),
        };
        let words = |kind| match kind {
            Kind::File => "a file",
            Kind::Folder => "a folder",
        };
        if let Some(found) = found.filter(|found| *found != spec.kind) {
            let message = format!(
                "{} must be {}, `{input}` is {}",
                self.what(),
                words(spec.kind),
                words(found)
            );
            problems.with(node, message).stage(self.stage);
        }
    }
}

/// Whether a part of the path is a full Git commit, as in
/// `https://raw.githubusercontent.com/OWNER/NAME/COMMIT/FILE`.
fn names_commit(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.split('/').any(|part| is_hex(part, 40))
}

/// Whether a relative path leads out of the folder that it starts in.
pub(super) fn leaves(path: &Path) -> bool {
    let mut depth = 0i64;
    path.components().any(|part| {
        match part {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
        depth < 0
    })
}

/// The path without `.` components. `..` stays, since its meaning depends on symbolic links.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
