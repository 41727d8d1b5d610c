//! A plan as a table or as JSON, for `pipe status` and `pipe run --dry-run`.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::console::families::lines;
use crate::console::style::{Palette, paint};
use crate::console::view::{Page, View};
use crate::pipeline::{Pipeline, Stage};
use crate::plan::reason::Reason;
use crate::plan::sentence::stage_sentence;
use crate::plan::{Decision, Plan, PlannedStage};
use crate::store::key::Key;
use crate::text::figures::{count, seconds};
use crate::text::terminal::{WIDTH, columns, fit};
use crate::text::variants::names;

/// A plan as a table: as a forecast (`--dry-run`), or as the current state (`status`).
pub struct PlanView<'a> {
    pub plan: &'a Plan,
    pub pipeline: &'a Pipeline,
    pub forecast: bool,
}

impl View for PlanView<'_> {
    fn text(&self, page: &Page) -> String {
        text(self.plan, self.pipeline, self.forecast, &page.palette, page.fold_from())
    }

    fn json(&self) -> String {
        json(self.plan, self.pipeline)
    }
}

/// One line of JSON.
#[derive(Serialize)]
struct StagePlanned<'a> {
    event: &'static str,
    stage: &'a str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    /// Why it runs, or will run whatever its makers produce.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a Reason>,
    /// The decision as a sentence.
    sentence: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    waits_for: BTreeSet<&'a str>,
    may_be_cut_off: bool,
    /// A frozen stage is a hit whatever its inputs are; `why` says how they differ.
    frozen: bool,
    /// How long it took the last time.
    expected_seconds: Option<f64>,
}

pub fn json(plan: &Plan, pipeline: &Pipeline) -> String {
    let stages = plan.stages.iter();
    stages.map(|planned| stage_json(planned, &pipeline[planned.stage])).collect()
}

pub fn stage_json(planned: &PlannedStage, stage: &Stage) -> String {
    let sentence = stage_sentence(planned);
    let frozen = planned.frozen.is_some();
    let expected_seconds = planned.seconds;
    let (event, stage, none) = ("stage_planned", stage.name.as_str(), BTreeSet::new());
    let line = match &planned.decision {
        Decision::Hit(record) => StagePlanned {
            event,
            stage,
            decision: "hit",
            key: Some(record.key),
            why: planned.frozen.as_ref().and_then(|frozen| frozen.differs.as_ref()),
            sentence,
            waits_for: none,
            may_be_cut_off: false,
            frozen,
            expected_seconds,
        },
        Decision::Run { key, reason } => StagePlanned {
            event,
            stage,
            decision: "run",
            key: Some(*key),
            why: Some(reason),
            sentence,
            waits_for: none,
            may_be_cut_off: false,
            frozen,
            expected_seconds,
        },
        Decision::Wait(wait) => StagePlanned {
            event,
            stage,
            decision: "wait",
            key: None,
            why: wait.certain.as_ref(),
            sentence,
            waits_for: wait.stages.iter().chain(&wait.downloads).map(String::as_str).collect(),
            may_be_cut_off: wait.certain.is_none(),
            frozen,
            expected_seconds,
        },
    };
    // Names, numbers and reasons always serialize.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// The plan as a table. A stage with at least `fold_from` variants has one line.
pub fn text(
    plan: &Plan,
    pipeline: &Pipeline,
    forecast: bool,
    palette: &Palette,
    fold_from: usize,
) -> String {
    let lines = lines(plan, pipeline, fold_from);
    let widest = lines.iter().map(|line| columns(&line.name)).max().unwrap_or(0);
    // The names of variants are more informative than the reasons.
    let variants = lines.iter().any(|line| line.name.contains('='));
    let widest = widest.min(if variants { WIDTH / 2 } else { WIDTH / 3 });
    let mut text = String::new();
    for line in lines {
        let good = ['✓', '*'].contains(&line.mark);
        let style = if good { palette.good } else { palette.warning };
        let name = fit(&line.name, widest);
        let gap = " ".repeat(widest - columns(&name));
        let room = WIDTH.saturating_sub(widest + 5 + columns(&line.cost) + 2);
        let sentence = fit(&line.sentence, room);
        let space = " ".repeat(room.saturating_sub(columns(&sentence)) + 2);
        let line = format!(
            "{} {}{gap}  {sentence}{space}{}",
            paint(style, &line.mark.to_string()),
            paint(palette.name, &name),
            paint(palette.dim, &line.cost)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + &total(plan, pipeline, forecast)
}

/// `would run finetune, predict and score: about 6 min 50 s; 3 stages are up to date`.
fn total(plan: &Plan, pipeline: &Pipeline, forecast: bool) -> String {
    let (hits, others): (Vec<_>, Vec<_>) =
        plan.stages.iter().partition(|planned| matches!(planned.decision, Decision::Hit(_)));
    let (frozen, hits): (Vec<&PlannedStage>, Vec<_>) =
        hits.into_iter().partition(|planned| planned.frozen.is_some());
    let frozen: Vec<&str> =
        frozen.iter().map(|planned| pipeline[planned.stage].name.as_str()).collect();
    let are_frozen = frozen_in_words(&frozen);
    let hits = match (hits.len(), others.len()) {
        (0, 0) => return format!("{}\n", are_frozen.trim_start_matches("; ")),
        (0, _) => String::new(),
        (1, 0) if frozen.is_empty() => return "the only stage is up to date\n".to_owned(),
        (1, 0) => return format!("1 stage is up to date{are_frozen}\n"),
        (all, 0) if frozen.is_empty() => return format!("all {all} stages are up to date\n"),
        (some, 0) => return format!("{} are up to date{are_frozen}\n", count(some, "stage")),
        (1, _) => "; 1 stage is up to date".to_owned(),
        (some, _) => format!("; {} are up to date", count(some, "stage")),
    };
    let stages: Vec<&str> =
        others.iter().map(|planned| pipeline[planned.stage].name.as_str()).collect();
    let known: Vec<f64> = others.iter().filter_map(|planned| planned.seconds).collect();
    let cost = match (known.len(), others.len()) {
        (0, _) => String::new(),
        (some, all) if some == all => format!(": about {}", seconds(known.iter().sum())),
        (_, all) => {
            let missing = count(all - known.len(), "stage");
            format!(": about {} and {missing} never timed", seconds(known.iter().sum()))
        }
    };
    let verb = if forecast { "would run" } else { "to run:" };
    let cut_off = others
        .iter()
        .any(|planned| matches!(&planned.decision, Decision::Wait(wait) if wait.certain.is_none()));
    let most = if cut_off && !known.is_empty() { " at most" } else { "" };
    crate::text::terminal::wrapped(
        &format!("{verb} {}{cost}{most}{hits}{are_frozen}", names(&stages)),
        0,
    )
}

/// `; split and finetune are frozen`, or nothing.
pub fn frozen_in_words(stages: &[&str]) -> String {
    match stages {
        [] => String::new(),
        [one] => format!("; {one} is frozen"),
        some => format!("; {} are frozen", names(some)),
    }
}
