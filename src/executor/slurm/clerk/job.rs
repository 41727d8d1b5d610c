//! One job: its events, and what follows from the state of its folder and of the scheduler.

use std::time::{Duration, Instant};

use stages::Event;

use super::order::{Heard, Submit};
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{Line, Tail};
use crate::executor::slurm::queue::{JobName, QueueEntry};
use crate::executor::slurm::request::{NO_FOLDER, NO_PROGRAM};
use crate::executor::status::{Ended, ExitStatus, JobEnd, News, Stop};

/// How a job stands.
pub(super) enum JobState {
    /// Not submitted yet.
    Ready,
    Submitted {
        name: JobName,
        since: Instant,
        /// Submitted by an engine that is gone: it may have ended long ago.
        taken_up: bool,
    },
}

/// A batch job, or a member of an array.
pub(super) struct TrackedJob {
    pub(super) submit: Submit,
    pub(super) state: JobState,
    /// The job's ID in Slurm, once it is known.
    pub(super) id: Option<String>,
    pub(super) tail: Tail,
    pub(super) began: bool,
    /// What it waits for, as last reported to the stage.
    pub(super) told_reason: Option<String>,
    pub(super) stopped: Option<Stop>,
    /// Since when the scheduler reports its end, and its last entry; `None` if the scheduler no
    /// longer knows the job.
    pub(super) over: Option<(Instant, Option<QueueEntry>)>,
    /// Since when its result says that only the scheduler knows why it ended.
    pub(super) asks_why: Option<Instant>,
}

/// How long a result may still come after the scheduler has explained the end.
const EXPLAINED: Duration = Duration::from_secs(2);

/// What a look at a job shows.
pub(super) enum Verdict {
    Continues,
    /// Only the scheduler knows why it ended.
    AsksWhy,
    Over(Result<Ended, SlurmError>),
    /// It has no result, and the scheduler does not know it.
    Vanished,
}

impl TrackedJob {
    /// Passes on the events since the last call. Returns whether there were any.
    pub(super) fn pass_on_events(&mut self) -> bool {
        let lines = self.tail.lines(&self.submit.folder.events_file());
        let any = !lines.is_empty();
        for line in lines {
            let news = match line {
                Line::Says(event) => News::Says(event),
                Line::Began { began } => {
                    let job = began.job.clone().or(self.id.clone()).unwrap_or_default();
                    let message = format!("runs on {} as job {job}", began.host);
                    if std::mem::replace(&mut self.began, true) {
                        let _ = self.submit.sender.send(Heard::News(News::BeganAnew));
                    }
                    self.asks_why = None;
                    News::Says(Event::Note { message })
                }
            };
            let _ = self.submit.sender.send(Heard::News(news));
        }
        any
    }

    /// Takes the scheduler's view of the job.
    pub(super) fn update(&mut self, row: &QueueEntry) {
        if !row.is_active() {
            // The clock starts when the end is first reported, but the last entry counts.
            let since = self.over.as_ref().map_or_else(Instant::now, |(since, _)| *since);
            self.over = Some((since, Some(row.clone())));
            return;
        }
        self.over = None;
        let reason = row.waits_for().map(str::to_owned);
        if reason != self.told_reason
            && let Some(reason) = &reason
        {
            let message = format!("waits as job {}: {reason}", row.id);
            let _ = self.submit.sender.send(Heard::News(News::Says(Event::Note { message })));
        }
        self.told_reason = reason;
    }

    pub(super) fn verdict(&mut self) -> Verdict {
        let folder = &self.submit.folder;
        if let Some(result) = folder.result() {
            let ended = Ended { status: result.status, elsewhere: Some(result.elsewhere) };
            // The scheduler may have killed the process before it told us to end it.
            let killed = result.told || ended.status.is_kill();
            if !killed || self.stopped.is_some() {
                return Verdict::Over(Ok(ended));
            }
            let since = *self.asks_why.get_or_insert_with(Instant::now);
            return match &self.over {
                Some((_, Some(row))) => {
                    let status = row.end().map_or(ended.status, ExitStatus::Scheduler);
                    Verdict::Over(Ok(Ended { status, ..ended }))
                }
                Some((_, None)) if self.is_taken_up() => Verdict::Vanished,
                // The job may be requeued, which removes the result. If nobody reports that, it is
                // over.
                None if since.elapsed() < self.submit.late => Verdict::AsksWhy,
                Some((_, None)) | None if !result.told => Verdict::Over(Ok(ended)),
                Some((_, None)) | None => {
                    let status = ExitStatus::Scheduler(JobEnd::Told);
                    Verdict::Over(Ok(Ended { status, ..ended }))
                }
            };
        }
        self.asks_why = None;
        let Some((since, row)) = &self.over else { return Verdict::Continues };
        let since = since.elapsed();
        let Some(row) = row else {
            let late = if self.is_taken_up() { EXPLAINED } else { self.submit.late };
            return if since < late { Verdict::Continues } else { Verdict::Vanished };
        };
        let node = row.nodes.clone();
        let never_began = !self.began && folder.started().is_none();
        if self.stopped.is_some() {
            return Verdict::Over(Ok(ExitStatus::Signal(libc::SIGTERM).into()));
        }
        let explained = row.end();
        match row.exit_code {
            Some(NO_FOLDER) if never_began && explained.is_none() => {
                let path = folder.0.clone();
                return Verdict::Over(Err(SlurmError::NotShared { node, path }));
            }
            Some(NO_PROGRAM) if never_began && explained.is_none() => {
                let path = std::env::current_exe().unwrap_or_default();
                return Verdict::Over(Err(SlurmError::NotShared { node, path }));
            }
            Some(1..) if self.submit.parcel.is_some() && explained.is_none() => {
                return Verdict::Over(Err(SlurmError::NoRemoteThere { node }));
            }
            _ => {}
        }
        let late = if explained.is_some() { EXPLAINED } else { self.submit.late };
        if since < late {
            return Verdict::Continues;
        }
        Verdict::Over(match explained {
            Some(end) => Ok(ExitStatus::Scheduler(end).into()),
            None if never_began => {
                let (path, seconds) = (folder.0.clone(), late.as_secs());
                Err(SlurmError::NothingBack { node, path, seconds })
            }
            None => Ok(ExitStatus::Scheduler(JobEnd::Lost { said: row.in_words() }).into()),
        })
    }

    pub(super) fn is_taken_up(&self) -> bool {
        matches!(self.state, JobState::Submitted { taken_up: true, .. })
    }
}
