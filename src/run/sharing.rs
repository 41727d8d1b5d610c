//! What the scheduler does with a remote: stages that would run are looked for there first, results
//! go there while others are computed, and the end waits for these for a while.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::run::event::{RemoteTraffic, RunEvent};
use crate::run::node::{Ready, State};
use crate::run::remote::patience;
use crate::run::schedule::Schedule;
use crate::store::key::Key;
use crate::store::record::Record;

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
        if let Some(session) = self.remote.take_if(|_| is_idle) {
            session.end();
        }
    }

    /// For the summary of a run with a remote.
    pub(super) fn traffic(&self) -> Option<RemoteTraffic> {
        let name = self.remote.as_ref()?.shared.remote.name().to_owned();
        Some(RemoteTraffic { name, pulled: 0, pushed: 0 })
    }
}
