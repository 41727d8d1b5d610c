//! What `pipe doctor` finds: whether this binary, machine, pipeline and store are fit for work.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::maintenance::gc::inventory::{entries, object_files};
use crate::pipeline::remote_settings::{Config, RemotePlace};
use crate::remote::Remote;
use crate::sources::hub_settings::HubSettings;
use crate::store::Store;
use crate::text::figures::{bytes, count};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Good,
    /// Something is missing that one may do without.
    Note,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub what: &'static str,
    pub state: State,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    pub fn new(what: &'static str, state: State, text: String) -> Finding {
        Finding { what, state, text, hint: None }
    }

    pub fn hint(self, hint: &str) -> Finding {
        Finding { hint: Some(hint.to_owned()), ..self }
    }
}

/// How long the hub may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Less than this is free for a model and its checkpoints: 5 GB.
const LITTLE_SPACE: u64 = 5_000_000_000;

/// The binary and what is built into it.
pub fn binary() -> Finding {
    let has = |yes: bool| if yes { "built in" } else { "not built in" };
    let (model, cuda) = (cfg!(feature = "model"), cfg!(feature = "cuda"));
    let version = env!("CARGO_PKG_VERSION");
    let remotes = if cfg!(feature = "remotes") { "" } else { ", remotes folders only" };
    let text = format!("version {version}, model {}, CUDA {}{remotes}", has(model), has(cuda));
    match model {
        true => Finding::new("pipe", State::Good, text),
        false => Finding::new("pipe", State::Note, text)
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
    let name = after(&processor, "model name").unwrap_or("processor of unknown name".to_owned());
    let text = format!("{name}, {}{}", count(cores, "core"), vectors());
    let mut findings = vec![Finding::new("processor", State::Good, text)];
    let memory = read("/proc/meminfo");
    let amount = |name: &str| {
        let kibibytes: u64 = after(&memory, name)?.strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    if let (Some(free), Some(total)) = (amount("MemAvailable"), amount("MemTotal")) {
        let text = format!("{} free of {}", bytes(free), bytes(total));
        findings.push(Finding::new("memory", State::Good, text));
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

/// Where stages can compute besides the processor.
#[cfg(feature = "model")]
pub fn accelerator() -> Finding {
    match stages::model::device::choose("cuda") {
        Ok(found) => Finding::new("accelerator", State::Good, found.name),
        Err(error) => Finding::new("accelerator", State::Note, error.to_string()),
    }
}

/// Where stages can compute besides the processor.
#[cfg(not(feature = "model"))]
pub fn accelerator() -> Finding {
    let text = "no device can be used without the model".to_owned();
    Finding::new("accelerator", State::Note, text)
}

/// Room, contents and health of the store.
pub fn store(store: &Store) -> Finding {
    let root = store.root();
    let shown = root.display();
    let existing = root.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(existing);
    let free = disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        let text = format!("{shown} cannot be written");
        return Finding::new("store", State::Bad, text)
            .hint("check the permissions, or put the store elsewhere with `--cache DIR`");
    }
    let room = format!("{} free on its disk", bytes(free));
    if !root.is_dir() {
        return Finding::new("store", State::Good, format!("{shown} is not made yet, {room}"));
    }
    let objects = match object_files(store) {
        Ok(objects) => objects,
        Err(error) => return Finding::new("store", State::Bad, error.to_string()),
    };
    let held = bytes(objects.values().sum());
    let text = format!("{shown}: {}, {held}, {room}", count(objects.len(), "object"));
    let damaged = entries(&store.quarantine_folder()).map_or(0, |found| found.len());
    if damaged > 0 {
        let text = format!("{text}; {} in quarantine", count(damaged, "damaged object"));
        return Finding::new("store", State::Note, text)
            .hint("`pipe cache verify` looks for more, `pipe cache gc --quarantine` empties it");
    }
    match free {
        0..LITTLE_SPACE => Finding::new("store", State::Note, text)
            .hint("models and checkpoints take gigabytes; `pipe cache gc` makes room"),
        _ => Finding::new("store", State::Good, text),
    }
}

/// Whether models can be downloaded.
pub fn hub(offline: bool) -> Finding {
    let settings = HubSettings::from_environment();
    let token = if settings.token.is_some() { "with a token" } else { "without a token" };
    let by_hand = "local folders, and models in the shared cache, work without it";
    if offline || settings.offline {
        return Finding::new("hub", State::Note, "not asked: offline".to_owned()).hint(by_hand);
    }
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build();
    let endpoint = &settings.endpoint;
    match ureq::Agent::new_with_config(config).head(endpoint).call() {
        Ok(response) if response.status().as_u16() < 500 => {
            Finding::new("hub", State::Good, format!("{endpoint} answers, {token}"))
        }
        Ok(response) => {
            let text = format!("{endpoint} answers with status {}", response.status().as_u16());
            Finding::new("hub", State::Note, text).hint(by_hand)
        }
        Err(error) => {
            let text = format!("{endpoint} does not answer: {error}");
            Finding::new("hub", State::Note, text).hint(by_hand)
        }
    }
}

/// Whether a remote answers.
pub fn remote(config: &Config, name: &str, offline: bool) -> Finding {
    let finding = |state, text: String| Finding::new("remote", state, format!("`{name}`: {text}"));
    let settings = match config.pick(Some(name)) {
        Ok(settings) => settings,
        Err(error) => return finding(State::Bad, error.to_string()),
    };
    let (place, trust) = (settings.place.to_string(), settings.trust.name());
    let signed = if settings.secret.is_some() { ", signed" } else { "" };
    if offline && !matches!(settings.place, RemotePlace::Folder(_)) {
        return finding(State::Note, format!("{place} is not asked: offline"));
    }
    let looked = Remote::open(settings)
        .map(|remote| remote.ping().map_err(|trouble| remote.settings.error(trouble)));
    match looked {
        Ok(Ok(())) => finding(State::Good, format!("{place} answers, trust {trust}{signed}")),
        Ok(Err(error)) | Err(error) => {
            let hint = error.hint().unwrap_or_else(|| "runs do without it".to_owned());
            finding(State::Note, format!("{place}: {error}")).hint(&hint)
        }
    }
}
