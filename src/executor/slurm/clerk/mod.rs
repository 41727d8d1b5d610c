//! The thread that manages all batch jobs of a run: it submits ready stages, passes on what their
//! folders say, asks the scheduler about all jobs at once, and cancels jobs.
//!
//! Looking into the folders is cheap and happens often; `squeue` is asked a second after a
//! submission and then at growing intervals. Commands run on threads of their own, so that a
//! controller that does not answer delays no result.

mod job;
mod looking;
mod submitting;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use stages::Event;

use self::job::{Job, Stand};
use self::submitting::{GATHER, Group, SBATCH_AT_ONCE};
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFolder, Submission, Tail};
use crate::executor::slurm::parcel::Parcel;
use crate::executor::slurm::queue::{self, Name, Row, Unanswered};
use crate::executor::status::{Ended, ExitStatus, News, Stop};
use crate::files::disk;

/// What the clerk is told to do, or learns.
pub enum Order {
    Submit(Box<Submit>),
    Stop {
        number: u64,
        how: Stop,
    },
    /// The answer of `sbatch`.
    Submitted {
        group: Box<Group>,
        answer: Result<String, Unanswered>,
    },
    /// The answer of `squeue` to a question asked at that time.
    Queue {
        asked: Instant,
        answer: Result<BTreeMap<Name, Row>, Unanswered>,
    },
    Cancelled {
        answer: Result<(), Unanswered>,
    },
    /// No stage waits any more.
    Close,
}

/// A stage to submit.
pub struct Submit {
    pub number: u64,
    pub folder: JobFolder,
    /// The stage's name without a variant's label: variants are submitted together.
    pub family: String,
    pub options: Vec<String>,
    pub array_limit: Option<u32>,
    pub late: Duration,
    /// What a dead engine has submitted for this stage.
    pub taken_up: Option<Submission>,
    /// Set if the nodes do not see the folder.
    pub parcel: Option<Arc<Parcel>>,
    pub sender: Sender<Heard>,
}

/// What a stage hears from the clerk.
pub enum Heard {
    News(News),
    End(Result<Ended, SlurmError>),
}

/// What the clerk needs for its work.
pub struct Office {
    pub binary: PathBuf,
    /// The folder that holds the folders of all jobs.
    pub jobs: PathBuf,
    /// Sends orders to the clerk itself.
    pub orders: Sender<Order>,
}

/// Slurm's default for `MaxArraySize`; an administrator may have raised it.
const LARGEST_ARRAY: usize = 1000;
const FIRST_LOOK: Duration = Duration::from_millis(10);
const FIRST_POLL: Duration = Duration::from_secs(1);

struct Clerk {
    office: Office,
    jobs: BTreeMap<u64, Job>,
    groups: VecDeque<Group>,
    /// Jobs that are being gathered, and when the first and the last of them came.
    gathering: Vec<u64>,
    gathered: Option<(Instant, Instant)>,
    submitting: usize,
    polling: bool,
    next_poll: Instant,
    poll_pause: Duration,
    look_pause: Duration,
    cancelling: bool,
    to_cancel: Vec<String>,
    away: bool,
    closing: bool,
    /// Lists of arrays, with the number of jobs that still need each.
    lists: BTreeMap<PathBuf, usize>,
}

/// The main loop of the clerk.
pub fn work(office: Office, orders: &Receiver<Order>) {
    let now = Instant::now();
    let mut clerk = Clerk {
        office,
        jobs: BTreeMap::new(),
        groups: VecDeque::new(),
        gathering: Vec::new(),
        gathered: None,
        submitting: 0,
        polling: false,
        next_poll: now,
        poll_pause: FIRST_POLL,
        look_pause: FIRST_LOOK,
        cancelling: false,
        to_cancel: Vec::new(),
        away: false,
        closing: false,
        lists: BTreeMap::new(),
    };
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
        let is_out = |job: &Job| matches!(job.stand, Stand::Submitted { .. });
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
        let stand = match &submit.taken_up {
            Some(Submission { name, index }) => {
                self.hurry();
                let name = (name.clone(), *index);
                Stand::Submitted { name, since: now, taken_up: true }
            }
            None => {
                self.gathering.push(number);
                let first = self.gathered.map_or(now, |(first, _)| first);
                self.gathered = Some((first, now));
                Stand::Ready
            }
        };
        let job = Job {
            submit,
            stand,
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

    /// Something has changed, so results may show soon.
    fn hurry(&mut self) {
        self.look_pause = FIRST_LOOK;
        self.poll_pause = FIRST_POLL;
        self.next_poll = self.next_poll.min(Instant::now() + FIRST_POLL);
    }

    fn stop(&mut self, number: u64, how: Stop) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.stopped = job.stopped.max(Some(how));
        let by_term = || Ok(ExitStatus::Signal(libc::SIGTERM).into());
        if matches!(job.stand, Stand::Ready) {
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
        std::thread::spawn(move || {
            let mut answer = Ok(());
            for chunk in jobs.chunks(LARGEST_ARRAY) {
                answer = answer.and(queue::scancel(chunk));
            }
            let _ = orders.send(Order::Cancelled { answer });
        });
    }

    fn end(&mut self, number: u64, end: Result<Ended, SlurmError>) {
        let Some(job) = self.jobs.remove(&number) else { return };
        if let Stand::Submitted { name: (name, Some(_)), .. } = &job.stand {
            let list = self.office.jobs.join(format!("{name}.list"));
            if let Some(left) = self.lists.get_mut(&list) {
                *left -= 1;
                if *left == 0 {
                    self.lists.remove(&list);
                    let _ = disk::remove_file(&list);
                }
            }
        }
        // If the stage no longer listens, it was stopped.
        let _ = job.submit.sender.send(Heard::End(end));
    }

    /// Reported once, to one of the stages concerned.
    fn controller_is_away(&mut self, said: &str) {
        if std::mem::replace(&mut self.away, true) {
            return;
        }
        let message = format!(
            "the Slurm controller does not answer ({said}); jobs continue, and so does this run"
        );
        self.say(Event::Warning { message });
    }

    fn controller_is_back(&mut self) {
        if std::mem::replace(&mut self.away, false) {
            let message = "the Slurm controller answers again".to_owned();
            self.say(Event::Note { message });
        }
    }

    fn say(&self, event: Event) {
        if let Some(job) = self.jobs.values().next() {
            let _ = job.submit.sender.send(Heard::News(News::Says(event)));
        }
    }
}
