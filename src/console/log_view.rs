//! Runs of the log, the difference between two runs, and restored outputs.

use std::fmt::Write;

use crate::console::explanation::describe_change;
use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View, json_line, json_lines};
use crate::results::git::GitState;
use crate::results::restore::{Rebuild, Restored, RestoredOutput, is_possible};
use crate::results::run_diff::{MetricChange, RunDiff, StageDiff};
use crate::results::run_log::LoggedRun;
use crate::run::event::Outcome;
use crate::text::figures::{age, count, figure, figures, seconds};
use crate::text::terminal::{WIDTH, fit, printable, table, wrapped};
use crate::text::variants::names;
use stages::builtin::score::paired_comparison::PairedComparison;

/// Runs of the log, newest first; `older` ones are not shown.
pub struct LogView<'a> {
    pub runs: &'a [LoggedRun],
    pub older: usize,
}

impl View for LogView<'_> {
    fn text(&self, page: &Page) -> String {
        log(self.runs, self.older, &page.palette)
    }

    fn json(&self) -> String {
        json_lines(self.runs)
    }
}

/// Two runs compared.
pub struct DiffView<'a> {
    pub diff: &'a RunDiff,
    pub from: &'a LoggedRun,
    pub to: &'a LoggedRun,
}

impl View for DiffView<'_> {
    fn text(&self, page: &Page) -> String {
        diff(self.diff, self.from, self.to, &page.palette)
    }

    fn json(&self) -> String {
        json_line(self.diff)
    }
}

fn log(runs: &[LoggedRun], older: usize, palette: &Palette) -> String {
    let mut text = String::new();
    for run in runs {
        let head = format!("{} ago in {}{}", age(&run.when), seconds(run.seconds), typed(run));
        let head = fit(&printable(&head), WIDTH - run.id.len() - 2);
        let _ = writeln!(text, "{}  {head}", paint(palette.name, &run.id));
        text.push_str(&wrapped(&outcomes(run), 2));
        let last = run.stages.iter().rev().find(|stage| !stage.metrics.is_empty());
        if let Some(stage) = last {
            let line = format!("{}: {}", printable(&stage.stage), figures(&stage.metrics, 6));
            text.push_str(&wrapped(&line, 2));
        }
    }
    if older > 0 {
        let _ = writeln!(text, "… {} (`-n N` shows more)", count(older, "older run"));
    }
    text
}

/// The state of the repository, and the options that distinguish the run from a plain `pipe run`.
fn typed(run: &LoggedRun) -> String {
    let git = run.git.iter().map(GitState::short);
    let set = run.set.iter().map(|(key, value)| format!("{key}={value}"));
    let profile = run.profile.iter().map(|profile| format!("--profile {profile}"));
    let parts: Vec<String> = git.chain(profile).chain(set).collect();
    if parts.is_empty() { String::new() } else { format!("  {}", parts.join(" ")) }
}

fn outcomes(run: &LoggedRun) -> String {
    let of = |outcome: Outcome| -> Vec<&str> {
        let stages = run.stages.iter().filter(|stage| stage.outcome == outcome);
        stages.map(|stage| stage.stage.as_str()).collect()
    };
    let mut parts = Vec::new();
    let (ran, failed) = (of(Outcome::Ran), of(Outcome::Failed));
    if !ran.is_empty() {
        parts.push(format!("ran {}", names(&ran)));
    }
    if !failed.is_empty() {
        parts.push(format!("{} failed", names(&failed)));
    }
    for (outcome, what) in [(Outcome::Skipped, "skipped"), (Outcome::Hit, "up to date")] {
        let stages = of(outcome).len();
        if stages > 0 {
            parts.push(format!("{stages} {what}"));
        }
    }
    if run.interrupted {
        parts.push("interrupted".to_owned());
    }
    printable(&parts.join("; "))
}

fn diff(diff: &RunDiff, from: &LoggedRun, to: &LoggedRun, palette: &Palette) -> String {
    let mut text = String::new();
    for (what, run) in [("from", from), ("to", to)] {
        let head = format!("{} ago in {}{}", age(&run.when), seconds(run.seconds), typed(run));
        let head = fit(&printable(&head), WIDTH - run.id.len() - 8);
        let _ = writeln!(text, "{what:<4}  {}  {head}", paint(palette.name, &run.id));
    }
    let (same, differing): (Vec<_>, Vec<_>) = diff.stages.iter().partition(|s| s.is_same());
    for stage in differing {
        let _ = writeln!(text, "{}", paint(palette.name, &printable(&stage.stage)));
        text.push_str(&stage_text(stage));
    }
    let same: Vec<&str> = same.iter().map(|stage| stage.stage.as_str()).collect();
    if !same.is_empty() {
        text.push_str(&wrapped(&printable(&format!("the same: {}", names(&same))), 0));
    }
    text
}

fn stage_text(stage: &StageDiff) -> String {
    let mut text = String::new();
    match (&stage.from, &stage.to) {
        (Some(_), None) => text.push_str("  only in the first run\n"),
        (None, Some(_)) => text.push_str("  only in the second run\n"),
        (Some(from), Some(to)) => {
            let word = |outcome: Outcome| match outcome {
                Outcome::Hit | Outcome::Ran => "done",
                Outcome::Failed => "failed",
                Outcome::Skipped => "skipped",
            };
            let (from, to) = (word(from.outcome), word(to.outcome));
            if from != to || from != "done" {
                let _ = writeln!(text, "  {from} → {to}");
            }
        }
        (None, None) => {}
    }
    for change in &stage.changes {
        describe_change(&mut text, change);
    }
    if stage.changes_unknown {
        text.push_str("  its key differs, but a record is gone, so the fields are unknown\n");
    }
    if !stage.metrics.is_empty() {
        text.push_str(&metrics(&stage.metrics));
    }
    for (output, compared) in &stage.predictions {
        text.push_str(&predictions(output, compared));
    }
    text
}

/// How many predictions became right or wrong, and whether that is more than chance.
fn predictions(output: &str, compared: &PairedComparison) -> String {
    let rows = count(compared.rows as usize, "row");
    let (right, wrong) = (compared.only_this_right, compared.only_other_right);
    let p = figure(compared.mcnemar.mid_p);
    let head = format!(
        "{} of {rows}: {right} became right, {wrong} became wrong (McNemar's test: p {p})",
        printable(output)
    );
    let mut text = wrapped(&head, 2);
    for (name, found) in compared.headlines() {
        let name = match &compared.positive {
            Some(label) if name == "f1" => format!("f1 of `{}`", printable(label)),
            _ => name.to_owned(),
        };
        let interval = found.interval.map(|[low, high]| {
            let percent = figure(compared.confidence * 100.0);
            format!(" ({percent} % interval {} to {})", signed(low), signed(high))
        });
        let shows = found.detectable.filter(|least| *least > 0.0).map(|least| {
            format!("; these rows show a difference of {} or more (80 % power)", figure(least))
        });
        let line = format!(
            "{name} {} → {}, {}{}{}",
            figure(found.other),
            figure(found.this),
            signed(found.difference),
            interval.unwrap_or_default(),
            shows.unwrap_or_default()
        );
        text.push_str(&wrapped(&line, 4));
    }
    text
}

/// `  f1  0.5957 → 0.6034  +0.0077`, headline metrics first.
fn metrics(changes: &[MetricChange]) -> String {
    const SHOWN: usize = 16;
    let headline: Vec<&str> =
        stages::all().iter().flat_map(|stage| stage.headline()).copied().collect();
    let rank = |change: &MetricChange| {
        headline.iter().position(|name| *name == change.name).unwrap_or(headline.len())
    };
    let mut sorted: Vec<&MetricChange> = changes.iter().collect();
    sorted.sort_by_key(|change| rank(change));
    let side = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
    let rows = sorted.iter().take(SHOWN).map(|change| {
        vec![
            format!("  {}", printable(&change.name)),
            format!("{} → {}", side(change.from), side(change.to)),
            change.delta.map(signed).unwrap_or_default(),
        ]
    });
    let mut text = table(rows.collect());
    if changes.len() > SHOWN {
        let _ = writeln!(text, "  … {} more (`--json` has all)", changes.len() - SHOWN);
    }
    text
}

fn signed(delta: f64) -> String {
    let sign = if delta < 0.0 { "-" } else { "+" };
    format!("{sign}{}", figure(delta.abs()))
}

/// A line on each output of a restored run.
pub fn restored(id: &str, outputs: &[RestoredOutput]) -> Vec<String> {
    if outputs.is_empty() {
        return vec![format!("run {id} published nothing")];
    }
    let mut lines = Vec::new();
    for output in outputs {
        let path = printable(&output.path.display().to_string());
        let artifact = printable(&output.artifact);
        lines.push(match output.result {
            Restored::Unchanged => format!("`{path}` is unchanged since run {id}"),
            Restored::Written => match &output.aside {
                None => format!("restored `{path}` ({artifact})"),
                Some(aside) => format!(
                    "restored `{path}` ({artifact}); the folder that was there, with your own \
                     files, is now `{}`",
                    printable(&aside.display().to_string())
                ),
            },
            Restored::Held => format!("`{path}` was left as it is"),
            Restored::Edited => {
                format!("`{path}` was edited and was left as it is (`--force` overwrites it)")
            }
            Restored::Foreign => format!(
                "`{path}` holds something that was never published and was left as it is; move it \
                 away to restore"
            ),
            Restored::Gone => {
                let how = match &output.rebuild {
                    Some(Rebuild::By(command)) => format!("`{command}` makes it again"),
                    Some(Rebuild::PerhapsBy(command)) => {
                        format!("`{command}` may make it again, if its inputs are as they were")
                    }
                    _ => "the pipeline has changed since and would make other bytes".to_owned(),
                };
                format!("`{path}` ({artifact}) is no longer in the store; {}", printable(&how))
            }
        });
    }
    if outputs.len() > 1 && !is_possible(outputs) {
        lines.push("nothing was restored; name the paths to restore".to_owned());
    }
    lines
}
