//! A run with a remote: before a stage is computed, the remote is asked for its key, and computed
//! results are uploaded in the background. The remote only saves time: whatever goes wrong with it
//! is reported once, and the run goes on without it.
//!
//! How long a run waits for the remote, given the remote's `timeout`:
//!
//! | wait for | at most |
//! |---|---|
//! | an answer, or the next bytes | `timeout` |
//! | all answers together | `timeout`, plus the time that downloaded results have saved |
//! | the download of a result | the time that computing it took, at least `timeout` |
//! | uploads, when all stages are done | the time that computing them took, at least `timeout` |

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stages::Event;

use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::files::threads;
use crate::remote::pull::Offer;
use crate::remote::{Remote, Trouble};

use crate::run::guarded::guarded;
use crate::run::message::Message;
use crate::run::node::NodeIndex;
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Record;
use crate::text::figures::bytes;

/// How many keys are asked for at once, and how many results are uploaded at once.
const ASKED_AT_ONCE: usize = 8;
const UPLOADED_AT_ONCE: usize = 4;

/// How often download progress is reported.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// The remote of one run.
pub struct Session {
    pub(super) shared: Arc<Shared>,
    asks: Pool,
    uploads: Pool,
}

/// What the threads of a session share.
pub(super) struct Shared {
    pub(super) remote: Arc<Remote>,
    store: Store,
    scratch: Scratch,
    sender: Sender<Message>,
    /// The remote is not asked any more.
    pub(super) ask_no_more: AtomicBool,
    pub(super) upload_no_more: AtomicBool,
    /// The kinds of warning that were given; each is given once.
    said: Mutex<BTreeSet<&'static str>>,
    asking: Mutex<Asking>,
}

/// How long the run has waited for answers; waits that overlap count once.
#[derive(Default)]
struct Asking {
    active: usize,
    since: Option<Instant>,
    spent: Duration,
    saved: Duration,
}

type PoolTask = Box<dyn FnOnce() + Send>;

/// Threads that are started when there is work. A run does not wait for them.
struct Pool {
    sender: Sender<PoolTask>,
    receiver: Arc<Mutex<Receiver<PoolTask>>>,
    threads: Vec<JoinHandle<()>>,
    most: usize,
}

impl Session {
    pub fn new(
        remote: &Arc<Remote>,
        store: &Store,
        sender: Sender<Message>,
    ) -> Result<Session, FileError> {
        let shared = Shared {
            remote: Arc::clone(remote),
            store: store.clone(),
            scratch: Scratch::new(&store.scratch_folder())?,
            sender,
            ask_no_more: AtomicBool::new(!remote.settings.trust.pulls()),
            upload_no_more: AtomicBool::new(!remote.settings.trust.pushes()),
            said: Mutex::default(),
            asking: Mutex::default(),
        };
        let (asks, uploads) = (Pool::new(ASKED_AT_ONCE), Pool::new(UPLOADED_AT_ONCE));
        Ok(Session { shared: Arc::new(shared), asks, uploads })
    }

    pub(super) fn ask(&mut self, node: NodeIndex, key: Key) {
        let shared = Arc::clone(&self.shared);
        self.asks.give(move || {
            let found = guarded(|| shared.look_up(node, key)).unwrap_or(false);
            // The run may have ended in the meantime.
            let _ = shared.sender.send(Message::Looked { key, found });
        });
    }

    /// Ends the threads and removes the scratch folder. Call it when nothing is under way.
    pub(super) fn end(self) {
        self.asks.end();
        self.uploads.end();
    }

    pub(super) fn upload(&mut self, record: Record) {
        let shared = Arc::clone(&self.shared);
        self.uploads.give(move || {
            let key = record.key;
            let done = guarded(|| shared.upload(&record)).unwrap_or(false);
            let _ = shared.sender.send(Message::Uploaded { key, done });
        });
    }
}

impl Shared {
    /// Whether the result of a key is in the store now.
    fn look_up(&self, node: NodeIndex, key: Key) -> bool {
        if self.ask_no_more.load(Ordering::Relaxed) {
            return false;
        }
        self.begin_asking();
        let offer = self.remote.ask(key, &self.store);
        self.end_asking();
        if offer.is_ok() {
            self.limit_asking();
        }
        let record = match offer {
            Ok(Offer::Nothing) => return false,
            Ok(Offer::Refused(refusal)) => {
                let name = self.remote.name();
                self.warn(
                    "refused",
                    format!("remote `{name}`: a record there {refusal}, so it is not used"),
                );
                return false;
            }
            Ok(Offer::Record(record)) => record,
            Err(trouble) => {
                self.do_without(&trouble);
                return false;
            }
        };
        match self.download(node, &record) {
            Ok(()) => {
                let saved = Duration::try_from_secs_f64(record.seconds).unwrap_or_default();
                self.asking().saved += saved;
                true
            }
            Err(trouble) if trouble.is_of_remote() => {
                self.do_without(&trouble);
                false
            }
            Err(trouble) => {
                let name = self.remote.name();
                let stage = &record.stage;
                self.warn(
                    "damaged",
                    format!("remote `{name}`, result of `{stage}`: {trouble}; it is computed here"),
                );
                false
            }
        }
    }

    fn download(&self, node: NodeIndex, record: &Record) -> Result<(), Trouble> {
        let total = self.remote.missing_bytes(record, &self.store);
        let name = self.remote.name();
        if total > 0 {
            let message = format!("found in `{name}`: downloading {}", bytes(total));
            let _ = self.sender.send(Message::Waits { node, message });
        }
        let began = Instant::now();
        let limit = patience(record.seconds, self.remote.settings.timeout);
        let told = Mutex::new((0, began));
        let meter = |moved: u64| {
            if began.elapsed() > limit {
                return Err(Trouble::TooSlow);
            }
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.0 += moved;
            if told.1.elapsed() >= TOLD_EVERY {
                told.1 = Instant::now();
                let event = Event::Progress {
                    done: told.0,
                    total: Some(total),
                    unit: format!("bytes from {name}"),
                    values: Default::default(),
                };
                let _ = self.sender.send(Message::Says { node, event });
            }
            Ok(())
        };
        self.remote.pull(record, &self.store, &self.scratch, &meter).map(drop)
    }

    fn upload(&self, record: &Record) -> bool {
        if self.upload_no_more.load(Ordering::Relaxed) {
            return false;
        }
        let meter = |_| match self.upload_no_more.load(Ordering::Relaxed) {
            true => Err(Trouble::TooSlow),
            false => Ok(()),
        };
        let Err(trouble) = self.remote.push(record, &self.store, false, &meter) else {
            return true;
        };
        if !self.upload_no_more.swap(true, Ordering::Relaxed) {
            let name = self.remote.name();
            self.warn("upload", format!("remote `{name}`: {trouble}; results of this run are not uploaded; `pipe push` uploads them later"));
        }
        false
    }

    /// Stops using the remote for the rest of the run.
    fn do_without(&self, trouble: &Trouble) {
        self.ask_no_more.store(true, Ordering::Relaxed);
        self.upload_no_more.store(true, Ordering::Relaxed);
        let name = self.remote.name();
        self.warn("gone", format!("remote `{name}`: {trouble}; the run goes on without it"));
    }

    /// Sends a warning, unless one of that kind was sent before.
    fn warn(&self, kind: &'static str, message: String) {
        if self.is_first(kind) {
            let _ = self.sender.send(Message::Warns { message });
        }
    }

    pub(super) fn is_first(&self, kind: &'static str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(kind)
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_asking(&self) {
        let mut asking = self.asking();
        asking.active += 1;
        asking.since.get_or_insert_with(Instant::now);
    }

    fn end_asking(&self) {
        let mut asking = self.asking();
        asking.active -= 1;
        if let Some(since) = asking.since.take() {
            asking.spent += since.elapsed();
            asking.since = (asking.active > 0).then(Instant::now);
        }
    }

    /// A remote that answers slowly must not cost more time than it can save.
    fn limit_asking(&self) {
        let asking = self.asking();
        let limit = self.remote.settings.timeout.saturating_add(asking.saved);
        if asking.spent > limit && !self.ask_no_more.swap(true, Ordering::Relaxed) {
            let name = self.remote.name();
            let limit = humantime::format_duration(Duration::from_secs(limit.as_secs().max(1)));
            drop(asking);
            self.warn(
                "gone",
                format!(
                    "remote `{name}`: lookups have taken {limit}; the rest of the run skips them"
                ),
            );
        }
    }
}

/// How long moving a result may take: as long as computing it took, and at least the timeout.
pub(super) fn patience(seconds: f64, timeout: Duration) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default().max(timeout)
}

impl Pool {
    fn new(most: usize) -> Pool {
        let (sender, receiver) = channel();
        Pool { sender, receiver: Arc::new(Mutex::new(receiver)), threads: Vec::new(), most }
    }

    fn give(&mut self, work: impl FnOnce() + Send + 'static) {
        let _ = self.sender.send(Box::new(work));
        if self.threads.len() == self.most {
            return;
        }
        let receiver = Arc::clone(&self.receiver);
        // Not in the run's scope: a run that is done does not wait for the remote.
        let thread = threads::spawn(Path::new("the remote"), move || {
            loop {
                let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match next {
                    Ok(work) => work(),
                    Err(_) => return,
                }
            }
        });
        match thread {
            Ok(thread) => self.threads.push(thread),
            // The threads that there are do it later.
            Err(_) if !self.threads.is_empty() => {}
            Err(_) => {
                let next = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
                if let Ok(work) = next {
                    work();
                }
            }
        }
    }

    /// Waits for the threads to end; call it when no work is left.
    fn end(self) {
        drop(self.sender);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}
