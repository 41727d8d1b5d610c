//! Saves training checkpoints at intervals and on SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGTERM;
use signal_hook::{flag, low_level};

use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::train::checkpoint::{self, Position};
use crate::train::objective::Objective;
use crate::train::step::Trainer;
use crate::train::unread::Unread;

/// Saves checkpoints at intervals, spending at most a twentieth of the time on them.
///
/// On SIGTERM the current step finishes, its checkpoint is saved, and then the process ends with
/// the default action of the signal. A second SIGTERM ends it at once.
pub struct CheckpointTimer<'a> {
    context: &'a Context<'a>,
    pause: Duration,
    last: Instant,
    told_to_end: Arc<AtomicBool>,
    /// Whether SIGTERM ends the process without waiting for a step.
    ends_at_once: Arc<AtomicBool>,
}

impl<'a> CheckpointTimer<'a> {
    /// `PIPE_CHECKPOINT_SECONDS` sets the interval, by default 60; 0 means after every step.
    pub fn new(context: &'a Context<'a>) -> CheckpointTimer<'a> {
        let wanted = std::env::var("PIPE_CHECKPOINT_SECONDS").ok();
        let seconds = wanted.and_then(|text| text.parse().ok()).unwrap_or(60);
        let (told_to_end, ends_at_once) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        // The order matters: the second signal must see the flag that the first one sets. If a
        // handler cannot be registered, SIGTERM keeps its default action.
        let registered = flag::register_conditional_default(SIGTERM, Arc::clone(&ends_at_once))
            .and_then(|_| flag::register(SIGTERM, Arc::clone(&told_to_end)))
            .and_then(|_| flag::register(SIGTERM, Arc::clone(&ends_at_once)));
        let can_wait = registered.is_ok();
        ends_at_once.store(!can_wait, Ordering::Relaxed);
        let (pause, last) = (Duration::from_secs(seconds), Instant::now());
        CheckpointTimer { context, pause, last, told_to_end, ends_at_once }
    }

    /// Runs long work between steps. SIGTERM ends it at once.
    pub fn between_steps<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = self.ends_at_once.swap(true, Ordering::SeqCst);
        self.end_if_told();
        let done = work();
        self.ends_at_once.store(before, Ordering::SeqCst);
        done
    }

    fn end_if_told(&self) {
        if self.told_to_end.load(Ordering::SeqCst) {
            let _ = low_level::emulate_default_handler(SIGTERM);
        }
    }

    /// Saves a checkpoint if it is time, after reading what is still `unread` and adding it to `at`,
    /// so that no checkpoint follows a step that diverged.
    ///
    /// # Errors
    /// Those of [`Unread::read`]. That a checkpoint cannot be written is only a warning.
    pub fn save_if_due<O: Objective>(
        &mut self,
        trainer: &mut Trainer<O>,
        at: &mut Position,
        unread: &mut Unread,
        best: Option<&O::Model>,
    ) -> Result<(), StageError> {
        let told_to_end = self.told_to_end.load(Ordering::SeqCst);
        if !told_to_end && self.last.elapsed() < self.pause {
            return Ok(());
        }
        at.add_losses(&unread.read()?);
        if told_to_end {
            let message =
                format!("received SIGTERM: saving a checkpoint of step {} first", at.steps);
            self.context.emit(Event::Note { message });
            self.save(trainer, at, best);
            self.end_if_told();
        }
        let started = Instant::now();
        self.save(trainer, at, best);
        self.last = Instant::now();
        if !self.pause.is_zero() {
            self.pause = self.pause.max(started.elapsed() * 20);
        }
        Ok(())
    }

    /// Saves a checkpoint now. A failure is a warning.
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
            // Training can continue without a checkpoint, and a full disk may have room again
            // later.
            let message = format!("cannot save a checkpoint of step {}: {error}", at.steps);
            self.context.emit(Event::Warning { message });
        }
    }
}
