//! The jobs that `pipe run --submit` has put into the queue.

use std::path::Path;

use crate::console::view::{Page, View};
use crate::executor::slurm::graph::SubmittedJob;
use crate::text::figures::count;

/// The jobs that a run has submitted.
pub struct SubmittedView<'a> {
    pub jobs: &'a [SubmittedJob],
    pub logs: &'a Path,
}

impl View for SubmittedView<'_> {
    fn text(&self, _: &Page) -> String {
        text(self.jobs, self.logs)
    }

    fn json(&self) -> String {
        json(self.jobs)
    }
}

fn json(jobs: &[SubmittedJob]) -> String {
    let line = |job: &SubmittedJob| {
        let mut line = serde_json::json!({"event": "submitted"});
        let fields = serde_json::to_value(job).unwrap_or_default();
        if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
            line.extend(fields.clone());
        }
        format!("{line}\n")
    };
    jobs.iter().map(line).collect()
}

fn text(jobs: &[SubmittedJob], logs: &Path) -> String {
    if jobs.is_empty() {
        return "nothing to submit: all stages are up to date\n".to_owned();
    }
    let names: Vec<String> = jobs.iter().map(stages).collect();
    let wide = names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (job, name) in jobs.iter().zip(names) {
        let after = job.after.iter().map(|after| format!(", {after}")).collect::<String>();
        let before = if job.queued_before { ", queued before" } else { "" };
        text.push_str(&format!("{name:<wide$}  job {}{after}{before}\n", job.job));
    }
    let new = jobs.iter().filter(|job| !job.queued_before).count();
    text.push_str(&format!(
        "submitted {}; logs in {}\n",
        count(new, "job"),
        crate::plan::reason::shown_path(logs)
    ));
    text
}

fn stages(job: &SubmittedJob) -> String {
    match job.stages.as_slice() {
        [one] => one.clone(),
        [first, ..] => {
            let family = crate::text::variants::family(first);
            format!("{family} ({} variants)", job.stages.len())
        }
        [] => String::new(),
    }
}
