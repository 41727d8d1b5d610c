//! The lines of a plan, with many variants of one stage folded into a single line.

use std::collections::BTreeMap;

use crate::pipeline::Pipeline;
use crate::plan::sentence::stage_sentence;
use crate::plan::{Decision, Plan, PlannedStage};
use crate::text::figures::{grouped, seconds};
use crate::text::variants::{family, label};

/// A line of a plan: a stage, or all variants of a stage.
pub struct PlanLine {
    pub mark: char,
    pub name: String,
    pub sentence: String,
    /// How long it took the last time, in total.
    pub cost: String,
}

/// The lines of a plan. A stage with at least `fold_from` variants has one line, in the place of the
/// first variant.
pub fn lines(plan: &Plan, pipeline: &Pipeline, fold_from: usize) -> Vec<PlanLine> {
    let name = |planned: &PlannedStage| pipeline[planned.stage].name.as_str();
    let mut families: BTreeMap<&str, Vec<&PlannedStage>> = BTreeMap::new();
    for planned in plan.stages.iter().filter(|planned| label(name(planned)).is_some()) {
        families.entry(family(name(planned))).or_default().push(planned);
    }
    families.retain(|_, members| members.len() >= fold_from);
    let mut lines = Vec::new();
    for planned in &plan.stages {
        let name = name(planned);
        let is_variant = label(name).is_some();
        match families.get_mut(family(name)).filter(|_| is_variant) {
            None => lines.push(PlanLine {
                mark: mark(planned),
                name: name.to_owned(),
                sentence: stage_sentence(planned),
                cost: planned.seconds.map(seconds).unwrap_or_default(),
            }),
            Some(members) if members.is_empty() => {}
            Some(members) => lines.push(of_family(family(name), &std::mem::take(members))),
        }
    }
    lines
}

fn mark(planned: &PlannedStage) -> char {
    match planned.decision {
        Decision::Hit(_) if planned.frozen.is_some() => '*',
        Decision::Hit(_) => '✓',
        Decision::Run { .. } => '●',
        Decision::Wait(_) => '○',
    }
}

/// `finetune@…  12 variants: 10 up to date, 2 run`.
fn of_family(family: &str, members: &[&PlannedStage]) -> PlanLine {
    let mut counts = [
        ('✓', "up to date", 0),
        ('●', "run", 0),
        ('○', "run after others", 0),
        ('○', "may be cut off", 0),
    ];
    for planned in members {
        let kind = match &planned.decision {
            Decision::Hit(_) => 0,
            Decision::Run { .. } => 1,
            Decision::Wait(wait) if wait.certain.is_some() => 2,
            Decision::Wait(_) => 3,
        };
        counts[kind].2 += 1;
    }
    let present = || counts.iter().filter(|(_, _, count)| *count > 0);
    let parts: Vec<String> = match present().count() {
        1 => present().map(|(_, what, _)| format!("all {what}")).collect(),
        _ => present().map(|(_, what, count)| format!("{count} {what}")).collect(),
    };
    let some_run = present().map(|(mark, _, _)| *mark).find(|mark| *mark != '✓');
    let cost: Vec<f64> = members.iter().filter_map(|planned| planned.seconds).collect();
    PlanLine {
        mark: some_run.unwrap_or('✓'),
        name: format!("{family}@…"),
        sentence: format!("{} variants: {}", grouped(members.len() as u64), parts.join(", ")),
        cost: if cost.is_empty() { String::new() } else { seconds(cost.iter().sum()) },
    }
}
