//! The thread of the model: it takes batches from the queue until the queue ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stages::builtin::classify::{PreparedText, TextScores};

use crate::serve::metrics::Metrics;
use crate::serve::queue::{Queue, Unit};

/// Computes batches of up to `tokens` tokens.
pub fn run(queue: &Queue, tokens: usize, metrics: &Metrics) {
    while let Some(units) = queue.next(tokens) {
        let size = units.iter().map(|unit| unit.text().tokens()).sum();
        metrics.add_batch(units.len(), size);
        answer(&units);
    }
}

/// A text that cannot be computed fails its own request, and no other.
fn answer(units: &[Unit]) {
    match scores(units) {
        Ok(all) => {
            for (unit, scores) in units.iter().zip(all) {
                unit.job.put(unit.index, scores);
            }
        }
        Err(problem) => match units {
            [unit] => unit.job.fail(problem),
            _ => units.chunks(1).for_each(answer),
        },
    }
}

fn scores(units: &[Unit]) -> Result<Vec<TextScores>, String> {
    let Some(first) = units.first() else { return Ok(Vec::new()) };
    let model = Arc::clone(&first.job.model);
    let texts: Vec<&PreparedText> = units.iter().map(Unit::text).collect();
    // The thread must outlive a bug in the model.
    match catch_unwind(AssertUnwindSafe(|| model.classifier.scores(&texts))) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("computing it failed; this is a bug of `pipe`".to_owned()),
    }
}
