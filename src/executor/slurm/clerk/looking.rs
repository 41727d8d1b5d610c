//! What the folders say, and what the scheduler says about all jobs at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::job::{JobState, TrackedJob, Verdict};
use super::order::{Heard, Order};
use super::state::{Clerk, FIRST_LOOK, FIRST_POLL};
use crate::executor::slurm::folder::Tail;
use crate::executor::slurm::queue::{self, JobName, QueueEntry, Unanswered};
use crate::executor::status::{ExitStatus, JobEnd, News};
use crate::files::disk;
use crate::files::threads;

const LAST_LOOK: Duration = Duration::from_secs(1);
const LAST_POLL: Duration = Duration::from_secs(30);

impl Clerk {
    /// Reads the folders of all jobs.
    pub(super) fn look(&mut self) {
        let began = Instant::now();
        let mut news = false;
        let numbers: Vec<u64> = self.jobs.keys().copied().collect();
        let mut ask = false;
        for number in numbers {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let JobState::Submitted { taken_up, .. } = job.state else { continue };
            if let Some(parcel) = &job.submit.parcel {
                parcel.ask(job.over.is_some());
                if let Some(error) = parcel.failed() {
                    self.end(number, Err(error));
                    continue;
                }
                if job.over.is_some() && parcel.may_come() {
                    continue;
                }
            }
            news |= job.pass_on_events();
            if job.over.is_some() {
                // Listing a folder makes new files in it visible, even on a network file system.
                let _ = std::fs::read_dir(&job.submit.folder.0).map(Iterator::count);
            }
            match job.verdict() {
                Verdict::Continues => {}
                Verdict::AsksWhy => ask = true,
                Verdict::Over(end) => {
                    // Events that were written before the result.
                    job.pass_on_events();
                    self.end(number, end);
                    news = true;
                }
                Verdict::Vanished if taken_up => self.again(number),
                Verdict::Vanished => {
                    let said = "Slurm no longer knows the job".to_owned();
                    self.end(number, Ok(ExitStatus::Scheduler(JobEnd::Lost { said }).into()));
                }
            }
        }
        if ask {
            self.poll_pause = FIRST_POLL;
            self.next_poll = self.next_poll.min(Instant::now() + FIRST_POLL);
        }
        // Looking at many jobs over a network takes time: spend at most a tenth of all time on it.
        let slower = self.look_pause.mul_f64(1.25).min(LAST_LOOK);
        self.look_pause = if news { FIRST_LOOK } else { slower }.max(began.elapsed() * 10);
    }

    /// Submits a job again that an earlier engine had submitted and that is gone.
    pub(super) fn again(&mut self, number: u64) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let _ = disk::remove_file(&job.submit.folder.events_file());
        job.state = JobState::Ready;
        (job.tail, job.began, job.over) = (Tail::default(), false, None);
        (job.id, job.asks_why) = (None, None);
        // The next news belong to another start.
        let _ = job.submit.sender.send(Heard::News(News::BeganAnew));
        let _ = disk::remove_file(&job.submit.folder.result_file());
        self.gathering.push(number);
        let now = Instant::now();
        self.gathered = Some((self.gathered.map_or(now, |(first, _)| first), now));
    }

    /// Asks the scheduler about all jobs, if that is due.
    pub(super) fn poll(&mut self) {
        let is_out = |job: &TrackedJob| matches!(job.state, JobState::Submitted { .. });
        let now = Instant::now();
        if self.polling || now < self.next_poll || !self.jobs.values().any(is_out) {
            return;
        }
        self.polling = true;
        let orders = self.office.orders.clone();
        threads::spawn_or_do(move || {
            let _ = orders.send(Order::Queue { asked: now, answer: queue::squeue() });
        });
    }

    pub(super) fn heard_of(
        &mut self,
        asked: Instant,
        answer: Result<BTreeMap<JobName, QueueEntry>, Unanswered>,
    ) {
        self.polling = false;
        self.next_poll = Instant::now() + self.poll_pause;
        self.poll_pause = self.poll_pause.mul_f64(1.5).min(LAST_POLL);
        let rows = match answer {
            Ok(rows) => rows,
            Err(Unanswered::Away(said)) => return self.controller_is_away(&said),
            Err(Unanswered::Final(error)) => return self.controller_is_away(&error.to_string()),
        };
        self.controller_is_back();
        for job in self.jobs.values_mut() {
            let JobState::Submitted { name, since, .. } = &job.state else { continue };
            if *since > asked {
                continue;
            }
            let row = rows.get(name);
            let Some(row) = row else {
                job.over.get_or_insert((Instant::now(), None));
                continue;
            };
            job.update(row);
            if job.stopped.is_some() && job.id.is_none() {
                self.to_cancel.push(row.id.clone());
            }
            job.id = Some(row.id.clone());
        }
        self.look_pause = FIRST_LOOK;
    }
}
