//! `pipe sweep --race`: the combinations of a sweep in rounds, without those that have lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::carry_out::{CarryOutOptions, run_log, write_log};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::race_view::{RaceView, round, round_json};
use crate::console::sweep_view::SweepPlanView;
use crate::pipeline::{Overrides, Pipeline, StageIndex};
use crate::plan::Plan;
use crate::results::race::Race;
use crate::results::race::error::RaceError;
use crate::results::sweep::Asked;
use crate::results::sweep::combine::SweepRow;
use crate::results::sweep::logged::LoggedSweep;
use crate::results::sweep::results::Seen;
use crate::results::sweep::table::{Table, csv, table};
use crate::run::config::RunConfig;
use crate::run::event::{RunEvent, Summary};
use crate::sources::Sources;

#[derive(Debug, Args)]
pub struct RaceOptions {
    /// Run in rounds, on one fold or seed after the other, and stop what is behind the best with 95 %
    /// confidence. The keys of `--over` are the rounds; default: those of seeds and folds
    #[arg(long, conflicts_with_all = ["submit", "only", "ascending"])]
    pub race: bool,
    /// Differences up to this do not matter: the race ends when the rest differ by less, and names
    /// the cheapest
    #[arg(long, requires = "race", default_value_t = 0.005, value_parser = margin)]
    margin: f64,
}

impl RaceOptions {
    /// The race of these rows, before its first round.
    pub fn race(
        &self,
        rows: &[SweepRow],
        asked: &Asked,
        pipeline: &Pipeline,
    ) -> Result<Race, RaceError> {
        Race::new(rows, asked, pipeline, self.margin)
    }
}

/// What a race runs.
pub struct RaceRun<'a> {
    pub race: Race,
    pub rows: &'a [SweepRow],
    pub asked: &'a Asked,
    pub project: &'a Project,
    pub sources: &'a Sources,
}

/// What is printed at the end.
pub struct Output {
    /// Nothing runs, and the plan is printed.
    pub dry_run: bool,
    pub csv: bool,
}

impl RaceRun<'_> {
    /// Runs until the race is over. `all` is the plan of every combination.
    pub fn carry_out(
        mut self,
        all: Plan,
        config: &RunConfig,
        overrides: &Overrides,
        (options, output): (&CarryOutOptions, &Output),
        console: &Console,
    ) -> Result<Exit, Error> {
        let RaceRun { rows, project, .. } = self;
        if output.dry_run {
            let (pipeline, race) = (&project.pipeline, Some(&self.race));
            console.print(&SweepPlanView { plan: &all, pipeline, rows, race }, options.json)?;
            return Ok(Exit::Done);
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        // Between two rounds nothing else listens.
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(Error::Signals)?;
        }
        let logged = LoggedSweep::of(self.asked, rows, &project.pipeline);
        let mut log = run_log(project, overrides, Some(logged));
        let (mut seen, mut total) = (Seen::default(), Summary::default());
        let mut problem = Ok(());
        while let Some(rows_of_round) = self.race.round() {
            let plan = self.plan(&rows_of_round)?;
            let mut report = |event: &RunEvent| {
                seen.take(event);
                log.take(event);
            };
            let ran =
                options.carry_out_part(plan, config, project, self.sources, console, &mut report);
            let judged = ran.and_then(|summary| {
                total.failed += summary.failed;
                total.interrupted |= summary.interrupted || interrupted.load(Ordering::Relaxed);
                if total.interrupted || (total.failed > 0 && !config.keep_going) {
                    return Ok(false);
                }
                let finished = seen.rows(rows, &project.pipeline);
                Ok(self.race.judge(&finished, &project.store)?)
            });
            match judged {
                Ok(true) if options.json => console.json(&round_json(&self.race))?,
                Ok(true) => console.note(&round(&self.race)),
                Ok(false) => break,
                Err(error) => {
                    problem = Err(error);
                    break;
                }
            }
        }
        write_log(log, project, console);
        problem?;
        let table = self.table(&seen);
        match output.csv && !options.json {
            true => console.bytes(csv(&table).as_bytes())?,
            false => console.print(&RaceView { race: &self.race, table: &table }, options.json)?,
        }
        Ok(Exit::of_run(&total))
    }

    /// The plan of these combinations.
    fn plan(&self, round: &[usize]) -> Result<Plan, Error> {
        let stages: BTreeSet<StageIndex> =
            round.iter().flat_map(|row| self.rows[*row].stages.values()).copied().collect();
        let stages: Vec<StageIndex> = stages.into_iter().collect();
        let selected = self.project.graph.upstream(&stages);
        self.project.plan(&selected, &BTreeSet::new(), self.sources)
    }

    /// The configurations with their means, those that are still in the race first.
    fn table(&self, seen: &Seen) -> Table {
        let finished = seen.rows(self.rows, &self.project.pipeline);
        let metric = self.race.metric.as_ref().map(ToString::to_string);
        let race = &self.race;
        let mut table = table(&finished, &self.asked.keys, metric.as_deref(), false, &race.over);
        table.rows.sort_by_key(|row| !race.of(&row.values).is_some_and(|it| it.is_racing()));
        table
    }
}

fn margin(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0, below 1".to_owned())
}
