//! The scores of predicted numbers.

use std::path::Path;

use serde::Serialize;

use super::bootstrap::{draw, percentiles};
use super::params::ScoreParams;
use crate::data::lines::LineReader;
use crate::data::prediction::Prediction;
use crate::data::random::Random;
use crate::data::regression::{NumberPairs, RegressionFigures};
use crate::data::target::Target;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;

/// The scores of one input. All figures are of the rows with a true number.
#[derive(Serialize)]
pub struct RegressionScore {
    task: &'static str,
    rows: u64,
    labelled: u64,
    /// The name of the figure that stands for all.
    headline: &'static str,
    #[serde(flatten)]
    figures: RegressionFigures,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<RegressionIntervals>,
}

/// Intervals `[low, high]`. That of a correlation is of the replicates that have one.
#[derive(Serialize)]
struct RegressionIntervals {
    confidence: f64,
    replicates: usize,
    pearson: Option<[f64; 2]>,
    spearman: Option<[f64; 2]>,
    rmse: [f64; 2],
    mae: [f64; 2],
}

/// Scores one input. `None` if no row has a true number.
///
/// # Errors
/// A malformed row, or one of another task.
pub fn score(
    context: &Context,
    path: &Path,
    input: &str,
    params: &ScoreParams,
) -> Result<(u64, Option<RegressionScore>), StageError> {
    let (rows, pairs) = read(context, path)?;
    let score = (!pairs.is_empty()).then(|| RegressionScore {
        task: "regression",
        rows,
        labelled: pairs.len() as u64,
        headline: "pearson",
        figures: pairs.figures(),
        intervals: (params.replicates > 0).then(|| intervals(&pairs, params, input)),
    });
    Ok((rows, score))
}

/// The number of rows, and the numbers of those with a true one.
fn read(context: &Context, path: &Path) -> Result<(u64, NumberPairs), StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let (mut rows, mut pairs) = (0, Vec::new());
    while let Some(row) = lines.next_json::<Prediction>()? {
        row.check().map_err(|problem| lines.error(problem))?;
        let Target::Number(predicted) = row.label else {
            let found = row.label.task().labels_in_words();
            let problem =
                format!("the prediction is {found}, but that of an earlier row is a number");
            return Err(lines.error(problem));
        };
        rows += 1;
        pairs.extend(row.gold.as_ref().and_then(Target::number).map(|gold| (gold, predicted)));
        let (done, total) = lines.bytes();
        progress.update(done, total);
    }
    Ok((rows, NumberPairs::new(pairs.into_iter())))
}

/// Percentile intervals of the bootstrap over rows.
fn intervals(pairs: &NumberPairs, params: &ScoreParams, input: &str) -> RegressionIntervals {
    let rows = pairs.len() as u64;
    let before: Vec<u64> = (0..=rows).collect();
    let mut drawn = vec![0; pairs.len()];
    let purpose = format!("bootstrap {input}");
    let (mut pearson, mut spearman) = (Vec::new(), Vec::new());
    let (mut rmse, mut mae) = (Vec::new(), Vec::new());
    for replicate in 0..params.replicates {
        let mut random = Random::new(params.seed, &purpose, replicate as u64, 0);
        draw(&mut random, rows, &before, &mut drawn);
        let figures = pairs.figures_of(&drawn);
        pearson.extend(figures.pearson);
        spearman.extend(figures.spearman);
        rmse.push(figures.rmse);
        mae.push(figures.mae);
    }
    let of = |values: Vec<f64>| percentiles(values, params.confidence);
    let of_some = |values: Vec<f64>| (!values.is_empty()).then(|| of(values));
    RegressionIntervals {
        confidence: params.confidence,
        replicates: params.replicates,
        pearson: of_some(pearson),
        spearman: of_some(spearman),
        rmse: of(rmse),
        mae: of(mae),
    }
}

impl RegressionScore {
    /// The metrics for the record.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let RegressionFigures { pearson, spearman, rmse, mae } = self.figures;
        let mut values: Vec<(&'static str, f64)> = Vec::new();
        values.extend(pearson.map(|it| ("pearson", it)));
        values.extend(spearman.map(|it| ("spearman", it)));
        values.extend([("rmse", rmse), ("mae", mae)]);
        if let Some(intervals) = &self.intervals {
            if let Some([low, high]) = intervals.pearson {
                values.extend([("pearson_low", low), ("pearson_high", high)]);
            }
            let [low, high] = intervals.rmse;
            values.extend([("rmse_low", low), ("rmse_high", high)]);
        }
        values
    }
}
