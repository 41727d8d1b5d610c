//! Reads `executor`, the section `slurm`, and the keys of `resources` that are requests to a
//! scheduler.

use serde_json::Value;

use super::problem::Problems;
use super::request::{ExecutorName, REQUEST_KEYS, Request, Transfer};
use super::scalars::{duration, shown, truth, whole};
use super::yaml::{YamlEntry, YamlNode, YamlValue};

/// Upper bound on `cpus`: no machine has more cores.
const MOST_CPUS: u64 = 65_536;
/// Upper bound on `array_limit`: more is surely a typo.
const MOST_AT_ONCE: u64 = 1_000_000;

/// Options of `sbatch` that the engine sets itself.
const OURS: [&str; 12] = [
    "--array",
    "--output",
    "--error",
    "--job-name",
    "--parsable",
    "--wrap",
    "--nodes",
    "--ntasks",
    "--signal",
    "--dependency",
    "--wait",
    "--chdir",
];

/// Reads an entry with a key of [`REQUEST_KEYS`] into `request`. `what` and `stage` are for
/// messages.
pub(super) fn read_request_key(
    request: &mut Request,
    entry: &YamlEntry,
    what: &str,
    stage: Option<&str>,
    problems: &mut Problems,
) {
    let YamlEntry { key, value, .. } = entry;
    let (found, expected) = match key.as_str() {
        "cpus" => (
            whole(value, 1, MOST_CPUS).map(|cpus| request.cpus = Some(cpus)),
            format!("a whole number from 1 to {MOST_CPUS}"),
        ),
        "memory" => (
            memory(value).map(|memory| request.memory = Some(memory)),
            "the memory of one node, such as `8G` or `500M`".to_owned(),
        ),
        "time" => (
            duration(value).map(|time| request.time = Some(time)),
            "a duration such as `30m` or `2h 15m`".to_owned(),
        ),
        "late_files" => (
            duration(value).map(|time| request.late_files = Some(time)),
            "a duration such as `60s`".to_owned(),
        ),
        "transfer" => (
            word(value)
                .and_then(|word| match word.as_str() {
                    "shared" => Some(Transfer::Shared),
                    "remote" => Some(Transfer::Remote),
                    _ => None,
                })
                .map(|transfer| request.transfer = Some(transfer)),
            "`shared` (a file system that the nodes share) or `remote`".to_owned(),
        ),
        "partition" => (
            word(value).map(|name| request.partition = Some(name)),
            "a partition's name".to_owned(),
        ),
        "account" => {
            (word(value).map(|name| request.account = Some(name)), "an account's name".to_owned())
        }
        "requeue" => (
            truth(value).map(|requeue| request.requeue = Some(requeue)),
            "`true` or `false`".to_owned(),
        ),
        "array_limit" => (
            whole(value, 1, MOST_AT_ONCE).map(|limit| request.array_limit = Some(limit)),
            format!("a whole number from 1 to {MOST_AT_ONCE}"),
        ),
        _ => (
            options(value).map(|options| request.options = options),
            "a list of options such as `[--qos=high, --constraint=a100]`".to_owned(),
        ),
    };
    if found.is_none() {
        let message = format!("`{key}` in {what} is {}, expected {expected}", shown(value));
        problems.with(value, message).stage = stage.map(str::to_owned);
    }
    let own = request.options.iter().find(|option| is_ours(option));
    if let Some(option) = own.filter(|_| key == "options") {
        let message = format!("`{option}` in {what} is set by the engine itself");
        problems.at(value.origin, message).stage = stage.map(str::to_owned);
    }
}

/// Whether the engine sets this option itself, in its long or short form.
fn is_ours(option: &str) -> bool {
    let name = option.split(['=', ' ']).next().unwrap_or_default();
    OURS.contains(&name) || ["-a", "-o", "-e", "-J", "-N", "-n", "-d", "-W", "-D"].contains(&name)
}

/// Reads the name of an executor. Reports an unknown one.
pub(super) fn read_executor(
    node: &YamlNode,
    what: &str,
    stage: Option<&str>,
    problems: &mut Problems,
) -> Option<ExecutorName> {
    let found = node.as_text().and_then(ExecutorName::find);
    if found.is_none() {
        let message = format!("{what} is {}, expected an executor", shown(node));
        let names = ExecutorName::ALL.map(ExecutorName::name);
        let problem = problems.with(node, message);
        problem.stage = stage.map(str::to_owned);
        problem.nearest_or_all(node.as_text().unwrap_or_default(), &names);
    }
    found
}

/// Reads the section `slurm` at the top of the file: default requests of all stages.
pub(super) fn read_slurm_defaults(node: &YamlNode, problems: &mut Problems) -> Request {
    let mut request = Request::default();
    let YamlValue::Map(entries) = &node.content else {
        if !node.is_null() {
            let message = format!("`slurm` must be a map, not {}", node.what());
            problems.at(node.origin, message).help("write `slurm: {partition: gpu}`".to_owned());
        }
        return request;
    };
    for entry in entries {
        if entry.key == "gpu" {
            match whole(&entry.value, 0, 4096) {
                Some(count) => request.gpus = Some(count),
                None => {
                    let found = shown(&entry.value);
                    let message = format!("`gpu` in `slurm` is {found}, expected a whole number");
                    problems.with(&entry.value, message);
                }
            }
        } else if REQUEST_KEYS.contains(&entry.key.as_str()) {
            read_request_key(&mut request, entry, "`slurm`", None, problems);
        } else {
            let message = format!("unknown key `{}` in `slurm`", entry.key);
            let known: Vec<&str> = REQUEST_KEYS.into_iter().chain(["gpu"]).collect();
            problems.at(entry.key_origin, message).nearest_or_all(&entry.key, &known);
        }
    }
    request
}

/// Reads a size: `8G`, `8GB` and `8GiB` are all `8G` for Slurm. A plain number is refused, since
/// Slurm would take it as megabytes.
fn memory(node: &YamlNode) -> Option<String> {
    let text = node.as_text()?.trim();
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let letter = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let known = ["K", "M", "G", "T"].contains(&letter);
    (known && number.parse::<u64>().is_ok_and(|number| number > 0))
        .then(|| format!("{number}{letter}"))
}

/// Reads a name or a word that is safe as an argument.
fn word(node: &YamlNode) -> Option<String> {
    let text = match &node.content {
        YamlValue::Scalar(Value::Number(number)) => number.to_string(),
        _ => node.as_text()?.to_owned(),
    };
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-.,:@+".contains(char);
    (!text.is_empty() && !text.starts_with('-') && text.chars().all(plain)).then_some(text)
}

fn options(node: &YamlNode) -> Option<Vec<String>> {
    let YamlValue::List(items) = &node.content else { return None };
    let option = |item: &YamlNode| item.as_text().filter(|text| is_option(text)).map(str::to_owned);
    items.iter().map(option).collect()
}

/// Whether a text is a single option. A newline would end its line in the batch script.
fn is_option(text: &str) -> bool {
    text.starts_with('-') && text.len() > 1 && !text.contains(char::is_control)
}
