//! The queue between requests and the model. It holds no more texts than it is told to, and gives
//! them out in batches: one text of each request in turn, so that a request of one text never waits
//! for all texts of a large one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use stages::builtin::classify::{PreparedText, TextScores};
use tokio::sync::oneshot;

use crate::serve::model::ServedModel;

/// What a request gets: scores for each of its texts, or why there are none.
pub type JobResult = Result<Vec<TextScores>, String>;

/// Texts that wait, and those that are computed.
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
    /// Texts of all requests that are not answered. Not in the state: permits are dropped while it
    /// is locked.
    admitted: AtomicUsize,
}

struct State {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

/// The texts of a request from `next` on.
struct Waiting {
    job: Arc<Job>,
    next: usize,
}

/// Room for the texts of a request. It is given back on drop.
pub struct Permit {
    queue: Arc<Queue>,
    texts: usize,
}

/// The texts of one request.
pub struct Job {
    pub model: Arc<ServedModel>,
    pub texts: Vec<PreparedText>,
    answer: Mutex<Answer>,
}

struct Answer {
    scores: Vec<Option<TextScores>>,
    missing: usize,
    /// `None` after the request was answered.
    reply: Option<(oneshot::Sender<JobResult>, Permit)>,
}

/// One text of a request.
pub struct Unit {
    pub job: Arc<Job>,
    pub index: usize,
}

impl Job {
    /// A request with at least one text, and where its answer comes.
    pub fn new(
        model: Arc<ServedModel>,
        texts: Vec<PreparedText>,
        permit: Permit,
    ) -> (Job, oneshot::Receiver<JobResult>) {
        let (reply, answer) = oneshot::channel();
        let (scores, missing) = (texts.iter().map(|_| None).collect(), texts.len());
        let state = Answer { scores, missing, reply: Some((reply, permit)) };
        (Job { model, texts, answer: Mutex::new(state) }, answer)
    }

    /// Takes the scores of one text. The last one answers the request.
    pub fn put(&self, index: usize, scores: TextScores) {
        let mut answer = self.answer();
        if answer.scores[index].replace(scores).is_none() {
            answer.missing -= 1;
        }
        if answer.missing == 0 {
            let all = std::mem::take(&mut answer.scores).into_iter().flatten().collect();
            answer.send(Ok(all));
        }
    }

    /// Refuses the request.
    pub fn fail(&self, problem: String) {
        self.answer().send(Err(problem));
    }

    /// Whether somebody still waits for the answer.
    fn is_wanted(&self) -> bool {
        self.answer().reply.as_ref().is_some_and(|(reply, _)| !reply.is_closed())
    }

    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn send(&mut self, result: JobResult) {
        if let Some((reply, permit)) = self.reply.take() {
            // Room first, so that whoever has an answer can send the next request.
            drop(permit);
            // The client may be gone.
            let _ = reply.send(result);
        }
    }
}

impl Unit {
    pub fn text(&self) -> &PreparedText {
        &self.job.texts[self.index]
    }
}

impl Queue {
    pub fn new(capacity: usize) -> Queue {
        let state = Mutex::new(State { waiting: VecDeque::new(), closed: false });
        Queue { state, changed: Condvar::new(), capacity, admitted: AtomicUsize::new(0) }
    }

    /// Room for so many texts, if there is as much now.
    pub fn admit(self: &Arc<Queue>, texts: usize) -> Option<Permit> {
        let add = |admitted: usize| {
            let sum = admitted.saturating_add(texts);
            (sum <= self.capacity).then_some(sum)
        };
        self.admitted.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        Some(Permit { queue: Arc::clone(self), texts })
    }

    pub fn push(&self, job: Job) {
        self.state().waiting.push_back(Waiting { job: Arc::new(job), next: 0 });
        self.changed.notify_all();
    }

    /// Texts of all requests that are not answered.
    pub fn admitted(&self) -> usize {
        self.admitted.load(Ordering::Acquire)
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// The next batch: texts for the same model, with up to `tokens` tokens together, but at least
    /// one. It waits for texts; `None` at the end.
    pub fn next(&self, tokens: usize) -> Option<Vec<Unit>> {
        let mut state = self.state();
        loop {
            let units = state.take(tokens);
            if !units.is_empty() {
                return Some(units);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, tokens: usize) -> Vec<Unit> {
        let (mut units, mut room): (Vec<Unit>, usize) = (Vec::new(), tokens);
        let mut for_others = VecDeque::new();
        while let Some(Waiting { job, next }) = self.waiting.pop_front() {
            if !job.is_wanted() {
                continue;
            }
            if units.first().is_some_and(|first| !Arc::ptr_eq(&first.job.model, &job.model)) {
                for_others.push_back(Waiting { job, next });
                continue;
            }
            let size = job.texts[next].tokens();
            if size > room && !units.is_empty() {
                self.waiting.push_front(Waiting { job, next });
                break;
            }
            room = room.saturating_sub(size);
            if next + 1 < job.texts.len() {
                self.waiting.push_back(Waiting { job: Arc::clone(&job), next: next + 1 });
            }
            units.push(Unit { job, index: next });
        }
        // They have waited the longest.
        for_others.append(&mut self.waiting);
        self.waiting = for_others;
        units
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.queue.admitted.fetch_sub(self.texts, Ordering::AcqRel);
    }
}
