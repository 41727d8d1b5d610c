//! Replaces the model of a running service: when another one is published at its place, and on
//! SIGHUP.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::SIGHUP;
use stages::stage::panics::guarded;

use super::model_source::ModelSource;
use crate::cli::error::Error;
use crate::cli::project::{locate, pipeline_file};
use crate::cli::watch::snapshot::Snapshot;
use crate::console::Console;
use crate::files::threads;
use crate::serve::model::ServedModel;
use crate::serve::service::Service;

/// The polling interval. A model is loaded when two polls in a row see the same files, since they
/// are written one after the other.
const INTERVAL: Duration = Duration::from_millis(250);

/// Loads models from one source.
pub struct Reloader {
    source: ModelSource,
    console: Console,
    hung_up: Arc<AtomicBool>,
    before: Snapshot,
}

impl Reloader {
    /// Listens for SIGHUP from now on.
    pub fn new(source: ModelSource, console: Console) -> Result<Reloader, Error> {
        let hung_up = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGHUP, Arc::clone(&hung_up)).map_err(Error::Signals)?;
        let before = snapshot(&source);
        Ok(Reloader { source, console, hung_up, before })
    }

    pub fn load(&self) -> Result<ServedModel, Error> {
        self.source.load(&self.source.find(&self.console)?)
    }

    /// Starts the thread that reloads. It ends with the program.
    pub fn start(self, service: Arc<Service>) -> Result<(), Error> {
        threads::spawn(Path::new("the model"), move || self.run(&service))?;
        Ok(())
    }

    fn run(self, service: &Service) {
        let (mut loaded, mut last) = (self.before.clone(), self.before.clone());
        loop {
            std::thread::sleep(INTERVAL);
            let now = snapshot(&self.source);
            let is_asked = self.hung_up.swap(false, Ordering::Relaxed);
            let is_changed = now == last && loaded.first_change(&now).is_some();
            if is_asked || is_changed {
                self.reload(service, is_asked);
                loaded = now.clone();
            }
            last = now;
        }
    }

    /// Loads the model, unless it is the same one and nobody has asked. If that fails, the service
    /// goes on with the model that it has.
    fn reload(&self, service: &Service, is_asked: bool) {
        let found = self.source.find(&self.console);
        let digest = found.and_then(|found| Ok((self.source.digest(&found)?, found)));
        let is_same = |digest: &String| *digest == service.models.get().digest;
        let loaded = match digest {
            Ok((digest, _)) if !is_asked && is_same(&digest) => return,
            Ok((_, found)) => guarded(|| self.source.load(&found)),
            Err(error) => Ok(Err(error)),
        };
        let loaded = loaded.and_then(|it| it.map_err(|error| error.to_string()));
        match loaded {
            Ok(model) => {
                self.console.note(&format!("loaded {} again", model.name));
                service.replace(model);
            }
            Err(error) => {
                let message = format!("the service keeps its model: {error}");
                self.console.warning(&message);
                service.keep();
            }
        }
    }
}

/// What changes when there is another model: the folder, or the pipeline and the newest results of
/// its stages.
fn snapshot(source: &ModelSource) -> Snapshot {
    let folder = source.folder();
    let file = pipeline_file(&source.globals);
    let results = locate(&source.globals).map(|(_, store)| store.markers_folder());
    let paths: BTreeSet<PathBuf> = [file.ok(), results.ok()].into_iter().flatten().collect();
    match folder {
        Some(folder) => Snapshot::of(&folder, || paths),
        None => {
            let mut paths = paths;
            let first = paths.pop_first().unwrap_or_default();
            Snapshot::of(&first, || paths)
        }
    }
}
