//! The top of the page: which run it was, how it ended, its main figures, and what failed.

use crate::report::data::{Evaluation, Report, RunState, RunSummary, StageSummary};
use crate::report::html::{Html, tag};
use crate::report::sections::{badge, figure_words, paragraph, terms, time_words};
use crate::run::event::Outcome;
use crate::text::figures::{bytes, count, seconds};

/// The number of figures at the top of the page, at most.
const MOST_TILES: usize = 4;

/// The title of the page: `run 261123-154712-483 · tweets`.
pub fn title(report: &Report) -> String {
    match &report.runs[..] {
        [run] if report.comparison.is_some() => format!("Sweep {}", run.id),
        [run] => format!("Run {}", run.id),
        runs => format!("{} runs", runs.len()),
    }
}

pub fn header(report: &Report) -> Html {
    let heading = tag("h1").text(title(report));
    match &report.runs[..] {
        [run] => {
            let (words, class) = state_words(run.state());
            let first = tag("div").class("headline").child(heading).child(badge(words, class));
            [first, paragraph("lead", &lead(run))].into_iter().collect()
        }
        runs => {
            let of = |state: RunState| runs.iter().filter(|run| run.state() == state).count();
            let mut parts = vec![format!("{} done", of(RunState::Done))];
            for (state, words) in
                [(RunState::Failed, "failed"), (RunState::Interrupted, "interrupted")]
            {
                let number = of(state);
                parts.extend((number > 0).then(|| format!("{number} {words}")));
            }
            [heading, paragraph("lead", &parts.join(", "))].into_iter().collect()
        }
    }
}

pub fn state_words(state: RunState) -> (&'static str, &'static str) {
    match state {
        RunState::Done => ("done", "ran"),
        RunState::Failed => ("failed", "failed"),
        RunState::Interrupted => ("interrupted", "skipped"),
    }
}

/// `2026-11-23 19:13:36 UTC, in 4.5 s: 6 stages ran, 2 up to date`
fn lead(run: &RunSummary) -> String {
    let of = |outcome: Outcome| run.stages.iter().filter(|it| it.outcome == outcome).count();
    let mut parts = Vec::new();
    if of(Outcome::Ran) > 0 {
        parts.push(format!("{} ran", count(of(Outcome::Ran), "stage")));
    }
    let others =
        [(Outcome::Failed, "failed"), (Outcome::Skipped, "skipped"), (Outcome::Hit, "up to date")];
    for (outcome, words) in others {
        parts.extend((of(outcome) > 0).then(|| format!("{} {words}", of(outcome))));
    }
    format!("{}, in {}: {}", time_words(&run.when), seconds(run.seconds), parts.join(", "))
}

/// The main figures of a run, in large type.
pub fn tiles(run: &RunSummary) -> Html {
    // Test figures count more than validation figures, by which choices were made.
    let rank = |it: &Evaluation| match it.input.as_deref() {
        Some("test") => 0,
        Some(_) => 1,
        None => 2,
    };
    let mut evaluations: Vec<&Evaluation> = run.evaluations.iter().collect();
    evaluations.sort_by_key(|it| rank(it));
    let mut tiles = Vec::new();
    for evaluation in evaluations.into_iter().take(MOST_TILES / 2) {
        let headline = ["accuracy", &evaluation.headline];
        for figure in evaluation.figures.iter().filter(|it| headline.contains(&it.name)) {
            tiles.push(tile(evaluation, figure));
        }
    }
    match tiles.is_empty() {
        true => Html::new(),
        false => tag("div").class("tiles").children(tiles).into(),
    }
}

fn tile(evaluation: &Evaluation, it: &crate::report::data::Figure) -> Html {
    let of = evaluation.input.as_deref().unwrap_or(&evaluation.artifact);
    let interval = it.interval.map(|[low, high]| {
        let percent = evaluation.confidence.map_or(95.0, |share| share * 100.0);
        format!("{low:.3} to {high:.3} ({percent:.0} %)")
    });
    tag("div")
        .class("tile")
        .child(paragraph("name", &format!("{} {}", of, figure_words(it.name))))
        .child(paragraph("value", &format!("{:.3}", it.value)))
        .child(paragraph("interval", &interval.unwrap_or_default()))
        .into()
}

/// The command of the run, and where it ran.
pub fn facts(run: &RunSummary) -> Html {
    let mut entries = vec![("command", code(&format!("pipe {}", run.command.join(" "))))];
    if let Some(profile) = &run.profile {
        entries.push(("profile", code(profile)));
    }
    if !run.set.is_empty() {
        let set = run.set.iter().map(|(key, value)| code(&format!("{key}={value}")));
        let set: Vec<Html> = set.collect();
        entries.push(("set", spaced(set)));
    }
    let saved = |stage: &StageSummary| match stage.outcome {
        Outcome::Hit => stage.record.as_ref().map(|record| record.seconds),
        _ => None,
    };
    let saved: f64 = run.stages.iter().filter_map(saved).sum();
    entries.push(("time", Html::text(seconds(run.seconds))));
    if saved > 0.0 {
        entries.push(("saved by the cache", Html::text(seconds(saved))));
    }
    let made = || run.stages.iter().filter_map(|stage| stage.record.as_ref());
    entries.push(("results", Html::text(bytes(made().map(|record| record.bytes).sum()))));
    let mut machines: Vec<&str> = made().map(|record| record.machine.as_str()).collect();
    machines.sort_unstable();
    machines.dedup();
    if !machines.is_empty() {
        entries.push(("machine", Html::text(machines.join(", "))));
    }
    let mut devices: Vec<&str> = made().filter_map(|record| record.device.as_deref()).collect();
    devices.sort_unstable();
    devices.dedup();
    if !devices.is_empty() {
        entries.push(("device", Html::text(devices.join(", "))));
    }
    entries.extend(run.git.as_ref().map(|git| ("git", Html::text(git))));
    entries.push(("version", Html::text(format!("pipe {}", run.pipe))));
    terms(entries)
}

pub fn code(text: &str) -> Html {
    tag("code").text(text).into()
}

fn spaced(pieces: Vec<Html>) -> Html {
    let mut all = Html::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        if index > 0 {
            all.push(Html::literal(" "));
        }
        all.push(piece);
    }
    all
}

/// What failed, with the last lines of the logs.
pub fn failures(run: &RunSummary) -> Html {
    let failed = run.stages.iter().filter(|stage| stage.outcome == Outcome::Failed);
    failed.map(failure).collect()
}

fn failure(stage: &StageSummary) -> Html {
    let message = stage.message.as_deref().unwrap_or("it failed");
    let mut card = tag("div")
        .class("failure")
        .child(tag("h3").child(code(&stage.name)).text(" failed"))
        .child(tag("pre").class("message").text(message));
    if let Some(hint) = &stage.hint {
        card = card.child(paragraph("hint", &format!("Hint: {hint}")));
    }
    if !stage.last_lines.is_empty() {
        let words = paragraph("quiet", "The last lines of its log:");
        let lines = tag("pre").class("log").attr("tabindex", 0).text(stage.last_lines.join("\n"));
        card = card.child(words).child(lines);
    }
    card.into()
}
