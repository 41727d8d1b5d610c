//! Whether the predictions of one run are worse than those of another on the same rows, by more than is
//! allowed: a paired bootstrap, with a verdict that may be that the rows cannot tell.

use std::path::PathBuf;

use serde::Serialize;
use stages::StageError;
use stages::builtin::score::paired_comparison::{
    FigureDifference, PairedComparison, compare_files,
};
use stages::builtin::score::params::ScoreParams;
use stages::builtin::score::power::POWER_QUANTILE;
use stages::data::random::normal::normal_quantile;

use crate::results::row_metric::{KNOWN_FIGURES, NoPredictions, NotRowMetric, RowMetric};
use crate::results::run_log::LoggedRun;
use crate::store::Store;
use crate::store::record::Record;
use crate::text::suggest::nearest;
use crate::text::variants::names;

/// More rows than this many times those that there are need not be collected.
const MOST_TIMES: f64 = 1_000.0;

/// What is compared, and how strictly.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// `STAGE.METRIC`.
    pub metric: String,
    /// How much worse the new run may be.
    pub max_loss: f64,
    /// Of the statement that it is not worse, and of the one that it is.
    pub confidence: f64,
}

/// The comparison and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    pub verdict: Verdict,
    pub metric: String,
    pub run: String,
    pub against: String,
    pub rows: u64,
    pub new: f64,
    pub old: f64,
    pub difference: f64,
    /// The new run is better than the lower end with this confidence, and worse than the upper one.
    pub confidence: f64,
    pub interval: [f64; 2],
    pub max_loss: f64,
    pub became_right: u64,
    pub became_wrong: u64,
    /// Of McNemar's test, mid-p.
    pub mcnemar_p: f64,
    /// If the rows cannot tell: how many rows like these would, with 80 % power, if the difference is
    /// as it looks. `None` if it is too near to what is allowed.
    pub rows_needed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Not worse by more than is allowed.
    Passed,
    /// Worse by more than is allowed.
    Worse,
    /// The rows cannot tell.
    Undecided,
}

/// Why two runs cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("`{metric}` is not a metric of a stage: expected one such as `score.test_f1`")]
    NoMetric { metric: String },
    #[error("run `{run}` has no stage `{stage}`")]
    NoStage { run: String, stage: String, known: Vec<String> },
    #[error("stage `{stage}` has no result in run `{run}`")]
    NotDone { run: String, stage: String },
    #[error("the result of stage `{stage}` in run `{run}` is no longer in the store")]
    Gone { run: String, stage: String },
    #[error("`{figure}` cannot be compared row by row")]
    OtherFigure { figure: String },
    #[error("stage `{stage}` has no predictions of `{input}`")]
    NoPredictions { stage: String, input: String },
    #[error("the predictions of the two runs cannot be compared: {0}")]
    Rows(StageError),
}

impl GateError {
    pub fn hint(&self) -> Option<String> {
        match self {
            GateError::NoMetric { .. } => Some("`pipe log` shows the metrics of each run".to_owned()),
            GateError::NoStage { stage, known, .. } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let near = nearest(stage, known.iter().copied());
                let all = || format!("it has {}", names(&known));
                Some(near.map_or_else(all, |it| format!("did you mean `{it}`?")))
            }
            GateError::NotDone { .. } => Some("name a run in which it succeeded".to_owned()),
            GateError::Gone { .. } => {
                Some("the store keeps what a stage made until `cache gc`: run it again".to_owned())
            }
            GateError::OtherFigure { .. } => Some(KNOWN_FIGURES.to_owned()),
            GateError::NoPredictions { .. } => {
                Some("name a stage that scores or makes predictions".to_owned())
            }
            GateError::Rows(_) => Some(
                "a gate needs the same examples in both runs: run the older pipeline on the test set of \
                 today"
                    .to_owned(),
            ),
        }
    }
}

/// Compares `new` with `old`.
pub fn gate(
    new: &LoggedRun,
    old: &LoggedRun,
    store: &Store,
    settings: &GateSettings,
) -> Result<Gate, GateError> {
    let metric = RowMetric::parse(&settings.metric).map_err(|problem| match problem {
        NotRowMetric::NoMetric => GateError::NoMetric { metric: settings.metric.clone() },
        NotRowMetric::OtherFigure(figure) => GateError::OtherFigure { figure },
    })?;
    let record = of_run(new, &metric.stage, store)?;
    let of_old = of_run(old, &metric.stage, store)?;
    let file = |run: &LoggedRun, record: &Record| predictions(record, &metric, run, store);
    let positive = record.fields.params.get("positive").and_then(|it| it.as_str());
    let params = ScoreParams {
        positive: positive.map(str::to_owned),
        replicates: 10_000,
        // Each end of the interval holds with the wanted confidence.
        confidence: 2.0 * settings.confidence - 1.0,
        seed: 0,
    };
    let compared = compare_files(&file(new, &record)?, &file(old, &of_old)?, &params)
        .map_err(GateError::Rows)?;
    let found = match metric.figure.as_str() {
        "accuracy" => Some(&compared.accuracy),
        "macro_f1" => Some(&compared.macro_f1),
        "micro_f1" => compared.micro_f1.as_ref(),
        // `f1` alone is that of the positive one of two labels.
        "f1" if compared.headline != "f1" => None,
        _ => compared.f1.as_ref(),
    };
    let found = found.ok_or(GateError::OtherFigure { figure: metric.figure })?;
    Ok(verdict(&compared, found, [new, old], settings))
}

fn of_run(run: &LoggedRun, stage: &str, store: &Store) -> Result<Record, GateError> {
    let (name, stage) = (run.id.clone(), stage.to_owned());
    let Some(found) = run.stage(&stage) else {
        let known = run.stages.iter().map(|stage| stage.stage.clone()).collect();
        return Err(GateError::NoStage { run: name, stage, known });
    };
    let Some(key) = found.key else { return Err(GateError::NotDone { run: name, stage }) };
    store.record(key).ok_or(GateError::Gone { run: name, stage })
}

fn predictions(
    record: &Record,
    metric: &RowMetric,
    run: &LoggedRun,
    store: &Store,
) -> Result<PathBuf, GateError> {
    metric.predictions(record, store).map_err(|problem| match problem {
        NoPredictions::Never => {
            let RowMetric { stage, input, .. } = metric.clone();
            GateError::NoPredictions { stage, input }
        }
        NoPredictions::Gone => GateError::Gone { run: run.id.clone(), stage: metric.stage.clone() },
    })
}

fn verdict(
    compared: &PairedComparison,
    found: &FigureDifference,
    [new, old]: [&LoggedRun; 2],
    settings: &GateSettings,
) -> Gate {
    let interval = found.interval.unwrap_or([found.difference; 2]);
    let least = -settings.max_loss;
    // A sum of many numbers may miss the allowed loss by the last digit.
    const ROUNDING: f64 = 1e-12;
    let verdict = match interval {
        [low, _] if low >= least - ROUNDING => Verdict::Passed,
        [_, high] if high < least => Verdict::Worse,
        _ => Verdict::Undecided,
    };
    let quantile = normal_quantile(settings.confidence);
    let error = (interval[1] - interval[0]) / (2.0 * quantile);
    let times = ((quantile + POWER_QUANTILE) * error / (found.difference - least)).powi(2);
    let is_needed = verdict == Verdict::Undecided && times <= MOST_TIMES;
    Gate {
        verdict,
        metric: settings.metric.clone(),
        run: new.id.clone(),
        against: old.id.clone(),
        rows: compared.rows,
        new: found.this,
        old: found.other,
        difference: found.difference,
        confidence: settings.confidence,
        interval,
        max_loss: settings.max_loss,
        became_right: compared.only_this_right,
        became_wrong: compared.only_other_right,
        mcnemar_p: compared.mcnemar.mid_p,
        rows_needed: is_needed.then(|| (times.max(1.0) * compared.rows as f64).ceil() as u64),
    }
}
