//! `pipe report`: one run, or several, as a single self-contained HTML file.
//!
//! ```text
//! run log, store ─ gather, evaluations, compare ─→ data::Report ─ page, sections, charts ─→ HTML
//! ```
//!
//! The charts are SVG written by this module rather than by a plotting crate. Plotting crates write
//! colours into every mark, so a chart cannot follow the theme of the page or of a printer; they
//! give marks no titles, and draw glyphs instead of text that can be searched and read aloud. The
//! report needs only lines, dots and rectangles: [`charts`] has the scales and axes for them.
//!
//! Texts come from the user. They pass through [`html`], which escapes them, and the
//! `Content-Security-Policy` of the page allows only the style and the script of this program, by
//! hash.

pub mod artifacts;
pub mod audits;
#[cfg(feature = "model")]
pub mod card;
pub mod charts;
mod compare;
pub mod data;
mod evaluate;
mod evaluate_other;
mod evaluations;
mod gather;
pub mod html;
pub mod live;
pub mod markdown;
mod means;
pub mod page;
pub mod seal;
mod sections;

use crate::pipeline::Pipeline;
use crate::report::artifacts::Artifacts;
use crate::report::data::Report;
use crate::results::run_diff::RunDiff;
use crate::results::run_log::LoggedRun;
use crate::store::Store;

/// A run to report on, and the current pipeline with the overrides of the run, if it can be read.
/// The pipeline names the sources of inputs that no stage made.
pub struct Subject<'a> {
    pub run: &'a LoggedRun,
    pub pipeline: Option<&'a Pipeline>,
}

/// Gathers the report. A single run is reported in full, a sweep with its best combination; several
/// runs are compared. `diff` is the difference between exactly two runs.
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
