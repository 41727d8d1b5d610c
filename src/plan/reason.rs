//! Reasons: why a stage has to run, as data, with a sentence for people and JSON for programs. The
//! reason compares a stage with its nearest earlier record, the one with the fewest differing
//! fields.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::files::digest::{Content, Digest};
use crate::files::tree::Tree;
use crate::pipeline::{Input, Stage};
use crate::plan::folder_change::FolderChange;
use crate::store::Store;
use crate::store::key::{ActionField, Key, KeyFields, canonical_value, shown_env};
use crate::store::record::Record;
use crate::text::values::{contrasted, shorten, value_text};

/// Why a stage runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    NeverRan,
    /// These fields of the key differ from the nearest earlier record.
    Changed {
        changes: Vec<Change>,
        since: String,
        key: Key,
    },
    /// There is a record, but an object that it names is missing.
    ObjectMissing {
        output: String,
        content: Content,
    },
    /// The bytes of an object do not match its digest.
    ObjectDamaged {
        output: String,
        digest: Digest,
    },
    Forced,
    /// `always: true`
    Always,
}

/// One field of the key that differs. `None` means that the field is missing on that side.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "field", rename_all = "snake_case")]
pub enum Change {
    Builtin {
        from: String,
        to: String,
    },
    Version {
        builtin: String,
        from: u32,
        to: u32,
    },
    Command {
        from: String,
        to: String,
    },
    Param {
        name: String,
        from: Option<Value>,
        to: Option<Value>,
    },
    Input {
        name: String,
        from: Option<Content>,
        to: Option<Content>,
        origin: Option<String>,
        /// For a folder whose listings are known on both sides.
        #[serde(skip_serializing_if = "Option::is_none")]
        files: Option<FolderChange>,
    },
    Output {
        name: String,
        declared: bool,
    },
    /// The file name of an output of a command.
    OutputFile {
        name: String,
        from: String,
        to: String,
    },
    Env {
        name: String,
        from: Option<String>,
        to: Option<String>,
    },
    Salt {
        from: Option<String>,
        to: Option<String>,
    },
}

/// How many earlier records of a stage to compare with.
const NEAREST_OF: usize = 64;

impl Reason {
    /// Why a stage runs whose key has no record.
    pub fn of_new_key(stage: &Stage, fields: &KeyFields, store: &Store) -> Reason {
        nearest(stage, fields, &store.history_of(stage, NEAREST_OF))
    }

    /// Adds the files that differ in folders, if `listing` knows both listings.
    pub fn name_files(&mut self, listing: &dyn Fn(Content) -> Option<Tree>) {
        let Reason::Changed { changes, .. } = self else { return };
        for change in changes {
            if let Change::Input { from: Some(from), to: Some(to), files, .. } = change
                && let (Some(from), Some(to)) = (listing(*from), listing(*to))
            {
                *files = Some(FolderChange::between(&from, &to));
            }
        }
    }
}

impl Reason {
    /// Why a stage runs whatever its unknown inputs turn out to be; `fields` lacks these inputs.
    /// `None` if some earlier record differs in unknown inputs at most.
    pub fn of_partial_key(stage: &Stage, fields: &KeyFields, store: &Store) -> Option<Reason> {
        let records = store.history_of(stage, NEAREST_OF);
        let compared = records.iter().map(|record| {
            let mut changes = changes(stage, &record.fields, fields);
            // An input that is not known yet looks removed, but may turn out to be the same.
            changes.retain(|change| match change {
                Change::Input { name, to: None, .. } => !stage.inputs.contains_key(name),
                _ => true,
            });
            // An input that the record lacks, such as a new entry of a set, is a change in any
            // case.
            let unknown =
                stage.inputs.iter().filter(|(name, _)| !fields.inputs.contains_key(*name));
            for (name, input) in
                unknown.filter(|(name, _)| !record.fields.inputs.contains_key(*name))
            {
                let (name, origin) = (name.clone(), Some(origin(input)));
                changes.push(Change::Input { name, from: None, to: None, origin, files: None });
            }
            (changes, record)
        });
        match compared.min_by_key(|(changes, _)| changes.len()) {
            None => Some(Reason::NeverRan),
            Some((changes, _)) if changes.is_empty() => None,
            Some((changes, record)) => {
                Some(Reason::Changed { changes, since: record.when.clone(), key: record.key })
            }
        }
    }
}

/// The comparison with the nearest of `records`, which are sorted from the newest.
fn nearest(stage: &Stage, fields: &KeyFields, records: &[Record]) -> Reason {
    let compared = records.iter().map(|record| (changes(stage, &record.fields, fields), record));
    match compared.min_by_key(|(changes, _)| changes.len()) {
        None => Reason::NeverRan,
        Some((changes, record)) => {
            Reason::Changed { changes, since: record.when.clone(), key: record.key }
        }
    }
}

/// The fields that differ between an earlier key and the current one, in the order in which the
/// crate's documentation lists them.
pub fn changes(stage: &Stage, from: &KeyFields, to: &KeyFields) -> Vec<Change> {
    changes_between(from, to, &|name| stage.inputs.get(name).map(origin))
}

/// Like [`changes`], for two earlier keys. `origin` says where an input comes from, if that is
/// known.
pub fn changes_between(
    from: &KeyFields,
    to: &KeyFields,
    origin: &dyn Fn(&str) -> Option<String>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(action_change(&from.action, &to.action));
    for name in names(from.params.keys(), to.params.keys()) {
        let (from, to) = (from.params.get(name).cloned(), to.params.get(name).cloned());
        // As the key sees them: 0.0 and -0.0 compare as equal.
        if from.as_ref().map(canonical_value) != to.as_ref().map(canonical_value) {
            changes.push(Change::Param { name: name.clone(), from, to });
        }
    }
    for name in names(from.inputs.keys(), to.inputs.keys()) {
        let (from, to) = (from.inputs.get(name).copied(), to.inputs.get(name).copied());
        if from != to {
            let origin = origin(name);
            changes.push(Change::Input { name: name.clone(), from, to, origin, files: None });
        }
    }
    for name in from.outputs.symmetric_difference(&to.outputs) {
        let declared = to.outputs.contains(name);
        changes.push(Change::Output { name: name.clone(), declared });
    }
    for name in from.outputs.intersection(&to.outputs) {
        let file = |fields: &KeyFields| fields.files.get(name).unwrap_or(name).clone();
        let (from, to) = (file(from), file(to));
        if from != to {
            changes.push(Change::OutputFile { name: name.clone(), from, to });
        }
    }
    for name in names(from.env.keys(), to.env.keys()) {
        let (old, new) = (from.env.get(name), to.env.get(name));
        if old != new {
            let (from, to) = (old.cloned().flatten(), new.cloned().flatten());
            changes.push(Change::Env { name: name.clone(), from, to });
        }
    }
    if from.salt != to.salt {
        changes.push(Change::Salt { from: from.salt.clone(), to: to.salt.clone() });
    }
    changes
}

fn names<'a>(
    from: impl Iterator<Item = &'a String>,
    to: impl Iterator<Item = &'a String>,
) -> BTreeSet<&'a String> {
    from.chain(to).collect()
}

fn action_change(from: &ActionField, to: &ActionField) -> Option<Change> {
    use ActionField::{Builtin, Command};
    match (from, to) {
        _ if from == to => None,
        (Builtin { name, version: from }, Builtin { name: new, version: to }) if name == new => {
            Some(Change::Version { builtin: name.clone(), from: *from, to: *to })
        }
        (Command { text: from }, Command { text: to }) => {
            Some(Change::Command { from: from.clone(), to: to.clone() })
        }
        _ => Some(Change::Builtin { from: action_name(from), to: action_name(to) }),
    }
}

fn action_name(action: &ActionField) -> String {
    action.builtin().unwrap_or("a command").to_owned()
}

/// Where an input comes from, in brief; a path as seen from the current folder.
pub fn origin(input: &Input) -> String {
    match input {
        Input::Path(path) => shown_path(path),
        other => other.to_string(),
    }
}

/// A path relative to the current folder, if it is below that.
pub fn shown_path(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Reason::NeverRan => f.write_str("never ran"),
            Reason::Changed { changes, .. } if changes.is_empty() => {
                f.write_str("its record is gone or damaged")
            }
            Reason::Changed { changes, .. } => {
                for (index, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if index > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Reason::ObjectMissing { output, content } => {
                write!(
                    f,
                    "output `{output}` ({}) is missing from the store",
                    content.digest.short()
                )
            }
            Reason::ObjectDamaged { output, digest } => {
                write!(f, "output `{output}` was damaged in the store ({})", digest.short())
            }
            Reason::Forced => f.write_str("forced"),
            Reason::Always => f.write_str("always"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Change::Builtin { from, to } => write!(f, "runs {to}, before {from}"),
            Change::Version { builtin, from, to } => {
                write!(f, "`{builtin}` version {from} → {to}")
            }
            Change::Command { .. } => f.write_str("command changed"),
            Change::Param { name, from, to } => {
                added_or_changed(f, name, from.as_ref(), to.as_ref())
            }
            Change::Input { name, files: Some(files), .. } => {
                write!(f, "input `{name}` changed: {files}")
            }
            Change::Input { name, from, to, origin, .. } => {
                let what = match (from, to) {
                    (None, _) => "added",
                    (_, None) => "removed",
                    (Some(from), Some(to)) if from.digest != to.digest => "changed",
                    (_, Some(to)) if to.executable => "is executable now",
                    _ => "is not executable any more",
                };
                write!(f, "input `{name}` {what}")?;
                origin.as_ref().map_or(Ok(()), |origin| write!(f, " ({origin})"))
            }
            Change::Output { name, declared: true } => write!(f, "output `{name}` added"),
            Change::Output { name, declared: false } => write!(f, "output `{name}` removed"),
            Change::OutputFile { name, from, to } => {
                write!(f, "the file of output `{name}` {} → {}", shorten(from), shorten(to))
            }
            Change::Env { name, from, to } => {
                let shown = |text: &Option<String>| text.as_deref().map(shown_env).map(Value::from);
                added_or_changed(f, &format!("${name}"), shown(from).as_ref(), shown(to).as_ref())
            }
            Change::Salt { from, to } => {
                let (from, to) = (text_value(from), text_value(to));
                added_or_changed(f, "salt", from.as_ref(), to.as_ref())
            }
        }
    }
}

fn text_value(text: &Option<String>) -> Option<Value> {
    text.as_deref().map(Value::from)
}

fn added_or_changed(
    f: &mut fmt::Formatter,
    name: &str,
    from: Option<&Value>,
    to: Option<&Value>,
) -> fmt::Result {
    let short = |value: &Value| shorten(&value_text(value));
    match (from, to) {
        (Some(from), Some(to)) => {
            let (from, to) = contrasted(from, to);
            write!(f, "{name} {from} → {to}")
        }
        (None, Some(to)) => write!(f, "{name} added ({})", short(to)),
        (Some(from), None) => write!(f, "{name} removed (was {})", short(from)),
        (None, None) => write!(f, "{name} changed"),
    }
}
