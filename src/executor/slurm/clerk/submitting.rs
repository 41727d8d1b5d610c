//! From ready stages to jobs in the queue: stages are gathered for a moment, noted in their
//! folders, submitted, and submitted again later if the controller is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::job::{JobState, TrackedJob};
use super::order::{Group, Order, Submit};
use super::state::{Clerk, LARGEST_ARRAY};
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFolder, Submission};
use crate::executor::slurm::parcel::Parcel;
use crate::executor::slurm::queue::{self, Unanswered};
use crate::executor::slurm::request::{script, script_by_remote};
use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::threads;
use crate::files::unique;

/// A stage that becomes ready within this time after another one is submitted with it. Stages that could
/// start together become ready one after the other, and on a busy node not at once.
pub(super) const GATHER: Duration = Duration::from_millis(100);
/// Do not gather for longer than this.
const GATHER_AT_MOST: Duration = Duration::from_secs(1);
pub(super) const SBATCH_AT_ONCE: usize = 4;
/// How long to wait for an absent controller before a submission fails.
const AWAY: Duration = Duration::from_secs(30 * 60);
const AGAIN: Duration = Duration::from_secs(2);
const LAST_AGAIN: Duration = Duration::from_secs(30);

impl Clerk {
    /// Forms groups of the ready stages, once no more come for a moment.
    pub(super) fn gather(&mut self) {
        let Some((first, last)) = self.gathered else { return };
        if last.elapsed() < GATHER && first.elapsed() < GATHER_AT_MOST {
            return;
        }
        self.gathered = None;
        let mut groups: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for number in std::mem::take(&mut self.gathering) {
            let Some(TrackedJob { submit, .. }) = self.jobs.get(&number) else { continue };
            let Submit { family, options, array_limit, late, parcel, .. } = submit;
            let travels = parcel.is_some();
            let alike = (family.clone(), options.clone(), *array_limit, *late, travels);
            groups.entry(alike).or_default().push(number);
        }
        for ((family, options, array_limit, late, _), numbers) in groups {
            for numbers in numbers.chunks(LARGEST_ARRAY) {
                let alike = (family.clone(), options.clone(), array_limit, late);
                self.note_and_queue(numbers.to_vec(), alike);
            }
        }
    }

    /// Notes in the folders what is about to be submitted: whatever dies after that, anyone who
    /// looks there knows the name to ask for.
    pub(super) fn note_and_queue(
        &mut self,
        numbers: Vec<u64>,
        (family, options, array_limit, late): (String, Vec<String>, Option<u32>, Duration),
    ) {
        let name = self.name(&family, &numbers);
        let folders: Vec<JobFolder> = numbers
            .iter()
            .filter_map(|number| Some(self.jobs.get(number)?.submit.folder.clone()))
            .collect();
        let parcels: Vec<&Arc<Parcel>> =
            numbers.iter().filter_map(|it| self.jobs.get(it)?.submit.parcel.as_ref()).collect();
        let parcels = parcels.first().map(|first| {
            (parcels.iter().map(|parcel| parcel.name.clone()).collect(), first.spec())
        });
        let is_array = folders.len() > 1;
        let path = match folders.as_slice() {
            [one] => one.0.clone(),
            _ => self.office.jobs.join(format!("{name}.list")),
        };
        let mut noted = Ok(());
        if is_array {
            let lines: String = folders.iter().map(|it| format!("{}\n", it.0.display())).collect();
            noted = crate::files::scratch::write_beside(&path, lines.as_bytes());
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
            parcels,
            due,
            refused_since: None,
            in_doubt: false,
        });
    }

    /// A name that users see in `squeue`, and that was never used before.
    pub(super) fn name(&self, family: &str, numbers: &[u64]) -> String {
        let folders = numbers.iter().filter_map(|number| self.jobs.get(number));
        let folders: String =
            folders.map(|job| job.submit.folder.0.display().to_string()).collect();
        let unique = format!("{folders} {}", unique::random());
        let family: String = family.chars().take(60).collect();
        format!("pipe-{family}-{}", Digest::of_bytes(unique.as_bytes()).short())
    }

    pub(super) fn submit(&mut self) {
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
            let binary = &self.office.binary;
            let text = match &group.parcels {
                Some((parcels, spec)) => {
                    script_by_remote(binary, &group.name, parcels, &spec.to_text())
                }
                None => script(binary, &group.name, &group.path, group.late, ""),
            };
            let orders = self.office.orders.clone();
            self.submitting += 1;
            threads::spawn_or_do(move || {
                let answer = submit_once(&group, &options, &text);
                let _ = orders.send(Order::Submitted { group: Box::new(group), answer });
            });
        }
    }

    pub(super) fn submitted(&mut self, mut group: Group, answer: Result<String, Unanswered>) {
        self.submitting -= 1;
        match answer {
            Ok(id) => {
                self.controller_is_back();
                let is_array = group.numbers.len() > 1;
                for (index, number) in (0..).zip(&group.numbers) {
                    let index = is_array.then_some(index);
                    let of_stage = index.map_or_else(|| id.clone(), |it| format!("{id}_{it}"));
                    let Some(job) = self.jobs.get_mut(number) else {
                        // Stopped while it was being submitted.
                        self.to_cancel.push(of_stage);
                        continue;
                    };
                    let name = (group.name.clone(), index);
                    job.state =
                        JobState::Submitted { name, since: Instant::now(), taken_up: false };
                    job.id = Some(of_stage);
                    if let (Some(_), Some(id)) = (job.stopped, &job.id) {
                        self.to_cancel.push(id.clone());
                    }
                }
                self.hurry();
            }
            Err(Unanswered::Away(said)) => {
                let since = *group.refused_since.get_or_insert_with(Instant::now);
                // A full queue is not an absent controller: it accepts jobs again when others have
                // ended.
                let is_full = said.contains("submit limit");
                if since.elapsed() > AWAY && !is_full {
                    let minutes = AWAY.as_secs() / 60;
                    return self.end_all(&group, || SlurmError::Unreachable {
                        minutes,
                        said: said.clone(),
                    });
                }
                let is_out = |job: &TrackedJob| matches!(job.state, JobState::Submitted { .. });
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

    pub(super) fn end_all(&mut self, group: &Group, error: impl Fn() -> SlurmError) {
        for number in &group.numbers {
            self.end(*number, Err(error()));
        }
    }
}

/// One attempt. If the answer to an earlier attempt was lost, it may have been accepted: then a job
/// of that name exists.
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
