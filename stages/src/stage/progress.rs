//! Progress events, limited to a rate that a person can follow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::stage::Context;
use crate::stage::event::Event;

const PAUSE: Duration = Duration::from_millis(250);

/// Sends [`Event::Progress`], at most four a second.
pub struct Progress<'a> {
    context: &'a Context<'a>,
    unit: &'static str,
    last: Instant,
}

impl<'a> Progress<'a> {
    pub fn new(context: &'a Context<'a>, unit: &'static str) -> Progress<'a> {
        Progress { context, unit, last: Instant::now() }
    }

    /// Reports `done` of `total` units.
    pub fn update(&mut self, done: u64, total: u64) {
        self.update_with(done, total, || []);
    }

    /// Like [`Progress::update`], with figures to display. `values` is called only if the event is
    /// sent.
    pub fn update_with<const N: usize>(
        &mut self,
        done: u64,
        total: u64,
        values: impl FnOnce() -> [(&'static str, f64); N],
    ) {
        if self.last.elapsed() < PAUSE {
            return;
        }
        self.last = Instant::now();
        self.context.emit(Event::Progress {
            done,
            total: Some(total),
            unit: self.unit.to_owned(),
            values: values().map(|(name, value)| (name.to_owned(), value)).into(),
        });
    }

    /// Reports `done` units of an unknown total.
    pub fn update_unknown(&mut self, done: u64) {
        if self.last.elapsed() < PAUSE {
            return;
        }
        self.last = Instant::now();
        self.context.emit(Event::Progress {
            done,
            total: None,
            unit: self.unit.to_owned(),
            values: BTreeMap::new(),
        });
    }
}
