//! What the clerk knows about all jobs, and the changes that several of its tasks make.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use stages::Event;

use super::job::{JobState, TrackedJob};
use super::order::{Group, Heard, Order};
use crate::executor::slurm::error::SlurmError;
use crate::executor::status::{Ended, News};
use crate::files::disk;

/// What the clerk needs for its work.
pub struct Office {
    pub binary: PathBuf,
    /// The folder that holds the folders of all jobs.
    pub jobs: PathBuf,
    /// Sends orders to the clerk itself.
    pub orders: Sender<Order>,
}

/// Slurm's default for `MaxArraySize`; an administrator may have raised it.
pub(super) const LARGEST_ARRAY: usize = 1000;
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(10);
pub(super) const FIRST_POLL: Duration = Duration::from_secs(1);

pub(super) struct Clerk {
    pub(super) office: Office,
    pub(super) jobs: BTreeMap<u64, TrackedJob>,
    pub(super) groups: VecDeque<Group>,
    /// Jobs that are being gathered, and when the first and the last of them came.
    pub(super) gathering: Vec<u64>,
    pub(super) gathered: Option<(Instant, Instant)>,
    pub(super) submitting: usize,
    pub(super) polling: bool,
    pub(super) next_poll: Instant,
    pub(super) poll_pause: Duration,
    pub(super) look_pause: Duration,
    pub(super) cancelling: bool,
    pub(super) to_cancel: Vec<String>,
    pub(super) away: bool,
    pub(super) closing: bool,
    /// Lists of arrays, with the number of jobs that still need each.
    pub(super) lists: BTreeMap<PathBuf, usize>,
}

impl Clerk {
    pub(super) fn new(office: Office) -> Clerk {
        let now = Instant::now();
        Clerk {
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
        }
    }

    /// Something has changed, so results may show soon.
    pub(super) fn hurry(&mut self) {
        self.look_pause = FIRST_LOOK;
        self.poll_pause = FIRST_POLL;
        self.next_poll = self.next_poll.min(Instant::now() + FIRST_POLL);
    }

    pub(super) fn end(&mut self, number: u64, end: Result<Ended, SlurmError>) {
        let Some(job) = self.jobs.remove(&number) else { return };
        if let JobState::Submitted { name: (name, Some(_)), .. } = &job.state {
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
    pub(super) fn controller_is_away(&mut self, said: &str) {
        if std::mem::replace(&mut self.away, true) {
            return;
        }
        let message = format!(
            "the Slurm controller does not answer ({said}); jobs continue, and so does this run"
        );
        self.say(Event::Warning { message });
    }

    pub(super) fn controller_is_back(&mut self) {
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
