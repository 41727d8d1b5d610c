//! The thread of the model: it takes batches from the queue until the queue ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use stages::builtin::classify::{PreparedText, TextScores};

use crate::serve::log::LogLevel;
use crate::serve::queue::Unit;
use crate::serve::service::Service;

/// Computes batches of up to `tokens` tokens.
pub fn run(service: &Service, tokens: usize) {
    while let Some(units) = service.queue.next(tokens) {
        let size = units.iter().map(|unit| unit.text().tokens()).sum();
        service.metrics.add_batch(units.len(), size);
        if answer(&units) > 0 && service.health.problem().is_none() {
            check_device(service, &units);
        }
    }
}

/// After a failure: it may be the device that failed, and not the text.
fn check_device(service: &Service, units: &[Unit]) {
    let Some(unit) = units.first() else { return };
    if let Err(why) = unit.job.model.classifier.check_device() {
        let problem = format!("the device no longer computes: {why}; start the service again");
        service.log.add(LogLevel::Nothing, || problem.clone());
        service.health.lose(problem);
    }
}

/// A text that cannot be computed fails its own request, and no other. Returns how many failed.
fn answer(units: &[Unit]) -> usize {
    match scores(units) {
        Ok(all) => {
            for (unit, scores) in units.iter().zip(all) {
                unit.job.put(unit.index, scores);
            }
            0
        }
        Err(problem) => match units {
            [unit] => {
                unit.job.fail(problem);
                1
            }
            _ => units.chunks(1).map(answer).sum(),
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
