//! The shape of the file: the keys of each level and the kind of value that each takes. A
//! [`Document`] still holds variables, and knows where every value was written.

use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::kept_tree::KeptTree;
use super::marks::Origin;
use super::names::check_name;
use super::positions;
use super::problem::{PipelineError, Problems};
use super::values::{self, Unreadable, Values};
use super::yaml::{YamlEntry, YamlNode, YamlValue};
use crate::text::variants::family;

/// The keys at the top of the file.
pub const TOP_KEYS: [&str; 8] =
    ["vars", "profiles", "resources", "remotes", "executor", "slurm", "stages", "sweeps"];
/// The keys of a stage.
pub const STAGE_KEYS: [&str; 16] = [
    "uses",
    "run",
    "inputs",
    "params",
    "outputs",
    "publish",
    "env",
    "salt",
    "foreach",
    "matrix",
    "frozen",
    "always",
    "retries",
    "timeout",
    "resources",
    "executor",
];

/// The keys of a stage that `handling` reads.
pub(super) const HANDLING_KEYS: [&str; 6] =
    ["frozen", "always", "retries", "timeout", "resources", "executor"];

/// Names that no stage may have: as prefixes of an input, `hub:…` and URLs mean something else.
const RESERVED_STAGES: [&str; 3] = ["hub", "http", "https"];

/// The file, split into sections of the right kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) vars: Vec<YamlEntry>,
    pub(super) profiles: Vec<Profile>,
    /// How many units of each resource there are.
    pub(super) resources: Option<YamlNode>,
    pub(super) remotes: Option<YamlNode>,
    /// The executor of stages that name none.
    pub(super) executor: Option<YamlNode>,
    /// Default requests to Slurm.
    pub(super) slurm: Option<YamlNode>,
    pub(super) stages: Vec<Draft>,
    pub(super) sweeps: Vec<YamlEntry>,
}

#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) overrides: Vec<YamlEntry>,
}

/// A stage as written. An absent section is empty.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) uses: Option<YamlNode>,
    pub(super) run: Option<YamlNode>,
    pub(super) inputs: Vec<YamlEntry>,
    pub(super) params: Vec<YamlEntry>,
    pub(super) outputs: Option<YamlNode>,
    pub(super) publish: Vec<YamlEntry>,
    pub(super) env: Option<YamlNode>,
    pub(super) salt: Option<YamlNode>,
    /// The entries under [`HANDLING_KEYS`].
    pub(super) handling: Vec<YamlEntry>,
    pub(super) foreach: Option<YamlNode>,
    pub(super) matrix: Option<YamlNode>,
    /// The variables that exist only in this variant.
    pub(super) locals: Vec<(String, YamlNode)>,
}

impl Draft {
    /// The built-in that the stage names; `None` for a command or an unknown built-in.
    pub(super) fn builtin<'r>(
        &self,
        registry: &[&'r dyn stages::Stage],
    ) -> Option<&'r dyn stages::Stage> {
        if self.run.is_some() {
            return None;
        }
        let name = self.uses.as_ref().and_then(YamlNode::as_text).unwrap_or(family(&self.name));
        registry.iter().copied().find(|stage| stage.name() == name)
    }
}

/// The entry with the given key.
pub(super) fn entry<'a>(entries: &'a [YamlEntry], key: &str) -> Option<&'a YamlEntry> {
    entries.iter().find(|entry| entry.key == key)
}

impl Document {
    /// Reads the text of a pipeline. Reports mistakes to `problems` and returns the rest, so that
    /// one pass reports as many mistakes as possible.
    ///
    /// The text is not read if `kept` has its tree. Otherwise `kept` learns it, unless there is a
    /// mistake in the text itself.
    pub(super) fn read(
        text: &str,
        kept: Option<&mut KeptTree>,
        problems: &mut Problems,
    ) -> Document {
        if let Some(root) = kept.as_ref().and_then(|kept| kept.find(text)) {
            return Document::from_root(root, problems);
        }
        let before = problems.len();
        let (duplicates, values) = values::read(text);
        for duplicate in &duplicates {
            problems
                .at(Origin::File(duplicate.span), format!("`{}` is given twice", duplicate.key))
                .note(format!("the first one is at line {}", duplicate.first_line));
        }
        match values {
            Ok(Values { yaml, mark }) => {
                let root = positions::join(yaml, mark, problems);
                if let Some(kept) = kept.filter(|_| problems.len() == before) {
                    kept.learn(text, &root);
                }
                Document::from_root(root, problems)
            }
            // `serde_yaml` stops at a duplicate key, which has been reported with its line.
            Err(_) if !duplicates.is_empty() => Document::default(),
            Err(Unreadable { span, problem }) => {
                problems.at(Origin::File(span), problem);
                Document::default()
            }
        }
    }

    fn from_root(root: YamlNode, problems: &mut Problems) -> Document {
        let origin = root.origin;
        if root.is_null() {
            problems
                .at(origin, "the file is empty".to_owned())
                .help("begin with `stages:`".to_owned());
            return Document::default();
        }
        let mut document = Document::default();
        let mut has_stages = false;
        for YamlEntry { key, key_origin, value } in map(root, &"the pipeline", problems) {
            match key.as_str() {
                "vars" => document.vars = map(value, &"`vars`", problems),
                "profiles" => {
                    for YamlEntry { key, key_origin, value } in map(value, &"`profiles`", problems)
                    {
                        check_name("profile", &key, key_origin, problems);
                        let overrides = map(value, &format_args!("profile `{key}`"), problems);
                        document.profiles.push(Profile { name: key, overrides });
                    }
                }
                "resources" => document.resources = Some(value),
                "remotes" => document.remotes = Some(value),
                "executor" => document.executor = Some(value),
                "slurm" => document.slurm = Some(value),
                "sweeps" => document.sweeps = map(value, &"`sweeps`", problems),
                "stages" => {
                    has_stages = true;
                    for entry in map(value, &"`stages`", problems) {
                        document.stages.push(Document::draft(entry, problems));
                    }
                }
                _ => {
                    let problem = problems.at(key_origin, format!("unknown key `{key}`"));
                    problem.nearest_or_all(&key, &TOP_KEYS);
                }
            }
        }
        if document.stages.is_empty() {
            let problem = problems.at(origin, "the pipeline has no stages".to_owned());
            if !has_stages {
                problem.help("declare them under `stages:`".to_owned());
            }
        }
        document
    }

    fn draft(entry: YamlEntry, problems: &mut Problems) -> Draft {
        let YamlEntry { key: name, key_origin: origin, value } = entry;
        check_name("stage", &name, origin, problems);
        if RESERVED_STAGES.contains(&name.as_str()) {
            problems
                .at(origin, format!("a stage cannot be called `{name}`"))
                .stage(&name)
                .help(format!("as an input, `{name}:…` means something else; choose another name"));
        }
        let mut draft = Draft {
            name,
            origin,
            uses: None,
            run: None,
            inputs: Vec::new(),
            params: Vec::new(),
            outputs: None,
            publish: Vec::new(),
            env: None,
            salt: None,
            handling: Vec::new(),
            foreach: None,
            matrix: None,
            locals: Vec::new(),
        };
        if !matches!(value.content, YamlValue::Map(_)) && !value.is_null() {
            // Otherwise the stage would also be reported as one without `run`.
            draft.run = Some(YamlNode::scalar(String::new().into(), value.origin));
        }
        for YamlEntry { key, key_origin, value } in
            map(value, &format_args!("stage `{}`", draft.name), problems)
        {
            let what = &format_args!("`{key}` of stage `{}`", draft.name);
            match key.as_str() {
                "uses" => draft.uses = text(value, what, problems),
                "run" => draft.run = text(value, what, problems),
                "inputs" => draft.inputs = map(value, what, problems),
                "params" => draft.params = map(value, what, problems),
                "outputs" => draft.outputs = Some(value),
                "publish" => draft.publish = map(value, what, problems),
                "env" => draft.env = Some(value),
                "salt" => draft.salt = Some(value),
                known if HANDLING_KEYS.contains(&known) => {
                    draft.handling.push(YamlEntry { key, key_origin, value });
                }
                "foreach" => draft.foreach = Some(value),
                "matrix" => draft.matrix = Some(value),
                _ => {
                    let message = format!("unknown key `{key}` of stage `{}`", draft.name);
                    let problem = problems.at(key_origin, message).stage(&draft.name);
                    problem.nearest_or_all(&key, &STAGE_KEYS);
                    // Most likely a parameter that belongs under `params`.
                    if crate::text::suggest::nearest(&key, STAGE_KEYS).is_none() {
                        problem.note("parameters go under `params:`".to_owned());
                    }
                }
            }
        }
        draft
    }
}

/// The entries of a map; null counts as an empty map.
fn map(node: YamlNode, what: &dyn Display, problems: &mut Problems) -> Vec<YamlEntry> {
    match node.content {
        YamlValue::Map(entries) => entries,
        YamlValue::Scalar(Value::Null) => Vec::new(),
        _ => {
            problems.at(node.origin, format!("{what} must be a map, not {}", node.what()));
            Vec::new()
        }
    }
}

fn text(node: YamlNode, what: &dyn Display, problems: &mut Problems) -> Option<YamlNode> {
    if node.as_text().is_none_or(|text| text.trim().is_empty()) {
        let found = if node.as_text().is_some() { "an empty one" } else { node.what() };
        problems.at(node.origin, format!("{what} must be a text, not {found}"));
        // Otherwise the stage would also be reported as one without `run`.
        return Some(YamlNode::scalar(String::new().into(), node.origin));
    }
    Some(node)
}

/// The text of a pipeline file, and its paths.
pub(super) struct FileText {
    pub(super) file: PathBuf,
    pub(super) absolute: PathBuf,
    pub(super) root: PathBuf,
    pub(super) text: String,
}

impl FileText {
    pub(super) fn read(file: &Path) -> Result<FileText, PipelineError> {
        let unreadable = |source| PipelineError::Read { file: file.to_owned(), source };
        let text = text_of(file).map_err(unreadable)?;
        let absolute = std::path::absolute(file).map_err(unreadable)?;
        let root = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(FileText { file: file.to_owned(), absolute, root, text })
    }

    /// A text that stands in no file.
    pub(super) fn nowhere(text: &str) -> FileText {
        let (file, root) = (PathBuf::from("no pipeline"), PathBuf::new());
        FileText { absolute: file.clone(), file, root, text: text.to_owned() }
    }
}

/// No pipeline is longer than this, in bytes.
const LONGEST: u64 = 64 << 20;

/// Reads a file of a bounded length. A named pipe may have no writer and would be waited for; a
/// nameless one, as in `-f <(command)`, has.
pub(super) fn text_of(file: &Path) -> io::Result<String> {
    let wrong = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
    if fs::metadata(file)?.file_type().is_fifo() && file.canonicalize().is_ok() {
        return Err(wrong("it is a FIFO (a named pipe), not a file"));
    }
    let mut text = String::new();
    fs::File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LONGEST {
        true => Err(wrong("it is longer than 64 MiB")),
        false => Ok(text),
    }
}
