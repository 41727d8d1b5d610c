//! How the scheduler uses a remote: it looks there for stages that would run, uploads results while
//! others are computed, and at the end waits a limited time for the uploads.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use crate::run::event::{RemoteTraffic, RunEvent};
use crate::run::node::{NodeIndex, NodeState, Ready};
use crate::run::remote::patience;
use crate::run::schedule::Schedule;
use crate::store::key::Key;
use crate::store::record::Record;

impl Schedule<'_, '_> {
    /// Asks the remote for a stage that would run, unless it was asked before or must not be.
    pub(super) fn look(&mut self, node: NodeIndex, ready: Box<Ready>) {
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
        self.nodes[node].state = NodeState::Looking(ready);
        let waiting = self.waits.looking.entry(key).or_default();
        waiting.push(node);
        if waiting.len() == 1 {
            session.ask(node, key);
        }
    }

    pub(super) fn looked(&mut self, key: Key, found: bool) {
        for node in self.waits.looking.remove(&key).unwrap_or_default() {
            let NodeState::Looking(ready) = self.take(node) else { continue };
            self.nodes[node].pulled = found;
            // A downloaded result is a hit now.
            self.decide(node, ready.resolved, ready.lock);
        }
    }

    /// Uploads the result of a stage while others run.
    pub(super) fn upload(&mut self, record: &Record) {
        if let Some(session) = &mut self.remote
            && !session.shared.upload_no_more.load(Ordering::Relaxed)
        {
            self.waits.uploads.insert(record.key, record.seconds);
            session.upload(record.clone());
        }
    }

    pub(super) fn uploaded(&mut self, key: Key, done: bool) {
        self.waits.uploads.remove(&key);
        if done && let Some(traffic) = &mut self.summary.remote {
            traffic.pushed += 1;
        }
    }

    /// Waits for the uploads when all stages are done, for a limited time.
    pub(super) fn finish_uploads(&mut self) {
        let Some(session) = &self.remote else { return };
        let (shared, began) = (Arc::clone(&session.shared), Instant::now());
        let (name, timeout) = (shared.remote.name(), shared.remote.settings.timeout);
        let limit = patience(self.waits.uploads.values().sum(), timeout);
        if !self.waits.uploads.is_empty() && self.interrupts == 0 {
            let (remote, results) = (name.to_owned(), self.waits.uploads.len());
            (self.report)(RunEvent::Uploading { remote, results });
        }
        while !self.waits.uploads.is_empty() && self.interrupts == 0 {
            match self.receiver.recv_timeout(limit.saturating_sub(began.elapsed())) {
                Ok(message) => self.handle(message),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    shared.upload_no_more.store(true, Ordering::Relaxed);
                    let shown = Duration::from_secs(limit.as_secs().max(1));
                    let shown = humantime::format_duration(shown);
                    if shared.is_first("upload") {
                        let message = format!(
                            "remote `{name}` did not take all uploads within {shown}; `pipe push` \
                             uploads the rest"
                        );
                        (self.report)(RunEvent::Warning { message });
                    }
                    return;
                }
            }
        }
        // Messages that a thread sent before its last one.
        while let Ok(message) = self.receiver.try_recv() {
            self.handle(message);
        }
        drop(shared);
        let is_idle = self.waits.looking.is_empty() && self.waits.uploads.is_empty();
        if let Some(session) = self.remote.take_if(|_| is_idle) {
            session.end();
        }
    }

    /// The remote's part of the summary.
    pub(super) fn traffic(&self) -> Option<RemoteTraffic> {
        let name = self.remote.as_ref()?.shared.remote.name().to_owned();
        Some(RemoteTraffic { name, pulled: 0, pushed: 0 })
    }
}
