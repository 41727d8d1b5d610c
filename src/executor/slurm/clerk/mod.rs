//! The thread that manages all batch jobs of a run: it submits ready stages, passes on what their
//! folders say, asks the scheduler about all jobs at once, and cancels jobs.
//!
//! Looking into the folders is cheap and happens often; `squeue` is asked a second after a
//! submission and then at growing intervals. Commands run on threads of their own, so that a
//! controller that does not answer delays no result.

mod job;
mod looking;
pub mod order;
pub mod state;
mod submitting;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use self::job::{JobState, TrackedJob};
use self::order::{Order, Submit};
use self::state::{Clerk, FIRST_LOOK, LARGEST_ARRAY, Office};
use self::submitting::{GATHER, SBATCH_AT_ONCE};
use crate::executor::slurm::folder::{Submission, Tail};
use crate::executor::slurm::queue::{self, Unanswered};
use crate::executor::status::{ExitStatus, Stop};
use crate::files::threads;

/// The main loop of the clerk.
pub fn work(office: Office, orders: &Receiver<Order>) {
    let mut clerk = Clerk::new(office);
    loop {
        let first = match clerk.pause() {
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => orders.recv_timeout(pause),
        };
        match first {
            Ok(order) => {
                clerk.take(order);
                while let Ok(order) = orders.try_recv() {
                    clerk.take(order);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        clerk.gather();
        clerk.submit();
        clerk.look();
        clerk.poll();
        clerk.cancel();
        let is_idle = clerk.jobs.is_empty() && clerk.submitting == 0 && !clerk.cancelling;
        if clerk.closing && is_idle {
            return;
        }
    }
}

impl Clerk {
    /// How long nothing has to be done; `None`: until the next order.
    fn pause(&self) -> Option<Duration> {
        if !self.gathering.is_empty() {
            return Some(GATHER);
        }
        let is_out = |job: &TrackedJob| matches!(job.state, JobState::Submitted { .. });
        let look = self.jobs.values().any(is_out).then_some(self.look_pause);
        let waiting = self.groups.iter().map(|group| group.due);
        let due = waiting.min().map(|due| due.saturating_duration_since(Instant::now()));
        let due = due.filter(|_| self.submitting < SBATCH_AT_ONCE);
        // A group that is due but may not be submitted yet must not cause a busy loop.
        look.into_iter().chain(due.map(|due| due.max(FIRST_LOOK))).min()
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Submit(submit) => self.ready(*submit),
            Order::Stop { number, how } => self.stop(number, how),
            Order::Submitted { group, answer } => self.submitted(*group, answer),
            Order::Queue { asked, answer } => self.heard_of(asked, answer),
            Order::Cancelled { answer } => {
                self.cancelling = false;
                // The folder tells the jobs too.
                if let Err(Unanswered::Away(said)) = answer {
                    self.controller_is_away(&said);
                }
            }
            Order::Close => self.closing = true,
        }
    }

    fn ready(&mut self, submit: Submit) {
        let number = submit.number;
        let now = Instant::now();
        let state = match &submit.taken_up {
            Some(Submission { name, index }) => {
                self.hurry();
                let name = (name.clone(), *index);
                JobState::Submitted { name, since: now, taken_up: true }
            }
            None => {
                self.gathering.push(number);
                let first = self.gathered.map_or(now, |(first, _)| first);
                self.gathered = Some((first, now));
                JobState::Ready
            }
        };
        let job = TrackedJob {
            submit,
            state,
            id: None,
            tail: Tail::default(),
            began: false,
            told_reason: None,
            stopped: None,
            over: None,
            asks_why: None,
        };
        self.jobs.insert(number, job);
    }

    fn stop(&mut self, number: u64, how: Stop) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.stopped = job.stopped.max(Some(how));
        let by_term = || Ok(ExitStatus::Signal(libc::SIGTERM).into());
        if matches!(job.state, JobState::Ready) {
            return self.end(number, by_term());
        }
        job.submit.folder.tell_to_stop(how);
        if let Some(id) = &job.id {
            self.to_cancel.push(id.clone());
        }
        if how == Stop::Now {
            // The user does not wait any longer. If the job is still alive, it finds its folder
            // gone.
            self.end(number, by_term());
        }
        self.hurry();
    }

    /// Cancels all jobs that are to be cancelled, in one call.
    fn cancel(&mut self) {
        if self.cancelling || self.to_cancel.is_empty() {
            return;
        }
        self.cancelling = true;
        let jobs = std::mem::take(&mut self.to_cancel);
        let orders = self.office.orders.clone();
        threads::spawn_or_do(move || {
            let mut answer = Ok(());
            for chunk in jobs.chunks(LARGEST_ARRAY) {
                answer = answer.and(queue::scancel(chunk));
            }
            let _ = orders.send(Order::Cancelled { answer });
        });
    }
}
