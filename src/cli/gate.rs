//! `pipe gate`: whether a run is worse than an earlier one, as an exit status.

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::locate;
use crate::console::Console;
use crate::console::gate_view::GateView;
use crate::results::gate::{GateSettings, Verdict, gate};
use crate::results::run_log::LoggedRun;
use crate::results::run_log::find::find_fitting;

/// Ends with 0 if the new predictions are not worse than the old ones by more than `--max-loss`, with 1 if
/// they are, and with 3 if the rows cannot tell.
#[derive(Debug, Args)]
pub struct GateOptions {
    /// The metric to compare, `STAGE.METRIC`, such as `score.test_f1`: accuracy, F1 or macro F1 of
    /// predictions with true labels
    #[arg(long, value_name = "METRIC")]
    metric: String,
    /// The run to compare with: an id of `pipe log` or its beginning, `last~1`, or a Git branch, which
    /// means its newest run
    #[arg(long, value_name = "RUN")]
    against: String,
    /// The run to judge
    #[arg(long, value_name = "RUN", default_value = "last")]
    run: String,
    /// How much worse it may be
    #[arg(long, value_name = "LOSS", default_value_t = 0.01, value_parser = loss)]
    max_loss: f64,
    /// The confidence of either statement
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = confidence)]
    confidence: f64,
    /// Print a comment for a pull request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(options: &GateOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let (_, store) = locate(globals)?;
    // Of the runs of a branch, some had other stages to run.
    let stage = options.metric.rsplit_once('.').map_or("", |(stage, _)| stage);
    let fits = |run: &LoggedRun| run.stage(stage).is_some_and(|stage| stage.key.is_some());
    let old = find_fitting(&store, &options.against, &fits)?;
    let new = find_fitting(&store, &options.run, &fits)?;
    let settings = GateSettings {
        metric: options.metric.clone(),
        max_loss: options.max_loss,
        confidence: options.confidence,
    };
    let gate = gate(&new, &old, &store, &settings)?;
    console.print(&GateView { gate: &gate, markdown: options.markdown }, options.json)?;
    Ok(match gate.verdict {
        Verdict::Passed => Exit::Done,
        Verdict::Worse => Exit::Failed,
        Verdict::Undecided => Exit::Undecided,
    })
}

fn loss(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn confidence(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.5 && *value < 1.0);
    value.ok_or_else(|| "expected a number above 0.5 and below 1".to_owned())
}
