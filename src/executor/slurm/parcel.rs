//! The engine's side of a stage that runs on a node which does not see the store: the stage's
//! folder travels to the node through a remote, and the result comes back the same way.
//! [`super::by_remote`] is the node's side.
//!
//! ```text
//! jobs/<name>.json          the files of the stage's folder, their original paths, and its checkpoints
//! jobs/<name>.state.json    checkpoints of a start that was told to end
//! jobs/<name>.result.json   how it ended, its outputs, its log, its events
//! ```
//!
//! The result in the remote is authoritative, as the folder is when it is shared. Once it has been
//! downloaded, the folder looks as if the node had written it, and everything continues as usual:
//! the outputs enter the store by their bytes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFolder, JobResult};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::files::threads;
use crate::files::tree::Tree;
use crate::pipeline::remote_settings::{Config, Declared, RemotePlace};
use crate::remote::settings::RemoteSettings;
use crate::remote::{Remote, RemoteError, Trouble};
use crate::store::Store;
use crate::store::key::Key;

const FIRST_ASK: Duration = Duration::from_millis(300);
const LAST_ASK: Duration = Duration::from_secs(10);
/// How long a remote may fail to answer when a result is due.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is sent to the node.
#[derive(Serialize, Deserialize)]
pub(super) struct Outward {
    /// The paths of the stage's folder and of the store on the engine's side; on the node, paths
    /// below them are moved.
    pub folder: PathBuf,
    pub store: PathBuf,
    /// Listings of files, in the text form of [`Tree`].
    pub files: String,
    pub state: String,
}

/// What comes back from the node.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Homeward {
    Ended {
        result: JobResult,
        /// `out/…`, `log`, `events.jsonl`
        files: String,
    },
    /// The node could not start the stage.
    Refused(String),
}

/// What a node needs to know about the remote. It has the credentials and secrets itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RemoteSpec {
    name: String,
    url: String,
    endpoint: Option<String>,
    region: Option<String>,
    timeout: f64,
}

impl RemoteSpec {
    pub fn of(settings: &RemoteSettings) -> RemoteSpec {
        RemoteSpec {
            name: settings.name.clone(),
            url: settings.place.to_string(),
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            timeout: settings.timeout.as_secs_f64(),
        }
    }

    /// As a string for a command line.
    pub fn to_text(&self) -> String {
        // Strings and numbers always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn parse(text: &str) -> Option<RemoteSpec> {
        serde_json::from_str(text).ok()
    }

    /// Opens the remote, with what the user's own configuration on this machine adds.
    pub fn open(&self, own: Config) -> Result<Remote, RemoteError> {
        let place =
            RemotePlace::parse(&self.url, None).map_err(|problem| RemoteError::Settings {
                name: self.name.clone(),
                problem: format!("its `url` {problem}"),
            })?;
        let declared = Declared {
            place: Some(place),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            timeout: Duration::try_from_secs_f64(self.timeout).ok(),
            ..Declared::default()
        };
        let given = Config { default: None, remotes: [(self.name.clone(), declared)].into() };
        Remote::open(own.with(given).pick(Some(&self.name))?)
    }
}

/// The transfer of one stage to a node and back.
pub struct Parcel {
    pub name: String,
    remote: Arc<Remote>,
    store: Store,
    key: Key,
    folder: JobFolder,
    watch: Mutex<Watch>,
}

/// The state of asking for the result.
struct Watch {
    asking: bool,
    next: Instant,
    pause: Duration,
    /// The remote was asked after the scheduler had reported the end of the job.
    asked_at_end: bool,
    in_trouble_since: Option<Instant>,
    failed: Option<String>,
}

/// The name of a note that belongs to a parcel.
pub(super) fn note(name: &str, part: &str) -> String {
    format!("{name}.{part}")
}

pub(super) fn tree(text: &str, name: &str) -> Result<Tree, Trouble> {
    Tree::parse(text).ok_or_else(|| Trouble::Damaged { name: name.to_owned() })
}

/// Links the files of a tree below `root` to their objects.
pub(super) fn link_files(tree: &Tree, root: &Path, store: &Store) -> Result<(), FileError> {
    make_empty_folders(tree, root)?;
    for (relative, file) in &tree.files {
        let link = root.join(relative);
        if let Some(parent) = link.parent() {
            disk::create_folders(parent).map_err(FileError::at("making the folder", parent))?;
        }
        let object = store.object(file.content());
        disk::symlink(&object, &link).map_err(FileError::at("linking", &link))?;
    }
    Ok(())
}

fn make_empty_folders(tree: &Tree, root: &Path) -> Result<(), FileError> {
    for relative in &tree.empty_folders {
        let folder = root.join(relative);
        disk::create_folders(&folder).map_err(FileError::at("making the folder", &folder))?;
    }
    Ok(())
}

/// Copies the files of a tree below `root`; the copies are writable.
pub(super) fn copy_files(tree: &Tree, root: &Path, store: &Store) -> Result<(), FileError> {
    make_empty_folders(tree, root)?;
    for (relative, file) in &tree.files {
        let path = root.join(relative);
        if let Some(parent) = path.parent() {
            disk::create_folders(parent).map_err(FileError::at("making the folder", parent))?;
        }
        let object = store.object(file.content());
        let bytes = std::fs::read(&object).map_err(FileError::at("reading", &object))?;
        crate::files::scratch::write_beside(&path, &bytes)?;
    }
    Ok(())
}

impl Parcel {
    pub fn new(
        name: String,
        remote: &Arc<Remote>,
        store: &Store,
        key: Key,
        folder: &JobFolder,
    ) -> Parcel {
        let watch = Watch {
            asking: false,
            next: Instant::now(),
            pause: FIRST_ASK,
            asked_at_end: false,
            in_trouble_since: None,
            failed: None,
        };
        Parcel {
            name,
            remote: Arc::clone(remote),
            store: store.clone(),
            key,
            folder: folder.clone(),
            watch: Mutex::new(watch),
        }
    }

    /// For the script of the parcel's job.
    pub fn spec(&self) -> RemoteSpec {
        RemoteSpec::of(&self.remote.settings)
    }

    /// Uploads what the node needs.
    pub fn send(&self) -> Result<(), SlurmError> {
        self.try_send().map_err(|trouble| self.error(&trouble))
    }

    fn try_send(&self) -> Result<(), Trouble> {
        let state = self.store.state_folder(self.key);
        let of_state = match state.is_dir() {
            true => self.remote.send_files(&state, &self.store)?,
            false => Tree::default(),
        };
        let files = self.remote.send_files(&self.folder.0, &self.store)?;
        let outward = Outward {
            folder: self.folder.0.clone(),
            store: self.store.root().to_owned(),
            files: files.to_text(),
            state: of_state.to_text(),
        };
        self.remote.write_note(&self.name, self.key, &outward)
    }

    fn error(&self, trouble: &Trouble) -> SlurmError {
        let (remote, problem) = (self.remote.name().to_owned(), trouble.to_string());
        SlurmError::ByRemote { remote, problem }
    }

    /// Asks for the result if that is due, on a thread of its own. `over`: the scheduler reports
    /// that the job has ended.
    pub fn ask(self: &Arc<Self>, over: bool) {
        let mut watch = self.watch();
        let is_due = Instant::now() >= watch.next || over && !watch.asked_at_end;
        if watch.asking || !is_due || watch.failed.is_some() {
            return;
        }
        watch.asking = true;
        drop(watch);
        let parcel = Arc::clone(self);
        threads::spawn_or_do(move || {
            let fetched = parcel.fetch(over);
            let mut watch = parcel.watch();
            (watch.asking, watch.asked_at_end) = (false, over);
            watch.pause = watch.pause.mul_f64(1.3).min(LAST_ASK);
            watch.next = Instant::now() + watch.pause;
            match fetched {
                Ok(()) => watch.in_trouble_since = None,
                Err(trouble) => {
                    let since = *watch.in_trouble_since.get_or_insert_with(Instant::now);
                    if trouble.is_of_remote() && since.elapsed() < PATIENCE {
                        watch.asked_at_end = false;
                    } else {
                        watch.failed = Some(trouble.to_string());
                    }
                }
            }
        });
    }

    /// Whether the result may still come although the job is over.
    pub fn may_come(&self) -> bool {
        let watch = self.watch();
        watch.failed.is_none() && !watch.asked_at_end
    }

    /// Why the result cannot come.
    pub fn failed(&self) -> Option<SlurmError> {
        let problem = self.watch().failed.clone()?;
        Some(SlurmError::ByRemote { remote: self.remote.name().to_owned(), problem })
    }

    /// Puts the result into the folder, if there is one.
    fn fetch(&self, over: bool) -> Result<(), Trouble> {
        let (name, key, store) = (note(&self.name, "result"), self.key, &self.store);
        let (result, files) = match self.remote.read_note::<Homeward>(&name, key)? {
            Some(Homeward::Ended { result, files }) => (result, files),
            Some(Homeward::Refused(problem)) => return Err(Trouble::Refused(problem)),
            None => return Ok(()),
        };
        // A job that was told to end may be requeued: only the scheduler knows.
        if result.told && !over {
            return Ok(());
        }
        let job = self.folder.job().map_err(FileError::at("reading", &self.folder.job_file()))?;
        let Some(job) = job else { return Ok(()) };
        let scratch = Scratch::new(&store.scratch_folder())?;
        let mut files = tree(&files, &name)?;
        self.remote.fetch_files(&files, store, &scratch)?;
        let mut take = |relative: &str| {
            let file = files.files.remove(relative)?;
            std::fs::read(store.object(file.content())).ok()
        };
        if let Some(log) = take("log") {
            crate::files::scratch::write_beside(&job.log, &log)?;
        }
        if let Some(events) = take("events.jsonl") {
            crate::files::scratch::write_beside(&self.folder.events_file(), &events)?;
        }
        files.files.retain(|relative, _| relative.starts_with("out/"));
        files.empty_folders.retain(|relative| relative.starts_with("out/"));
        self.folder.clear()?;
        link_files(&files, &self.folder.0, store)?;
        if !result.status.is_success()
            && let Some(state) = self.remote.read_note::<String>(&note(&self.name, "state"), key)?
        {
            let state = tree(&state, &name)?;
            self.remote.fetch_files(&state, store, &scratch)?;
            copy_files(&state, &store.state_folder(key), store)?;
        }
        self.folder.write_result(&result)?;
        for name in [self.name.clone(), note(&self.name, "state"), name] {
            // Leftovers in the remote do no harm.
            let _ = self.remote.remove_note(&name);
        }
        Ok(())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
