//! Everything that is printed: data on standard output, talk on standard error. A reader that
//! has gone away (`pipe status | head -1`) is no error.

#[cfg(feature = "model")]
mod classified_view;
mod doctor_view;
mod explanation;
mod families;
mod live;
mod log_view;
mod plan_view;
mod remote_view;
mod run_view;
pub mod stages_page;
mod store_view;
mod style;
mod submit_view;
mod summary;
mod sweep_view;
mod talk;
mod verify_view;
mod why_row_view;

use std::io::{self, IsTerminal, Write};

pub use live::Progress;
pub use run_view::RunView;
pub use style::When;
use style::{Palette, paint};
use talk::talk;

#[cfg(feature = "model")]
use stages::data::example::Example;
#[cfg(feature = "model")]
use stages::data::prediction::Prediction;

use crate::executor::slurm::graph::SubmittedJob;
use crate::maintenance::check::Checked;
use crate::maintenance::doctor::Finding;
use crate::maintenance::gc::Totals;
use crate::maintenance::gc::usage::Usage;
use crate::pipeline::sweeps::Sweep;
use crate::pipeline::{Pipeline, Stage};
use crate::plan::{Plan, PlannedStage};
use crate::remote::transfer::StageTransfer;
use crate::results::compare::verified::Verified;
use crate::results::restore::RestoredOutput;
use crate::results::run_diff::RunDiff;
use crate::results::run_log::LoggedRun;
use crate::results::sweep::combine::SweepRow;
use crate::results::sweep::table::{self, Table};
use crate::results::why_row::WhyRow;
use crate::store::Store;

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// Of standard output.
    out: Palette,
    /// Of standard error.
    err: Palette,
    quiet: bool,
    verbose: bool,
}

impl Console {
    pub fn new(color: When, quiet: bool, verbose: bool) -> Console {
        let out = Palette::of(&io::stdout(), color);
        let err = Palette::of(&io::stderr(), color);
        Console { out, err, quiet, verbose }
    }

    /// Prints what was asked for.
    pub fn data(&self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// As [`Console::data`]: an artifact's bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        ignore_gone_reader(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// As [`Console::data`]: a whole stream, however long.
    pub fn stream(&self, from: &mut impl io::Read) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let copied = io::copy(from, &mut out).map(drop);
        ignore_gone_reader(copied.and_then(|()| out.flush()))
    }

    /// Says why the program ends, and what to do about it.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        talk(&format!("{} {message}", paint(self.err.bad, "error:")));
        if let Some(hint) = hint {
            talk(&format!("{} {hint}", paint(self.err.dim, "hint:")));
        }
    }

    /// Prints a message that marks its own parts, such as the problems of a pipeline file.
    pub fn problems(&self, text: &str) {
        talk(text);
    }

    /// What was put into a scheduler's queue.
    pub fn submitted(
        &self,
        jobs: &[SubmittedJob],
        logs: &std::path::Path,
        json: bool,
    ) -> io::Result<()> {
        self.data(&if json { submit_view::json(jobs) } else { submit_view::text(jobs, logs) })
    }

    pub fn warning(&self, message: &str) {
        talk(&format!("{} {message}", paint(self.err.warning, "warning:")));
    }

    /// Says what goes on.
    pub fn note(&self, message: &str) {
        if !self.quiet {
            talk(message);
        }
    }

    /// A plan as a table; as a forecast (`--dry-run`) or as the state of things (`status`).
    pub fn plan(
        &self,
        plan: &Plan,
        pipeline: &Pipeline,
        forecast: bool,
        json: bool,
    ) -> io::Result<()> {
        self.data(&match json {
            true => plan_view::json(plan, pipeline),
            false => plan_view::text(plan, pipeline, forecast, &self.out, self.fold_from()),
        })
    }

    /// From how many variants a stage is one line.
    fn fold_from(&self) -> usize {
        const MANY: usize = 7;
        if self.verbose { usize::MAX } else { MANY }
    }

    /// The sweeps of a file.
    pub fn sweeps(&self, sweeps: &[Sweep], json: bool) -> io::Result<()> {
        if sweeps.is_empty() && !json && !self.quiet {
            talk("the file has no `sweeps:`; name values, such as `pipe sweep seed=1,2,3`");
        }
        self.data(&if json { sweep_view::list_json(sweeps) } else { sweep_view::list(sweeps) })
    }

    /// What a sweep would run.
    pub fn sweep_plan(
        &self,
        plan: &Plan,
        pipeline: &Pipeline,
        rows: &[SweepRow],
        json: bool,
    ) -> io::Result<()> {
        self.data(&match json {
            true => sweep_view::plan_json(plan, pipeline, rows),
            false => sweep_view::plan(plan, pipeline, rows, &self.out, self.verbose),
        })
    }

    /// What came of a sweep.
    pub fn sweep_table(&self, table: &Table, json: bool, csv: bool) -> io::Result<()> {
        self.data(&match (json, csv) {
            (true, _) => table::json(table),
            (_, true) => table::csv(table),
            _ => sweep_view::text(table, &self.out),
        })
    }

    /// Why a stage would run.
    pub fn explanation(
        &self,
        planned: &PlannedStage,
        stage: &Stage,
        store: &Store,
        json: bool,
    ) -> io::Result<()> {
        self.data(&match json {
            true => plan_view::stage_json(planned, stage),
            false => explanation::text(planned, stage, store, &self.out, self.verbose),
        })
    }

    /// Runs of the log, newest first; `older` ones are not shown.
    pub fn run_log(&self, runs: &[LoggedRun], older: usize, json: bool) -> io::Result<()> {
        self.data(&match json {
            true => runs.iter().map(json_line).collect(),
            false => log_view::log(runs, older, &self.out),
        })
    }

    /// Two runs compared.
    pub fn run_diff(
        &self,
        diff: &RunDiff,
        from: &LoggedRun,
        to: &LoggedRun,
        json: bool,
    ) -> io::Result<()> {
        self.data(&match json {
            true => json_line(diff),
            false => log_view::diff(diff, from, to, &self.out),
        })
    }

    /// What a report tells.
    pub fn report_json(&self, report: &crate::report::data::Report) -> io::Result<()> {
        self.data(&json_line(report))
    }

    /// What became of a run's published outputs.
    pub fn restored(&self, id: &str, outputs: &[RestoredOutput], json: bool) -> io::Result<()> {
        if json {
            return self.data(&outputs.iter().map(json_line).collect::<String>());
        }
        log_view::restored(id, outputs).iter().for_each(|line| self.note(line));
        Ok(())
    }

    /// What a collection removed, or would.
    pub fn collection(&self, report: &Totals, dry_run: bool, json: bool) -> io::Result<()> {
        self.data(&match json {
            true => json_line(report),
            false => store_view::collection(report, dry_run),
        })
    }

    /// What takes the space.
    pub fn usage(&self, usage: &Usage, json: bool) -> io::Result<()> {
        self.data(&match json {
            true => json_line(usage),
            false => store_view::usage(usage),
        })
    }

    /// What is damaged in the store.
    pub fn checked(
        &self,
        checked: &Checked,
        repaired: bool,
        store: &Store,
        json: bool,
    ) -> io::Result<()> {
        if json {
            return self.data(&json_line(checked));
        }
        self.data(&store_view::checked(checked, repaired, &self.out))?;
        if let Some(hint) = store_view::after(checked, repaired, &store.quarantine_folder()) {
            self.note(&format!("{} {hint}", paint(self.err.dim, "hint:")));
        }
        Ok(())
    }

    /// What the machine, the pipeline, the store and the network are like.
    pub fn findings(&self, findings: &[Finding], json: bool) -> io::Result<()> {
        self.data(&match json {
            true => findings.iter().map(json_line).collect(),
            false => doctor_view::text(findings, &self.out),
        })
    }

    /// Texts and what a model says of them.
    #[cfg(feature = "model")]
    pub fn classified(&self, rows: &[(Example, Prediction)], json: bool) -> io::Result<()> {
        self.data(&match json {
            true => classified_view::json(rows),
            false => classified_view::text(rows, &self.out),
        })
    }

    /// An answer traced back.
    pub fn why_row(&self, why: &WhyRow, json: bool) -> io::Result<()> {
        self.data(&match json {
            true => json_line(why),
            false => why_row_view::text(why, &self.out, self.verbose),
        })
    }

    /// Whether a stage is bit-stable.
    pub fn verified(&self, verified: &Verified, json: bool) -> io::Result<()> {
        self.data(&match json {
            true => json_line(verified),
            false => verify_view::text(verified, &self.out),
        })
    }

    /// What was pushed to a remote, or pulled from one.
    pub fn carried(&self, carried: &[StageTransfer], remote: &str, json: bool) -> io::Result<()> {
        if json {
            return self.data(&carried.iter().map(json_line).collect::<String>());
        }
        self.data(&remote_view::table(carried, remote))?;
        self.note(&remote_view::sum(carried, remote));
        Ok(())
    }

    /// A bar on a terminal, over bytes that a network moves, as far as they are known.
    pub fn transfer(&self, what: &'static str, bytes: u64) -> Progress {
        let shown = io::stderr().is_terminal() && !style::is_dumb() && !self.quiet;
        Progress::new(what, shown.then_some(bytes))
    }

    /// A bar on a terminal, for work over so many bytes that it takes a while.
    pub fn progress(&self, what: &'static str, bytes: u64) -> Progress {
        const WORTH_A_BAR: u64 = 1 << 28;
        let shown = io::stderr().is_terminal() && !style::is_dumb() && !self.quiet;
        Progress::new(what, (shown && bytes >= WORTH_A_BAR).then_some(bytes))
    }

    /// Follows a run.
    pub fn run_view(&self, json: bool) -> RunView {
        let live = io::stderr().is_terminal() && !style::is_dumb() && !self.quiet;
        RunView::new(self.err, self.quiet, self.verbose, live, json)
    }
}

fn ignore_gone_reader(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Names, numbers, digests and reasons always serialize.
fn json_line(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() + "\n"
}
