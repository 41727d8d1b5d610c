//! The report of a run that is under way, as a page that changes with it: `pipe run --live`.
//!
//! ```text
//! run ─ events → Watched ─ one thread for each browser → page, then server-sent events
//! ```
//!
//! The run's thread only notes an event and goes on. Pages are drawn and sent by the threads of the
//! browsers, each from its own copy of what is known, so a slow one delays nobody. The server listens on
//! the loopback interface only, and is written by hand because it has so little to do: [`mod@request`].

pub mod request;
pub mod watched;

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::pipeline::Pipeline;
use crate::report::page::{LivePage, live_page};
use crate::report::{Subject, report};
use crate::results::run_log::LoggedRun;
use crate::run::event::RunEvent;
use crate::store::Store;
use request::{Asked, answer, begin_events, refuse, send};
use watched::Watched;

/// So many browsers are served at once.
const MOST_CLIENTS: usize = 32;

/// Changes are sent so often at most, and running stages get a new time so often.
const PAUSE: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_secs(1);

/// A browser that takes nothing for so long is given up. At the end all of them have so long.
const PATIENCE: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(5);

/// A port that is taken, before anything runs.
pub struct LivePort {
    listener: TcpListener,
    pub port: u16,
}

/// A served run. Dropping it says to every browser that the run is over.
pub struct Live {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the threads share.
struct Shared {
    port: u16,
    project: String,
    pipeline: Pipeline,
    store: Store,
    state: Mutex<State>,
    /// The state has changed.
    changed: Condvar,
    /// The newest report, and the number of ends that it knows.
    drawn: Mutex<(u64, Arc<LivePage>)>,
}

struct State {
    watched: Watched,
    /// How often `watched` has changed.
    version: u64,
    clients: usize,
    /// Those of the clients that are to hear that the run is over.
    followers: usize,
    over: bool,
}

impl LivePort {
    /// Takes a port of the loopback interface; 0 is any that is free.
    pub fn take(port: u16) -> io::Result<LivePort> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        Ok(LivePort { listener, port })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Serves a run of these stages from now on.
    pub fn serve(
        self,
        project: String,
        pipeline: &Pipeline,
        store: &Store,
        stages: impl Iterator<Item = String>,
    ) -> io::Result<Live> {
        let watched = Watched::new(stages);
        let shared = Arc::new(Shared {
            port: self.port,
            project,
            pipeline: pipeline.clone(),
            store: store.clone(),
            state: Mutex::new(State { watched, version: 1, clients: 0, followers: 0, over: false }),
            changed: Condvar::new(),
            drawn: Mutex::default(),
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor =
            std::thread::Builder::new().spawn(move || accept(&self.listener, &for_acceptor))?;
        Ok(Live { shared, acceptor: Some(acceptor) })
    }
}

impl Live {
    /// Notes an event of the run. `logged` is the entry of the log after it.
    pub fn take(&self, event: &RunEvent, logged: impl FnOnce() -> LoggedRun) {
        let mut state = self.shared.state();
        state.watched.take(event, logged);
        state.version += 1;
        self.shared.changed.notify_all();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.shared.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let deadline = Instant::now() + FAREWELL;
        let mut state = self.shared.state();
        while state.followers > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(_) => return,
            };
        }
    }
}

impl Shared {
    /// No thread leaves the state half-changed, so that of a thread that panicked is good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of what is known, once it is newer than `version` or a tick has passed.
    fn next(&self, version: u64) -> (Watched, u64, bool) {
        let mut state = self.state();
        if state.version == version && !state.over {
            state = match self.changed.wait_timeout(state, TICK) {
                Ok((state, _)) => state,
                Err(error) => error.into_inner().0,
            };
        }
        (state.watched.clone(), state.version, state.over)
    }

    /// The drawn report. Only one thread draws it; others wait for that one.
    fn drawn(&self, watched: &Watched) -> Arc<LivePage> {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.0 < watched.ends {
            let found = watched.logged.as_ref().map(|run| {
                let subject = Subject { run, pipeline: Some(&self.pipeline) };
                report(&self.project, &[subject], None, &self.store)
            });
            let is_over = watched.summary.is_some();
            *drawn = (watched.ends, Arc::new(LivePage::of(found.as_ref(), is_over)));
        }
        Arc::clone(&drawn.1)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let accepted = listener.accept();
        let mut state = shared.state();
        if state.over {
            return;
        }
        let Ok((mut stream, _)) = accepted else {
            drop(state);
            // Too many open files, for instance.
            std::thread::sleep(PAUSE);
            continue;
        };
        if state.clients == MOST_CLIENTS {
            drop(state);
            let _ = stream.set_write_timeout(Some(PAUSE));
            let _ = refuse(&mut stream, ("503 Service Unavailable", "too many pages".to_owned()));
            continue;
        }
        state.clients += 1;
        drop(state);
        let client = Client(Arc::clone(shared));
        // If no thread can be started, the client is dropped with the closure.
        let _ = std::thread::Builder::new().spawn(move || {
            // A browser that has gone away is no error.
            let _ = client.serve(&mut stream);
        });
    }
}

/// A connection that counts.
struct Client(Arc<Shared>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.state().clients -= 1;
    }
}

/// A client that is sent events.
struct Follower<'a>(&'a Shared);

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        self.0.state().followers -= 1;
        self.0.changed.notify_all();
    }
}

impl Client {
    fn serve(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        match request::read(stream, self.0.port) {
            None => Ok(()),
            Some(Err(refusal)) => refuse(stream, refusal),
            Some(Ok(Asked::Page { body })) => {
                let (watched, ..) = self.0.next(0);
                answer(stream, &live_page(&self.0.project, &watched), body)
            }
            Some(Ok(Asked::Events)) => self.follow(stream),
        }
    }

    /// Sends what has changed until the run is over.
    fn follow(&self, stream: &mut TcpStream) -> io::Result<()> {
        self.0.state().followers += 1;
        let _follower = Follower(&self.0);
        begin_events(stream)?;
        let (mut known, mut sent) = (0, [const { String::new() }; 3]);
        loop {
            let (watched, version, is_over) = self.0.next(known);
            known = version;
            let drawn = self.0.drawn(&watched);
            let parts = drawn.parts(&watched);
            for ((name, text), sent) in
                ["live", "curves", "report"].into_iter().zip(parts).zip(&mut sent)
            {
                if *sent != text {
                    send(stream, name, &text)?;
                    *sent = text;
                }
            }
            if is_over {
                return send(stream, "over", "");
            }
            std::thread::sleep(PAUSE);
        }
    }
}
