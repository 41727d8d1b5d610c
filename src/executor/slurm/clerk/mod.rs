//! The thread that looks after all batch jobs of a run: submits what is ready, tells each stage
//! what its folder says, asks the scheduler about all jobs at once, and cancels.
//!
//! A look into the folders is cheap and often; `squeue` is asked a second after a submission
//! and then less and less. Commands run on threads of their own, so that a controller that does
//! not answer keeps nobody from hearing of a result.

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
use crate::executor::slurm::SlurmError;
use crate::executor::slurm::folder::{JobFolder, Submission, Tail};
use crate::executor::slurm::parcel::Parcel;
use crate::executor::slurm::queue::{self, Name, Row, Unanswered};
use crate::executor::{Ended, ExitStatus, News, Stop};
use crate::files::disk;

/// What the clerk is told.
pub enum Order {
    Submit(Box<Submit>),
    Stop {
        number: u64,
        how: Stop,
    },
    /// An answer of `sbatch`.
    Submitted {
        group: Box<Group>,
        answer: Result<String, Unanswered>,
    },
    /// An answer of `squeue`, to what was asked then.
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
    /// The stage's name without a variant's label: variants go together.
    pub family: String,
    pub options: Vec<String>,
    pub array_limit: Option<u32>,
    pub late: Duration,
    /// What an engine that is gone has submitted.
    pub taken_up: Option<Submission>,
    /// Where the nodes do not see the folder.
    pub parcel: Option<Arc<Parcel>>,
    pub sender: Sender<Heard>,
}

/// What a stage is told.
pub enum Heard {
    News(News),
    End(Result<Ended, SlurmError>),
}

/// What the clerk works with.
pub struct Office {
    pub binary: PathBuf,
    /// The folder of all jobs' folders.
    pub jobs: PathBuf,
    /// To itself.
    pub orders: Sender<Order>,
}

/// As Slurm's own `MaxArraySize` is, unless an administrator raised it.
const LARGEST_ARRAY: usize = 1000;
const FIRST_LOOK: Duration = Duration::from_millis(10);
const FIRST_POLL: Duration = Duration::from_secs(1);

struct Clerk {
    office: Office,
    jobs: BTreeMap<u64, Job>,
    groups: VecDeque<Group>,
    /// Jobs that are gathered, the first and the last of them since when.
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
    /// Lists of arrays with the number of jobs that still need them.
    lists: BTreeMap<PathBuf, usize>,
}

/// The clerk's whole life.
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
    /// Until when there is nothing to do; `None`: until somebody says something.
    fn pause(&self) -> Option<Duration> {
        if !self.gathering.is_empty() {
            return Some(GATHER);
        }
        let is_out = |job: &Job| matches!(job.stand, Stand::Submitted { .. });
        let look = self.jobs.values().any(is_out).then_some(self.look_pause);
        let waiting = self.groups.iter().map(|group| group.due);
        let due = waiting.min().map(|due| due.saturating_duration_since(Instant::now()));
        let due = due.filter(|_| self.submitting < SBATCH_AT_ONCE);
        // A due group that may not be submitted yet must not make this spin.
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
                // The folder tells them too.
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

    /// Something has changed: what comes of it may show soon.
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
            // The user waits no longer. The job finds its folder gone, should it live still.
            self.end(number, by_term());
        }
        self.hurry();
    }

    /// Cancels all that are to be cancelled in one call.
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
        // A stage that is not there to hear it has been stopped.
        let _ = job.submit.sender.send(Heard::End(end));
    }

    /// Said once, by one of the stages that it concerns.
    fn controller_is_away(&mut self, said: &str) {
        if std::mem::replace(&mut self.away, true) {
            return;
        }
        let message = format!(
            "the Slurm controller does not answer ({said}); jobs go on, and so does this run"
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
