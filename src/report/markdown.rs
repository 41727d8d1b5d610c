//! The report as Markdown, for a comment or a page of notes: what ran, the figures with their intervals, and
//! what changed between two runs.

use std::fmt::Write;

use crate::report::data::{AuditSummary, Evaluation, Report, RunSummary};
use crate::results::run_diff::RunDiff;
use crate::run::event::Outcome;
use crate::text::figures::{count, figure, grouped, seconds};
use crate::text::terminal::printable;

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for run in &report.runs {
        add_run(run, &mut text);
    }
    if let Some(found) = &report.difference {
        add_difference(&found.diff, &mut text);
    }
    text
}

fn add_run(run: &RunSummary, text: &mut String) {
    let git = run.git.as_ref().map_or(String::new(), |git| format!(", {}", cell(git)));
    let _ = writeln!(text, "### Run `{}`{git}\n", run.id);
    let of = |outcome: Outcome| run.stages.iter().filter(|it| it.outcome == outcome).count();
    let outcomes = [
        (Outcome::Ran, "ran"),
        (Outcome::Hit, "up to date"),
        (Outcome::Failed, "failed"),
        (Outcome::Skipped, "skipped"),
    ];
    let outcomes = outcomes.iter().filter(|(outcome, _)| of(*outcome) > 0);
    let said = outcomes.map(|(outcome, word)| format!("{} {word}", count(of(*outcome), "stage")));
    let said = said.collect::<Vec<_>>().join(", ");
    let command = cell(&run.command.join(" "));
    let _ = writeln!(text, "`pipe {command}` in {}: {said}.\n", seconds(run.seconds));
    for stage in run.stages.iter().filter(|stage| stage.outcome == Outcome::Failed) {
        let message = cell(stage.message.as_deref().unwrap_or_default());
        let _ = writeln!(text, "- `{}` failed: {message}\n", cell(&stage.name));
    }
    run.evaluations.iter().for_each(|found| add_evaluation(found, text));
    run.audits.iter().for_each(|found| add_audit(found, text));
}

pub(super) fn add_evaluation(found: &Evaluation, text: &mut String) {
    let share = found.confidence.map_or(String::new(), |it| format!("{:.0} % ", 100.0 * it));
    let (artifact, rows) = (cell(&found.artifact), grouped(found.labelled));
    let _ = writeln!(text, "| {artifact}, {rows} rows | value | {share}interval | shows |");
    text.push_str("|---|---|---|---|\n");
    for it in &found.figures {
        let interval = it.interval.map(|[low, high]| format!("{low:.3} to {high:.3}"));
        let shows = it.detectable.filter(|it| *it > 0.0).map(|least| format!("± {least:.3}"));
        let _ = writeln!(
            text,
            "| {} | {:.3} | {} | {} |",
            it.name.replace('_', " "),
            it.value,
            interval.unwrap_or_default(),
            shows.unwrap_or_default()
        );
    }
    text.push('\n');
}

fn add_audit(found: &AuditSummary, text: &mut String) {
    let issues = grouped(found.all_issues);
    let _ = writeln!(text, "`{}`: {issues} examples to look at.\n", cell(&found.stage));
}

/// The predictions of both runs that differ, on the same rows.
fn add_difference(diff: &RunDiff, text: &mut String) {
    let _ = writeln!(text, "### `{}` against `{}`\n", diff.to, diff.from);
    let compared = diff.stages.iter().flat_map(|stage| {
        stage.predictions.iter().map(|(output, found)| (&stage.stage, output, found))
    });
    let mut lines = String::new();
    for (stage, output, found) in compared {
        for (name, it) in found.headlines() {
            let interval = it.interval.map_or(String::new(), |[low, high]| {
                format!("{} to {}", signed(low), signed(high))
            });
            let _ = writeln!(
                lines,
                "| {}:{} | {} | {} | {} | {} | {interval} | {} |",
                cell(stage),
                cell(output),
                name.replace('_', " "),
                figure(it.other),
                figure(it.this),
                signed(it.difference),
                figure(found.mcnemar.mid_p)
            );
        }
    }
    if lines.is_empty() {
        text.push_str("No predictions of the same labelled examples differ.\n");
        return;
    }
    text.push_str("| predictions | figure | before | now | difference | 95 % interval | p |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    text.push_str(&lines);
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    format!("{sign}{}", figure(value.abs()))
}

/// A text that cannot end a cell or begin markup.
pub(super) fn cell(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "\\<").replace('`', "'")
}
