//! Reads `remotes:` in the pipeline, and in the user's `~/.config/pipe/config.yaml`, which may also
//! hold secrets. Mistakes in either are reported in the same way.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use serde_json::Value;

use super::document::text_of;
use super::marks::{Origin, Span};
use super::model::Overrides;
use super::names::check_name;
use super::positions;
use super::problem::{PipelineError, Problems};
use super::remote_settings::{
    Config, Declared, RemotePlace, SECRET_VARIABLE, Secret, Trust, config_file,
};
use super::values::{self, Unreadable, Values};
use super::yaml::{YamlEntry, YamlNode, YamlValue};

/// The keys of a remote in the project.
pub const REMOTE_KEYS: [&str; 5] = ["url", "endpoint", "region", "trust", "timeout"];
/// Further keys of a remote, which only the user's file may have.
const SECRET_KEYS: [&str; 4] = ["access_key_id", "secret_access_key", "session_token", "secret"];
/// The keys at the top of the user's file.
const CONFIG_KEYS: [&str; 2] = ["remote", "remotes"];

/// Reads the remotes of the project. Relative folders start at `root`.
pub(super) fn project_remotes(
    node: &YamlNode,
    root: &Path,
    problems: &mut Problems,
) -> BTreeMap<String, Declared> {
    remotes(node, Some(root), problems)
}

/// Reads the user's file, if there is one.
///
/// # Errors
///
/// [`PipelineError`] if the file cannot be read, or with every problem in it.
pub fn load_config() -> Result<Config, PipelineError> {
    match config_file(|name| std::env::var_os(name)) {
        Some(file) if file.is_file() => read_config(&file),
        _ => Ok(Config::default()),
    }
}

/// The bytes of the user's file of remotes; none if there is no file.
pub fn config_bytes() -> io::Result<Vec<u8>> {
    match config_file(|name| std::env::var_os(name)) {
        Some(file) if file.is_file() => fs::read(file),
        _ => Ok(Vec::new()),
    }
}

fn read_config(file: &Path) -> Result<Config, PipelineError> {
    let unreadable = |source| PipelineError::Read { file: file.to_owned(), source };
    let text = text_of(file).map_err(unreadable)?;
    let overrides = Overrides::default();
    // The lines may hold secrets: without the text, no message shows them.
    let mut problems = Problems::new("", &overrides, &[]);
    let mut config = Config::default();
    let (duplicates, values) = values::read(&text);
    for duplicate in &duplicates {
        let message = format!("`{}` is given twice", duplicate.key);
        problems.at(Origin::File(duplicate.span), message);
    }
    match values {
        Ok(Values { yaml, mark }) => {
            let root = positions::join(yaml, mark, &mut problems);
            config_of(&root, &mut config, &mut problems);
        }
        Err(_) if !duplicates.is_empty() => {}
        Err(Unreadable { span, .. }) => {
            let place = Origin::File(Span { width: 0, ..span });
            problems.at(place, "this is not YAML".to_owned());
        }
    }
    if problems.is_empty() { Ok(config) } else { Err(problems.into_error(file)) }
}

fn config_of(root: &YamlNode, config: &mut Config, problems: &mut Problems) {
    let YamlValue::Map(entries) = &root.content else {
        if !root.is_null() {
            problems.at(root.origin, format!("the file must be a map, not {}", root.what()));
        }
        return;
    };
    for YamlEntry { key, key_origin, value } in entries {
        match key.as_str() {
            "remotes" => config.remotes = remotes(value, None, problems),
            "remote" => match value.as_text() {
                Some(name) => config.default = Some(name.to_owned()),
                None => {
                    let message = format!("`remote` must be a remote's name, not {}", value.what());
                    problems.at(value.origin, message);
                }
            },
            _ => {
                let problem = problems.at(*key_origin, format!("unknown key `{key}`"));
                problem.nearest_or_all(key, &CONFIG_KEYS);
            }
        }
    }
}

/// Reads a map of remotes: of the project if there is a `root`, else of the user's file.
fn remotes(
    node: &YamlNode,
    root: Option<&Path>,
    problems: &mut Problems,
) -> BTreeMap<String, Declared> {
    let mut declared = BTreeMap::new();
    let YamlValue::Map(entries) = &node.content else {
        if !node.is_null() {
            let message = format!("`remotes` must be a map, not {}", node.what());
            problems
                .at(node.origin, message)
                .help("write `{name: URL}`, such as `{lab: /mnt/lab/results}`".to_owned());
        }
        return declared;
    };
    for YamlEntry { key: name, key_origin, value } in entries {
        check_name("remote", name, *key_origin, problems);
        let remote = match &value.content {
            YamlValue::Scalar(Value::String(_)) => {
                Declared { place: place(value, name, root, problems), ..Declared::default() }
            }
            YamlValue::Map(entries) => {
                let (mut remote, before) = (Declared::default(), problems.len());
                for entry in entries {
                    read_entry(&mut remote, name, entry, root, problems);
                }
                // Report a missing `url` only if no other mistake explains it.
                if remote.place.is_none() && root.is_some() && problems.len() == before {
                    let message = format!("remote `{name}` has no `url`");
                    let help = "a folder, `s3://bucket/prefix` or `https://…`".to_owned();
                    problems.at(*key_origin, message).help(help);
                }
                remote
            }
            _ => {
                let message =
                    format!("remote `{name}` must be a URL or a map, not {}", value.what());
                problems.at(value.origin, message);
                continue;
            }
        };
        declared.insert(name.clone(), remote);
    }
    declared
}

/// Reads one key of a remote.
fn read_entry(
    remote: &mut Declared,
    name: &str,
    entry: &YamlEntry,
    root: Option<&Path>,
    problems: &mut Problems,
) {
    let YamlEntry { key, key_origin, value } = entry;
    let is_secret = SECRET_KEYS.contains(&key.as_str());
    if is_secret && root.is_some() {
        let message = format!("`{key}` of remote `{name}` must not be in the project");
        let variable = match key.as_str() {
            "access_key_id" => "AWS_ACCESS_KEY_ID",
            "secret_access_key" => "AWS_SECRET_ACCESS_KEY",
            "session_token" => "AWS_SESSION_TOKEN",
            _ => SECRET_VARIABLE,
        };
        problems.at(*key_origin, message).hide_text().help(format!(
            "write it in `~/.config/pipe/config.yaml`, as `remotes: {{{name}: {{{key}: …}}}}`, or \
             set the variable {variable}"
        ));
        return;
    }
    let known = REMOTE_KEYS.contains(&key.as_str()) || is_secret;
    if !known {
        let message = format!("unknown key `{key}` of remote `{name}`");
        problems.at(*key_origin, message).nearest_or_all(key, &REMOTE_KEYS);
        return;
    }
    let Some(text) = value.as_text().filter(|text| !text.trim().is_empty()) else {
        let message = format!("`{key}` of remote `{name}` must be a text, not {}", value.what());
        problems.at(value.origin, message);
        return;
    };
    let owned = Some(text.to_owned());
    let secret = Some(Secret(text.to_owned()));
    match key.as_str() {
        "url" => remote.place = place(value, name, root, problems),
        "endpoint" if RemotePlace::has_password(text) => refuse_password(value, name, problems),
        "endpoint" if !text.starts_with("http://") && !text.starts_with("https://") => {
            let message = format!("`endpoint` of remote `{name}` is not an address");
            problems.with(value, message).help("begin it with `https://`".to_owned());
        }
        "endpoint" => remote.endpoint = owned,
        "region" => remote.region = owned,
        "trust" => match Trust::parse(text) {
            Some(trust) => remote.trust = Some(trust),
            None => {
                let message = format!("`trust` of remote `{name}` is `{text}`");
                problems.with(value, message).nearest_or_all(text, &Trust::NAMES);
            }
        },
        "timeout" => match humantime::parse_duration(text) {
            Ok(timeout) if timeout >= Duration::from_millis(100) => remote.timeout = Some(timeout),
            _ => {
                let message = format!(
                    "`timeout` of remote `{name}` is `{text}`, expected a duration such as `10s`"
                );
                problems.with(value, message);
            }
        },
        "access_key_id" => remote.access_key_id = secret,
        "secret_access_key" => remote.secret_access_key = secret,
        "session_token" => remote.session_token = secret,
        _ => remote.secret = secret,
    }
}

fn place(
    value: &YamlNode,
    name: &str,
    root: Option<&Path>,
    problems: &mut Problems,
) -> Option<RemotePlace> {
    let url = value.as_text().unwrap_or_default();
    if RemotePlace::has_password(url) {
        refuse_password(value, name, problems);
        return None;
    }
    match RemotePlace::parse(url, root) {
        Ok(place) => Some(place),
        Err(problem) => {
            problems.with(value, format!("the URL of remote `{name}` {problem}"));
            None
        }
    }
}

fn refuse_password(value: &YamlNode, name: &str, problems: &mut Problems) {
    let message = format!("the address of remote `{name}` has a user name in it");
    problems
        .at(value.origin, message)
        .hide_text()
        .help("put keys for S3 into `~/.config/pipe/config.yaml` or AWS_… variables".to_owned());
}
