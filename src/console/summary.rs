//! The summary of a run: what ran, how much time the store saved, the main metrics, what was
//! published.

use std::collections::BTreeMap;

use crate::console::plan_view::frozen_in_words;
use crate::run::event::{Outcome, RemoteTraffic, RunEvent, Summary};
use crate::run::publish::Published;
use crate::text::figures::{count, figures, seconds};
use crate::text::terminal::wrapped;
use crate::text::variants::label;
use crate::text::variants::names;

/// Collects from the events of a run what the summary needs.
#[derive(Default)]
pub struct Tally {
    ran: Vec<String>,
    published: Vec<String>,
    frozen: Vec<String>,
    /// The last stage with final metrics, which is the result of the pipeline.
    figures: Option<(String, BTreeMap<String, f64>)>,
}

impl Tally {
    pub fn take(&mut self, event: &RunEvent) {
        match event {
            RunEvent::StageFinished(finished) => {
                if finished.outcome == Outcome::Ran {
                    self.ran.push(finished.stage.clone());
                }
                // The last variant to end would say nothing about the others.
                if label(&finished.stage).is_some() {
                    self.figures = None;
                } else if !finished.metrics.is_empty() {
                    self.figures = Some((finished.stage.clone(), finished.metrics.clone()));
                }
            }
            RunEvent::StageFrozen { stage, .. } => self.frozen.push(stage.clone()),
            RunEvent::Published { path, result: Published::Written, .. } => {
                self.published.push(path.display().to_string());
            }
            _ => {}
        }
    }

    pub fn is_frozen(&self, stage: &str) -> bool {
        self.frozen.iter().any(|frozen| frozen == stage)
    }

    pub fn lines(&self, summary: &Summary) -> Vec<String> {
        let saved = match summary.saved_seconds {
            saved if saved >= 0.05 => format!(" (that saved {})", seconds(saved)),
            _ => String::new(),
        };
        let frozen: Vec<&str> = self.frozen.iter().map(String::as_str).collect();
        let are_frozen = frozen_in_words(&frozen);
        let up_to_date = summary.hits.saturating_sub(frozen.len());
        let hits = match up_to_date {
            0 => String::new(),
            1 => format!("1 stage was up to date{saved}"),
            some => format!("{} were up to date{saved}", count(some, "stage")),
        };
        let all_hits = summary.ran + summary.failed + summary.skipped == 0;
        let mut lines = Vec::new();
        if all_hits && !frozen.is_empty() {
            let all = match up_to_date {
                0 => are_frozen.trim_start_matches("; ").to_owned(),
                some => format!("{} up to date{are_frozen}", count(some, "stage")),
            };
            let line = format!("nothing to do: {all}{saved}");
            lines.extend(wrapped(&line, 0).lines().map(str::to_owned));
        } else if all_hits && summary.hits == 1 {
            lines.push(format!("nothing to do: the only stage is up to date{saved}"));
        } else if all_hits {
            let all = count(summary.hits, "stage");
            lines.push(format!("nothing to do: all {all} are up to date{saved}"));
        } else {
            let ran: Vec<&str> = self.ran.iter().map(String::as_str).collect();
            let mut parts = Vec::new();
            if summary.ran > 0 {
                parts.push(format!("ran {} in {}", names(&ran), seconds(summary.seconds)));
            }
            let unhappy = [
                (summary.failed - summary.stopped, "failed"),
                (summary.stopped, "interrupted"),
                (summary.skipped, "skipped"),
            ];
            for (number, what) in unhappy.into_iter().filter(|(number, _)| *number > 0) {
                parts.push(format!("{} {what}", count(number, "stage")));
            }
            parts.extend((!hits.is_empty()).then_some(hits));
            let parts = parts.join("; ") + &are_frozen;
            lines.extend(wrapped(&parts, 0).lines().map(str::to_owned));
        }
        if !all_hits && let Some((stage, values)) = &self.figures {
            lines.extend(
                wrapped(&format!("{stage}: {}", figures(values, 6)), 0).lines().map(str::to_owned),
            );
        }
        lines.extend(summary.remote.as_ref().and_then(remote_in_words));
        if !self.published.is_empty() {
            let published: Vec<&str> = self.published.iter().map(String::as_str).collect();
            lines.push(format!("published {}", names(&published)));
        }
        lines
    }
}

fn remote_in_words(traffic: &RemoteTraffic) -> Option<String> {
    let RemoteTraffic { name, pulled, pushed } = traffic;
    let results = |number: usize| count(number, "result");
    match (*pulled, *pushed) {
        (0, 0) => None,
        (pulled, 0) => Some(format!("{} came from `{name}`", results(pulled))),
        (0, pushed) => Some(format!("{} went to `{name}`", results(pushed))),
        (pulled, pushed) => {
            Some(format!("{} came from `{name}`, {pushed} went there", results(pulled)))
        }
    }
}
