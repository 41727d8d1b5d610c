//! The thread that looks after all batch jobs of a run: submits what is ready, tells each stage
//! what its folder says, asks the scheduler about all jobs at once, and cancels.
//!
//! A look into the folders is cheap and often; `squeue` is asked a second after a submission
//! and then less and less. Commands run on threads of their own, so that a controller that does
//! not answer keeps nobody from hearing of a result.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use stages::Event;

use crate::digest::Digest;
use crate::disk;
use crate::executor::slurm::SlurmError;
use crate::executor::slurm::folder::{JobFolder, Line, Submission, Tail};
use crate::executor::slurm::queue::{self, Name, Row, Unanswered};
use crate::executor::slurm::request::{NO_FOLDER, NO_PROGRAM, script};
use crate::executor::{Ended, ExitStatus, JobEnd, News, Stop};

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

/// Stages that are submitted together.
pub struct Group {
    numbers: Vec<u64>,
    name: String,
    /// A folder, or a list of them.
    path: PathBuf,
    options: Vec<String>,
    array_limit: Option<u32>,
    late: Duration,
    /// Not before then.
    due: Instant,
    /// It could not be submitted since then.
    refused_since: Option<Instant>,
    /// Nobody knows whether the last try was taken.
    in_doubt: bool,
}

/// How a job stands.
enum Stand {
    /// Not submitted yet.
    Ready,
    Submitted {
        name: Name,
        since: Instant,
        /// Of an engine that is gone: it may have ended long ago.
        taken_up: bool,
    },
}

struct Job {
    submit: Submit,
    stand: Stand,
    /// As Slurm calls it, once that is known.
    id: Option<String>,
    tail: Tail,
    began: bool,
    /// What it waits for has been told.
    told_reason: Option<String>,
    stopped: Option<Stop>,
    /// The scheduler says that it has ended, since then; `None` if it does not know it any more.
    over: Option<(Instant, Option<Row>)>,
    /// Its result says that only the scheduler knows why, since then.
    asks_why: Option<Instant>,
}

/// Stages that are ready within this are submitted together.
const GATHER: Duration = Duration::from_millis(20);
/// At the latest after this long.
const GATHER_AT_MOST: Duration = Duration::from_millis(300);
/// As Slurm's own `MaxArraySize` is, unless an administrator raised it.
const LARGEST_ARRAY: usize = 1000;
const SBATCH_AT_ONCE: usize = 4;

const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_secs(1);
const FIRST_POLL: Duration = Duration::from_secs(1);
const LAST_POLL: Duration = Duration::from_secs(30);
/// For how long a controller that is away is waited for when something is to be submitted.
const AWAY: Duration = Duration::from_secs(30 * 60);
const AGAIN: Duration = Duration::from_secs(2);
const LAST_AGAIN: Duration = Duration::from_secs(30);
/// How long after the scheduler's word a result may still come, if that word explains the end.
const EXPLAINED: Duration = Duration::from_secs(2);

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
    to_cancel: Vec<(Stop, String)>,
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
        if clerk.closing && clerk.jobs.is_empty() && !clerk.cancelling {
            return;
        }
        clerk.gather();
        clerk.submit();
        clerk.look();
        clerk.poll();
        clerk.cancel();
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

    // Submitting.

    /// Makes groups of what is ready, once no more comes for a moment.
    fn gather(&mut self) {
        let Some((first, last)) = self.gathered else { return };
        if last.elapsed() < GATHER && first.elapsed() < GATHER_AT_MOST {
            return;
        }
        self.gathered = None;
        let mut groups: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for number in std::mem::take(&mut self.gathering) {
            let Some(Job { submit, .. }) = self.jobs.get(&number) else { continue };
            let Submit { family, options, array_limit, late, .. } = submit;
            let alike = (family.clone(), options.clone(), *array_limit, *late);
            groups.entry(alike).or_default().push(number);
        }
        for ((family, options, array_limit, late), numbers) in groups {
            for numbers in numbers.chunks(LARGEST_ARRAY) {
                let alike = (family.clone(), options.clone(), array_limit, late);
                self.note_and_queue(numbers.to_vec(), alike);
            }
        }
    }

    /// Notes in the folders what is about to be submitted: whatever dies then, whoever looks there
    /// knows by which name to ask for it.
    fn note_and_queue(
        &mut self,
        numbers: Vec<u64>,
        (family, options, array_limit, late): (String, Vec<String>, Option<u32>, Duration),
    ) {
        let name = self.name(&family, &numbers);
        let folders: Vec<JobFolder> = numbers
            .iter()
            .filter_map(|number| Some(self.jobs.get(number)?.submit.folder.clone()))
            .collect();
        let is_array = folders.len() > 1;
        let path = match folders.as_slice() {
            [one] => one.0.clone(),
            _ => self.office.jobs.join(format!("{name}.list")),
        };
        let mut noted = Ok(());
        if is_array {
            let lines: String = folders.iter().map(|it| format!("{}\n", it.0.display())).collect();
            noted = crate::scratch::write_beside(&path, lines.as_bytes());
            self.lists.insert(path.clone(), folders.len());
        }
        for (index, folder) in (0..).zip(&folders) {
            let submission = Submission { name: name.clone(), index: is_array.then_some(index) };
            noted = noted.and_then(|()| folder.write_submission(&submission));
        }
        if let Err(error) = noted {
            for number in numbers {
                let said = error.to_string();
                self.end(number, Err(SlurmError::Refused { said }));
            }
            return;
        }
        let due = Instant::now();
        self.groups.push_back(Group {
            numbers,
            name,
            path,
            options,
            array_limit,
            late,
            due,
            refused_since: None,
            in_doubt: false,
        });
    }

    /// People see it in `squeue`; nobody has used it before.
    fn name(&self, family: &str, numbers: &[u64]) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let folders = numbers.iter().filter_map(|number| self.jobs.get(number));
        let folders: String =
            folders.map(|job| job.submit.folder.0.display().to_string()).collect();
        let unique = format!("{folders} {} {}", std::process::id(), now.as_nanos());
        let family: String = family.chars().take(60).collect();
        format!("pipe-{family}-{}", Digest::of_bytes(unique.as_bytes()).short())
    }

    fn submit(&mut self) {
        let now = Instant::now();
        while self.submitting < SBATCH_AT_ONCE {
            let Some(at) = self.groups.iter().position(|group| group.due <= now) else { return };
            let Some(mut group) = self.groups.remove(at) else { return };
            group.numbers.retain(|number| self.jobs.contains_key(number) || group.path.is_file());
            if group.numbers.iter().all(|number| !self.jobs.contains_key(number)) {
                let _ = disk::remove_file(&group.path);
                continue;
            }
            let mut options = vec![
                format!("--job-name={}", group.name),
                "--output=/dev/null".to_owned(),
                "--error=/dev/null".to_owned(),
                "--chdir=/".to_owned(),
                "--nodes=1".to_owned(),
                "--ntasks=1".to_owned(),
            ];
            if group.numbers.len() > 1 {
                let limit = group.array_limit.map(|limit| format!("%{limit}")).unwrap_or_default();
                options.push(format!("--array=0-{}{limit}", group.numbers.len() - 1));
            }
            options.extend(group.options.iter().cloned());
            let text = script(&self.office.binary, &group.name, &group.path, group.late, "");
            let orders = self.office.orders.clone();
            self.submitting += 1;
            std::thread::spawn(move || {
                let answer = submit_once(&group, &options, &text);
                let _ = orders.send(Order::Submitted { group: Box::new(group), answer });
            });
        }
    }

    fn submitted(&mut self, mut group: Group, answer: Result<String, Unanswered>) {
        self.submitting -= 1;
        match answer {
            Ok(id) => {
                self.controller_is_back();
                let is_array = group.numbers.len() > 1;
                for (index, number) in (0..).zip(&group.numbers) {
                    let Some(job) = self.jobs.get_mut(number) else { continue };
                    let index = is_array.then_some(index);
                    let name = (group.name.clone(), index);
                    job.stand = Stand::Submitted { name, since: Instant::now(), taken_up: false };
                    job.id = Some(index.map_or_else(|| id.clone(), |it| format!("{id}_{it}")));
                    if let (Some(how), Some(id)) = (job.stopped, &job.id) {
                        self.to_cancel.push((how, id.clone()));
                    }
                }
                self.hurry();
            }
            Err(Unanswered::Away(said)) => {
                let since = *group.refused_since.get_or_insert_with(Instant::now);
                // Full is not away: it goes on when others have ended.
                let is_full = said.contains("submit limit");
                if since.elapsed() > AWAY && !is_full {
                    let minutes = AWAY.as_secs() / 60;
                    return self.end_all(&group, || SlurmError::Unreachable {
                        minutes,
                        said: said.clone(),
                    });
                }
                let is_out = |job: &Job| matches!(job.stand, Stand::Submitted { .. });
                if is_full && !self.jobs.values().any(is_out) && since.elapsed() > LAST_AGAIN {
                    return self.end_all(&group, || SlurmError::Refused { said: said.clone() });
                }
                if !is_full {
                    self.controller_is_away(&said);
                }
                group.in_doubt = true;
                group.due = Instant::now() + since.elapsed().clamp(AGAIN, LAST_AGAIN);
                self.groups.push_back(group);
            }
            Err(Unanswered::Final(error)) => {
                let said = match error {
                    SlurmError::Refused { said } => said,
                    SlurmError::NoProgram { program, source } => {
                        let again = || std::io::Error::from(source.kind());
                        return self.end_all(&group, || SlurmError::NoProgram {
                            program,
                            source: again(),
                        });
                    }
                    other => other.to_string(),
                };
                self.end_all(&group, || SlurmError::Refused { said: said.clone() });
            }
        }
    }

    fn end_all(&mut self, group: &Group, error: impl Fn() -> SlurmError) {
        for number in &group.numbers {
            self.end(*number, Err(error()));
        }
    }

    // Looking.

    /// Reads what the folders say.
    fn look(&mut self) {
        let began = Instant::now();
        let mut news = false;
        let numbers: Vec<u64> = self.jobs.keys().copied().collect();
        let mut ask = false;
        for number in numbers {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let Stand::Submitted { taken_up, .. } = job.stand else { continue };
            news |= job.hear();
            if job.over.is_some() {
                // Whoever lists a folder sees what is new in it, on a network file system too.
                let _ = std::fs::read_dir(&job.submit.folder.0).map(Iterator::count);
            }
            match job.stands() {
                Verdict::Goes => {}
                Verdict::AsksWhy => ask = true,
                Verdict::Over(end) => {
                    // Events that were written before the result.
                    job.hear();
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
        // A look at many jobs over a network takes its time: at most a tenth of all.
        let slower = self.look_pause.mul_f64(1.25).min(LAST_LOOK);
        self.look_pause = if news { FIRST_LOOK } else { slower }.max(began.elapsed() * 10);
    }

    /// Submits again what an earlier engine had submitted and nobody knows any more.
    fn again(&mut self, number: u64) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let _ = disk::remove_file(&job.submit.folder.events_file());
        job.stand = Stand::Ready;
        (job.tail, job.began, job.over) = (Tail::default(), false, None);
        (job.id, job.asks_why) = (None, None);
        // What is heard next is of another start.
        let _ = job.submit.sender.send(Heard::News(News::BeganAnew));
        let _ = disk::remove_file(&job.submit.folder.result_file());
        self.gathering.push(number);
        let now = Instant::now();
        self.gathered = Some((self.gathered.map_or(now, |(first, _)| first), now));
    }

    /// Asks about all jobs, if it is time.
    fn poll(&mut self) {
        let is_out = |job: &Job| matches!(job.stand, Stand::Submitted { .. });
        let now = Instant::now();
        if self.polling || now < self.next_poll || !self.jobs.values().any(is_out) {
            return;
        }
        self.polling = true;
        let orders = self.office.orders.clone();
        std::thread::spawn(move || {
            let _ = orders.send(Order::Queue { asked: now, answer: queue::squeue() });
        });
    }

    fn heard_of(&mut self, asked: Instant, answer: Result<BTreeMap<Name, Row>, Unanswered>) {
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
            let Stand::Submitted { name, since, .. } = &job.stand else { continue };
            if *since > asked {
                continue;
            }
            let row = rows.get(name);
            let Some(row) = row else {
                job.over.get_or_insert((Instant::now(), None));
                continue;
            };
            job.is(row);
            if let (Some(how), None) = (job.stopped, &job.id) {
                self.to_cancel.push((how, row.id.clone()));
            }
            job.id = Some(row.id.clone());
        }
        self.look_pause = FIRST_LOOK;
    }

    // Ending.

    fn stop(&mut self, number: u64, how: Stop) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        job.stopped = job.stopped.max(Some(how));
        let by_term = || Ok(ExitStatus::Signal(libc::SIGTERM).into());
        if matches!(job.stand, Stand::Ready) {
            return self.end(number, by_term());
        }
        job.submit.folder.tell_to_stop(how);
        if let Some(id) = &job.id {
            self.to_cancel.push((how, id.clone()));
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
                let ids: Vec<String> = chunk.iter().map(|(_, id)| id.clone()).collect();
                answer = answer.and(queue::scancel(&ids));
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

/// One try. One whose answer never came may have been taken: then there is a job of that name.
fn submit_once(group: &Group, options: &[String], script: &str) -> Result<String, Unanswered> {
    if group.in_doubt {
        let rows = queue::squeue()?;
        let found = rows.iter().find(|((name, _), _)| *name == group.name);
        if let Some((_, row)) = found {
            return Ok(row.id.split('_').next().unwrap_or_default().to_owned());
        }
    }
    queue::sbatch(options, script)
}

/// What is to be made of a job after a look.
enum Verdict {
    Goes,
    /// Only the scheduler knows.
    AsksWhy,
    Over(Result<Ended, SlurmError>),
    /// Without a result, and the scheduler does not know it.
    Vanished,
}

impl Job {
    /// Hands over what the process has said since the last time; whether it has said anything.
    fn hear(&mut self) -> bool {
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

    /// Takes what the scheduler says.
    fn is(&mut self, row: &Row) {
        if !row.is_active() {
            // The clock runs from when the end was first heard of, but the last word counts.
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

    fn stands(&mut self) -> Verdict {
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
                // It may be queued again, and then the result goes. If nobody says so, it is over.
                None if since.elapsed() < self.submit.late => Verdict::AsksWhy,
                Some((_, None)) | None if !result.told => Verdict::Over(Ok(ended)),
                Some((_, None)) | None => {
                    let status = ExitStatus::Scheduler(JobEnd::Told);
                    Verdict::Over(Ok(Ended { status, ..ended }))
                }
            };
        }
        self.asks_why = None;
        let Some((since, row)) = &self.over else { return Verdict::Goes };
        let since = since.elapsed();
        let Some(row) = row else {
            let late = if self.is_taken_up() { EXPLAINED } else { self.submit.late };
            return if since < late { Verdict::Goes } else { Verdict::Vanished };
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
            _ => {}
        }
        let late = if explained.is_some() { EXPLAINED } else { self.submit.late };
        if since < late {
            return Verdict::Goes;
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

    fn is_taken_up(&self) -> bool {
        matches!(self.stand, Stand::Submitted { taken_up: true, .. })
    }
}
