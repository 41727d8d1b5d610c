//! When a training saves a checkpoint.

use std::time::{Duration, Instant};

use crate::error::StageError;
use crate::event::Event;
use crate::stage::Context;
use crate::train::checkpoint::{self, Position};
use crate::train::objective::Objective;
use crate::train::step::Trainer;

/// Saves a checkpoint every so often, and never spends more than a twentieth of the time on it.
pub struct Checkpoints<'a> {
    context: &'a Context<'a>,
    pause: Duration,
    last: Instant,
}

impl<'a> Checkpoints<'a> {
    /// `PIPE_CHECKPOINT_SECONDS` says how often, by default every minute; 0 is after every step.
    pub fn new(context: &'a Context<'a>) -> Checkpoints<'a> {
        let wanted = std::env::var("PIPE_CHECKPOINT_SECONDS").ok();
        let seconds = wanted.and_then(|text| text.parse().ok()).unwrap_or(60);
        Checkpoints { context, pause: Duration::from_secs(seconds), last: Instant::now() }
    }

    pub fn save_if_due<O: Objective>(
        &mut self,
        trainer: &mut Trainer<O>,
        at: &Position,
        best: Option<&O::Model>,
    ) {
        if self.last.elapsed() < self.pause {
            return;
        }
        let started = Instant::now();
        self.save(trainer, at, best);
        self.last = Instant::now();
        if !self.pause.is_zero() {
            self.pause = self.pause.max(started.elapsed() * 20);
        }
    }

    /// Saves one now, if it can be.
    pub fn save<O: Objective>(
        &self,
        trainer: &mut Trainer<O>,
        at: &Position,
        best: Option<&O::Model>,
    ) {
        let folder = self.context.manifest.state.as_path();
        let saved = std::fs::create_dir_all(folder)
            .map_err(StageError::io("creating", folder))
            .and_then(|()| checkpoint::save(folder, trainer, at, best));
        if let Err(error) = saved {
            // Training needs no checkpoint to go on; a full disk may have room again later.
            let message = format!("no checkpoint of step {}: {error}", at.steps);
            self.context.emit(Event::Warning { message });
        }
    }
}
