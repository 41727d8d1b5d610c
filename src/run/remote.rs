//! A run with a remote: before a stage is computed the remote is asked for its key, and what was
//! computed is uploaded meanwhile. The remote can only save time: whatever is wrong with it is said
//! once, and the run goes on without it.
//!
//! How long a run waits for it, with the remote's `timeout`:
//!
//! | | at most |
//! |---|---|
//! | for an answer, or the next bytes | `timeout` |
//! | for answers in all | `timeout`, and what results from there have saved |
//! | for the download of a result | what computing it took, at least `timeout` |
//! | for uploads when all stages are done | what computing those took, at least `timeout` |

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stages::Event;

use crate::console::text::bytes;
use crate::file_error::FileError;
use crate::key::Key;
use crate::record::Record;
use crate::remote::pull::Offer;
use crate::remote::{Remote, Trouble};
use crate::run::Message;
use crate::run::event::{RemoteTraffic, RunEvent};
use crate::run::guarded::guarded;
use crate::run::node::{Ready, State};
use crate::run::schedule::Schedule;
use crate::scratch::Scratch;
use crate::store::Store;

/// How many keys are asked for at once, and how many results uploaded.
const ASKED_AT_ONCE: usize = 8;
const UPLOADED_AT_ONCE: usize = 4;

/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// The remote of one run.
pub struct Session {
    shared: Arc<Shared>,
    asks: Pool,
    uploads: Pool,
}

/// What the threads of a session share.
struct Shared {
    remote: Arc<Remote>,
    store: Store,
    scratch: Scratch,
    sender: Sender<Message>,
    /// It is not asked any more.
    ask_no_more: AtomicBool,
    upload_no_more: AtomicBool,
    /// What has been said, so that it is not said again.
    said: Mutex<BTreeSet<&'static str>>,
    asking: Mutex<Asking>,
}

/// How long the run has waited for answers, side by side or one after the other.
#[derive(Default)]
struct Asking {
    active: usize,
    since: Option<Instant>,
    spent: Duration,
    saved: Duration,
}

type Work = Box<dyn FnOnce() + Send>;

/// Threads that are made as there is something to do. They are not waited for.
struct Pool {
    sender: Sender<Work>,
    receiver: Arc<Mutex<Receiver<Work>>>,
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

    fn ask(&mut self, node: usize, key: Key) {
        let shared = Arc::clone(&self.shared);
        self.asks.give(move || {
            let found = guarded(|| shared.look_up(node, key)).unwrap_or(false);
            // The run may have ended meanwhile.
            let _ = shared.sender.send(Message::Looked { key, found });
        });
    }

    fn upload(&mut self, record: Record) {
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
    fn look_up(&self, node: usize, key: Key) -> bool {
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

    fn download(&self, node: usize, record: &Record) -> Result<(), Trouble> {
        let total = self.remote.missing_bytes(record, &self.store);
        let name = self.remote.name();
        if total > 0 {
            let message = format!("is in `{name}`: downloading {}", bytes(total));
            let _ = self.sender.send(Message::Waits { stage: node, message });
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
                let _ = self.sender.send(Message::Says { stage: node, event });
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
            self.warn("upload", format!("remote `{name}`: {trouble}; what this run makes is not uploaded, `pipe push` does so later"));
        }
        false
    }

    /// The rest of the run does not need it.
    fn do_without(&self, trouble: &Trouble) {
        self.ask_no_more.store(true, Ordering::Relaxed);
        self.upload_no_more.store(true, Ordering::Relaxed);
        let name = self.remote.name();
        self.warn("gone", format!("remote `{name}`: {trouble}; the run goes on without it"));
    }

    /// Says it, unless something of that kind was said.
    fn warn(&self, kind: &'static str, message: String) {
        if self.is_first(kind) {
            let _ = self.sender.send(Message::Warns { message });
        }
    }

    fn is_first(&self, kind: &'static str) -> bool {
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

    /// A remote that answers, but slowly, is not to take more time than it can save.
    fn limit_asking(&self) {
        let asking = self.asking();
        let limit = self.remote.settings.timeout + asking.saved;
        if asking.spent > limit && !self.ask_no_more.swap(true, Ordering::Relaxed) {
            let name = self.remote.name();
            let limit = humantime::format_duration(Duration::from_secs(limit.as_secs().max(1)));
            drop(asking);
            self.warn(
                "gone",
                format!(
                    "remote `{name}`: asking it has taken {limit}; the rest of the run asks no more"
                ),
            );
        }
    }
}

/// How long moving a result may take: as long as computing it, and not less than the time-out.
fn patience(seconds: f64, timeout: Duration) -> Duration {
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
        // Not in the run's scope: a run that is done waits for no remote.
        self.threads.push(std::thread::spawn(move || {
            loop {
                let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match next {
                    Ok(work) => work(),
                    Err(_) => return,
                }
            }
        }));
    }

    /// When there is nothing to do any more.
    fn end(self) {
        drop(self.sender);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Schedule<'_, '_> {
    /// Asks the remote for a stage that would run, unless it has been asked or is not to be.
    pub(super) fn look(&mut self, node: usize, ready: Box<Ready>) {
        let is_asked = self.nodes[node].looked || self.nodes[node].forced.is_some();
        let always = self.stage(node).handling.always;
        let Some(session) = self.remote.as_mut().filter(|_| !is_asked && !always) else {
            return self.make_ready(node, ready);
        };
        if session.shared.ask_no_more.load(Ordering::Relaxed) || self.stopping {
            return self.make_ready(node, ready);
        }
        let key = ready.resolved.key;
        self.nodes[node].looked = true;
        self.nodes[node].state = State::Looking(ready);
        let waiting = self.looking.entry(key).or_default();
        waiting.push(node);
        if waiting.len() == 1 {
            session.ask(node, key);
        }
    }

    pub(super) fn looked(&mut self, key: Key, found: bool) {
        for node in self.looking.remove(&key).unwrap_or_default() {
            let State::Looking(ready) = self.take(node) else { continue };
            self.nodes[node].pulled = found;
            // What was pulled is a hit now.
            self.decide(node, ready.resolved, ready.lock);
        }
    }

    /// Uploads what a stage has made, while others run.
    pub(super) fn upload(&mut self, record: &Record) {
        if let Some(session) = &mut self.remote
            && !session.shared.upload_no_more.load(Ordering::Relaxed)
        {
            self.uploads.insert(record.key, record.seconds);
            session.upload(record.clone());
        }
    }

    pub(super) fn uploaded(&mut self, key: Key, done: bool) {
        self.uploads.remove(&key);
        if done && let Some(traffic) = &mut self.summary.remote {
            traffic.pushed += 1;
        }
    }

    /// When all stages are done: waits for uploads, for a while.
    pub(super) fn finish_uploads(&mut self) {
        let Some(session) = &self.remote else { return };
        let (shared, began) = (Arc::clone(&session.shared), Instant::now());
        let (name, timeout) = (shared.remote.name(), shared.remote.settings.timeout);
        let limit = patience(self.uploads.values().sum(), timeout);
        if !self.uploads.is_empty() && self.interrupts == 0 {
            let (remote, results) = (name.to_owned(), self.uploads.len());
            (self.report)(RunEvent::Uploading { remote, results });
        }
        while !self.uploads.is_empty() && self.interrupts == 0 {
            match self.receiver.recv_timeout(limit.saturating_sub(began.elapsed())) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    shared.upload_no_more.store(true, Ordering::Relaxed);
                    let shown = Duration::from_secs(limit.as_secs().max(1));
                    let shown = humantime::format_duration(shown);
                    if shared.is_first("upload") {
                        let message = format!(
                            "remote `{name}` has not taken everything within {shown}; `pipe push` \
                             sends the rest"
                        );
                        (self.report)(RunEvent::Warning { message });
                    }
                    return;
                }
            }
        }
        // What a thread said before its last message.
        while let Ok(message) = self.receiver.try_recv() {
            self.handle(message);
        }
        drop(shared);
        let is_idle = self.looking.is_empty() && self.uploads.is_empty();
        if let Some(Session { asks, uploads, .. }) = self.remote.take_if(|_| is_idle) {
            // So that its scratch folder goes.
            asks.end();
            uploads.end();
        }
    }

    /// For the summary of a run with a remote.
    pub(super) fn traffic(&self) -> Option<RemoteTraffic> {
        let name = self.remote.as_ref()?.shared.remote.name().to_owned();
        Some(RemoteTraffic { name, pulled: 0, pushed: 0 })
    }
}
