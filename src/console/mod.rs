//! Everything that is printed: data on standard output, talk on standard error. A reader that
//! has gone away (`pipe status | head -1`) is no error.

mod explanation;
mod families;
mod live;
mod plan_view;
mod run_view;
mod style;
mod summary;
mod sweep_view;
pub mod text;

use std::io::{self, IsTerminal, Write};

pub use run_view::RunView;
pub use style::When;
use style::{Palette, paint};

use crate::error::Error;
use crate::pipeline::sweeps::Sweep;
use crate::pipeline::{Pipeline, PipelineError, Stage};
use crate::plan::{Plan, PlannedStage};
use crate::store::Store;
use crate::sweep::combine::Row;
use crate::sweep::table::{self, Table};

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

    /// Says why the program ends.
    pub fn error(&self, error: &Error) {
        if let Error::Pipeline(invalid @ PipelineError::Invalid { .. }) = error {
            // Each of its problems says `error:` itself, and points at its line.
            return talk(&invalid.to_string());
        }
        talk(&format!("{} {error}", paint(self.err.bad, "error:")));
        if let Some(hint) = error.hint() {
            talk(&format!("{} {hint}", paint(self.err.dim, "hint:")));
        }
    }

    pub fn warning(&self, message: &str) {
        talk(&format!("{} {message}", paint(self.err.warning, "warning:")));
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
        rows: &[Row],
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

/// A line to standard error. If nobody can be told, there is nobody to tell that.
fn talk(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
