//! `pipe report`: what happened in a run, or in several, as one HTML file that needs nothing else.
//!
//! ```text
//! run log, store ─ gather, evaluations, compare ─→ data::Report ─ page, sections, charts ─→ HTML
//! ```
//!
//! Charts are SVG written here rather than by a plotting crate. Such crates write colours into
//! every mark, so that a drawing cannot follow the page's theme or a printer; they give marks no
//! titles, and draw glyphs rather than text that can be searched and read aloud. The marks needed
//! are lines, dots and rectangles: [`charts`] has scales and axes for them in a few hundred lines.
//!
//! Text comes from people: it passes through [`html`], which escapes it, and the page's policy
//! (`Content-Security-Policy`) allows no style or script but the two of this program, by hash.

pub mod artifacts;
pub mod charts;
mod compare;
pub mod data;
mod evaluate;
mod evaluations;
mod gather;
pub mod html;
mod means;
pub mod page;
mod sections;

use crate::pipeline::Pipeline;
use crate::report::artifacts::Artifacts;
use crate::report::data::Report;
use crate::results::run_diff::RunDiff;
use crate::results::run_log::LoggedRun;
use crate::store::Store;

/// A run to report on, and the pipeline's file as it is now with the run's overrides, if it can be
/// read: it says where inputs came from that no stage made.
pub struct Subject<'a> {
    pub run: &'a LoggedRun,
    pub pipeline: Option<&'a Pipeline>,
}

/// All that there is to tell. One run is told in full, of a sweep its best combination; several are
/// compared; `diff` is for two.
pub fn report(project: &str, subjects: &[Subject], diff: Option<RunDiff>, store: &Store) -> Report {
    let artifacts: Vec<Artifacts> =
        subjects.iter().map(|it| gather::artifacts(it.run, store, it.pipeline)).collect();
    let outlined = subjects.iter().zip(&artifacts);
    let mut runs: Vec<data::RunSummary> =
        outlined.map(|(it, artifacts)| gather::outline(it.run, artifacts, it.pipeline)).collect();
    let mut comparison = None;
    if let ([subject], [run], [artifacts]) = (subjects, &mut runs[..], &artifacts[..]) {
        let mut places: Vec<usize> = (0..run.stages.len()).collect();
        if let Some(sweep) = &subject.run.sweep {
            let compared = compare::of_sweep(subject.run, sweep);
            if let Some((number, best)) = compare::best(&compared, sweep) {
                places
                    .retain(|place| best.stages.values().any(|it| *it == run.stages[*place].name));
                run.notes.push(format!("Curves and examples are those of combination {number}."));
            }
            comparison = Some(compared);
        }
        gather::fill(run, artifacts, &places);
    } else {
        comparison = Some(compare::of_runs(&runs, &artifacts));
    }
    let curves = gather::curves(&runs, &artifacts);
    let difference = diff.and_then(|diff| match (&runs[..], &artifacts[..]) {
        ([from, to], [of_from, of_to]) => {
            Some(compare::difference(diff, [from, to], [of_from, of_to]))
        }
        _ => None,
    });
    Report { project: project.to_owned(), runs, comparison, curves, difference }
}
