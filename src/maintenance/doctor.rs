//! `pipe doctor`: checks this binary, the machine, the store, the hub and the remotes.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::maintenance::gc::inventory::{entries, object_files};
use crate::pipeline::remote_settings::{Config, RemotePlace};
use crate::remote::Remote;
use crate::sources::hub_settings::HubSettings;
use crate::store::Store;
use crate::text::figures::{bytes, count};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Good,
    /// Something optional is missing.
    Note,
    Bad,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: &'static str,
    pub state: Severity,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    pub fn new(what: &'static str, state: Severity, text: String) -> Finding {
        Finding { what, state, text, hint: None }
    }

    pub fn hint(self, hint: &str) -> Finding {
        Finding { hint: Some(hint.to_owned()), ..self }
    }
}

/// How long to wait for an answer from the hub.
const PATIENCE: Duration = Duration::from_secs(5);

/// With less free space than this, in bytes, a model and its checkpoints may not fit.
const LITTLE_SPACE: u64 = 5_000_000_000;

/// The binary and its features.
pub fn binary() -> Finding {
    let has = |yes: bool| if yes { "built in" } else { "not built in" };
    let (model, cuda) = (cfg!(feature = "model"), cfg!(feature = "cuda"));
    let vulkan = cfg!(feature = "vulkan");
    let version = env!("CARGO_PKG_VERSION");
    let remotes = if cfg!(feature = "remotes") { "" } else { ", remotes folders only" };
    let text = format!(
        "version {version}, model {}, CUDA {}, Vulkan {}{remotes}",
        has(model),
        has(cuda),
        has(vulkan)
    );
    match model {
        true => Finding::new("pipe", Severity::Good, text),
        false => Finding::new("pipe", Severity::Note, text)
            .hint("`pretrain`, `finetune` and `predict` need a build with the default features"),
    }
}

/// Cores, vector instructions, memory.
pub fn machine() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let name = after(&processor, "model name").unwrap_or("unknown processor".to_owned());
    let text = format!("{name}, {}{}", count(cores, "core"), vectors());
    let mut findings = vec![Finding::new("processor", Severity::Good, text)];
    let memory = read("/proc/meminfo");
    let amount = |name: &str| {
        let kibibytes: u64 = after(&memory, name)?.strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    if let (Some(free), Some(total)) = (amount("MemAvailable"), amount("MemTotal")) {
        let text = format!("{} free of {}", bytes(free), bytes(total));
        findings.push(Finding::new("memory", Severity::Good, text));
    }
    findings
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if is_x86_feature_detected!("avx512bf16") {
        ", AVX-512 with bfloat16"
    } else if is_x86_feature_detected!("avx512f") {
        ", AVX-512"
    } else if is_x86_feature_detected!("avx2") {
        ", AVX2"
    } else {
        ", no AVX2: matrix products are slow"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    ""
}

/// The devices on which stages can compute, besides the CPU, or why there are none.
#[cfg(feature = "model")]
pub fn accelerators() -> Vec<Finding> {
    let inspected = stages::model::accelerator::inspection::inspect();
    inspected.into_iter().map(|found| found.map_or_else(missing, accelerator)).collect()
}

/// The devices on which stages can compute, besides the CPU, or why there are none.
#[cfg(not(feature = "model"))]
pub fn accelerators() -> Vec<Finding> {
    let text = "needs a build with the model".to_owned();
    vec![Finding::new("accelerator", Severity::Note, text)]
}

#[cfg(feature = "model")]
fn missing(error: stages::StageError) -> Finding {
    Finding::new("accelerator", Severity::Note, error.to_string())
}

/// A device that was found is good if stages on it can compute.
#[cfg(feature = "model")]
fn accelerator(found: stages::model::accelerator::inspection::Inspected) -> Finding {
    let text = std::iter::once(found.name).chain(found.details).collect::<Vec<_>>().join(", ");
    if found.problems.is_empty() {
        return Finding::new("accelerator", Severity::Good, text);
    }
    let text = format!("{text}; {}", found.problems.join("; "));
    Finding::new("accelerator", Severity::Bad, text).hint("`--device cpu` works without it")
}

/// Free space, contents and health of the store.
pub fn store(store: &Store) -> Finding {
    let root = store.root();
    let shown = root.display();
    let existing = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(existing);
    let free = disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        let text = format!("{shown} cannot be written");
        return Finding::new("store", Severity::Bad, text)
            .hint("check the permissions, or put the store elsewhere with `--cache DIR`");
    }
    let room = format!("{} free on its disk", bytes(free));
    if !root.is_dir() {
        return Finding::new(
            "store",
            Severity::Good,
            format!("{shown} does not exist yet, {room}"),
        );
    }
    let objects = match object_files(store) {
        Ok(objects) => objects,
        Err(error) => return Finding::new("store", Severity::Bad, error.to_string()),
    };
    let held = bytes(objects.values().sum());
    let text = format!("{shown}: {}, {held}, {room}", count(objects.len(), "object"));
    let damaged = entries(&store.quarantine_folder()).map_or(0, |found| found.len());
    if damaged > 0 {
        let text = format!("{text}; {} in quarantine", count(damaged, "damaged object"));
        return Finding::new("store", Severity::Note, text)
            .hint("`pipe cache verify` looks for more, `pipe cache gc --quarantine` empties it");
    }
    match free {
        0..LITTLE_SPACE => Finding::new("store", Severity::Note, text)
            .hint("models and checkpoints take gigabytes; `pipe cache gc` makes room"),
        _ => Finding::new("store", Severity::Good, text),
    }
}

/// Whether models can be downloaded for the project in `root`.
pub fn hub(root: &Path, offline: bool) -> Finding {
    let settings = HubSettings::from_environment(root);
    let token = if settings.token.is_some() { "with a token" } else { "without a token" };
    let by_hand = "local folders, and models in the shared cache, work without the hub";
    if offline || settings.offline {
        return Finding::new("hub", Severity::Note, "not contacted: offline".to_owned())
            .hint(by_hand);
    }
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build();
    let endpoint = &settings.endpoint;
    match ureq::Agent::new_with_config(config).head(endpoint).call() {
        Ok(response) if response.status().as_u16() < 500 => {
            Finding::new("hub", Severity::Good, format!("{endpoint} answers, {token}"))
        }
        Ok(response) => {
            let text = format!("{endpoint} answers with status {}", response.status().as_u16());
            Finding::new("hub", Severity::Note, text).hint(by_hand)
        }
        Err(error) => {
            let text = format!("{endpoint} does not answer: {error}");
            Finding::new("hub", Severity::Note, text).hint(by_hand)
        }
    }
}

/// Whether a remote answers.
pub fn remote(config: &Config, name: &str, offline: bool) -> Finding {
    let finding = |state, text: String| Finding::new("remote", state, format!("`{name}`: {text}"));
    let settings = match config.pick(Some(name)) {
        Ok(settings) => settings,
        Err(error) => return finding(Severity::Bad, error.to_string()),
    };
    let (place, trust) = (settings.place.to_string(), settings.trust.name());
    let signed = if settings.secret.is_some() { ", signed" } else { "" };
    if offline && !matches!(settings.place, RemotePlace::Folder(_)) {
        return finding(Severity::Note, format!("{place} is not contacted: offline"));
    }
    let looked = Remote::open(settings)
        .map(|remote| remote.ping().map_err(|trouble| remote.settings.error(trouble)));
    match looked {
        Ok(Ok(())) => finding(Severity::Good, format!("{place} answers, trust {trust}{signed}")),
        Ok(Err(error)) | Err(error) => {
            let hint = error.hint().unwrap_or_else(|| "runs work without it".to_owned());
            finding(Severity::Note, format!("{place}: {error}")).hint(&hint)
        }
    }
}
