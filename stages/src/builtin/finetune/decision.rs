//! How the trained model decides: its temperature, its thresholds, and whether the head itself applies
//! them. All are chosen on the validation examples, the temperature first.

use super::choices::{Calibration, ThresholdChoice};
use super::examples::{Examples, Golds};
use super::params::DecisionParams;
use crate::data::task::Task;
use crate::data::temperature::{Rows, best_temperature};
use crate::data::threshold::{Objective, ScoredRow, best_threshold};
use crate::model::classifier::Classifier;
use crate::model::config::{DecisionThreshold, ModelConfig};
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::train::class_outputs::ClassOutputs;

/// Makes the model decide as the parameters say. A threshold that `config` has already stays if
/// no other is wanted.
pub fn decide(
    context: &Context,
    params: DecisionParams,
    config: &mut ModelConfig,
    model: &mut Classifier,
    examples: &Examples,
) -> Result<(), StageError> {
    if params.calibration == Calibration::Temperature {
        calibrate(context, config, model, examples)?;
    }
    choose_threshold(context, params.threshold, config, model, examples)?;
    if params.fold { fold(context, config, model, examples) } else { Ok(()) }
}

/// Divides the logits by the temperature that fits the validation examples best. Thresholds that
/// `config` has already move with the probabilities, so that no decision changes.
fn calibrate(
    context: &Context,
    config: &mut ModelConfig,
    model: &mut Classifier,
    examples: &Examples,
) -> Result<(), StageError> {
    let Some((found, gold)) = examples.valid_outputs(model)? else { return Ok(()) };
    let rows = match gold {
        Golds::Classes(classes) => Rows::Classes(classes),
        Golds::Sets(sets) => Rows::Sets(sets),
        Golds::Numbers(_) => return Ok(()),
    };
    let Some(temperature) = best_temperature(&found.logits, examples.labels.len(), rows) else {
        let message = "the probabilities are not calibrated: no temperature is best for the validation \
                       examples, because all of them are right, or they are no better than chance";
        context.emit(Event::Warning { message: message.to_owned() });
        return Ok(());
    };
    model.divide_logits(temperature, &vec![0.0; examples.labels.len()])?;
    let own = config.head.threshold.iter_mut().map(|it| &mut it.value);
    for threshold in own.chain(&mut config.head.thresholds) {
        // The logistic function of ln(t / (1 - t)) / T: of 0 and 1 itself.
        *threshold = 1.0 / (1.0 + ((1.0 - *threshold) / *threshold).powf(1.0 / temperature));
    }
    let values = [("temperature".to_owned(), temperature)].into();
    context.emit(Event::Metrics { step: None, values });
    Ok(())
}

/// Moves the thresholds of the config into the head: a probability is above the threshold t exactly if
/// its logit, or the difference to the other one, is above ln(t / (1 - t)).
fn fold(
    context: &Context,
    config: &mut ModelConfig,
    model: &mut Classifier,
    examples: &Examples,
) -> Result<(), StageError> {
    let mut shifts = vec![0.0; examples.labels.len()];
    if let Some(DecisionThreshold { value, class }) = config.head.threshold {
        shifts[class] = log_odds(value)?;
    } else if !config.head.thresholds.is_empty() {
        for (shift, threshold) in shifts.iter_mut().zip(&config.head.thresholds) {
            *shift = log_odds(*threshold)?;
        }
    } else {
        let message = "`fold` changes nothing: there is no threshold".to_owned();
        context.emit(Event::Note { message });
        return Ok(());
    }
    model.divide_logits(1.0, &shifts)?;
    config.head.threshold = None;
    config.head.thresholds = Vec::new();
    let message = "the head applies the threshold itself: the likelier label is the decision, and \
                   probabilities are shifted by it";
    context.emit(Event::Note { message: message.to_owned() });
    Ok(())
}

/// ln(t / (1 - t))
fn log_odds(threshold: f64) -> Result<f64, StageError> {
    let odds = (threshold / (1.0 - threshold)).ln();
    if odds.is_finite() {
        return Ok(odds);
    }
    let problem = format!("a threshold of {threshold} cannot be moved into the head");
    Err(StageError::Param { name: "fold", problem })
}

/// Puts the threshold that is best for the validation examples into the config, if one is wanted.
fn choose_threshold(
    context: &Context,
    wanted: ThresholdChoice,
    config: &mut ModelConfig,
    model: &Classifier,
    examples: &Examples,
) -> Result<(), StageError> {
    let objective = match wanted {
        ThresholdChoice::None => return Ok(()),
        // The threshold is one on the probability of the last label.
        ThresholdChoice::F1 if examples.headline.positive() == Some(&examples.labels[0]) => {
            Objective::OtherF1
        }
        ThresholdChoice::F1 => Objective::F1,
        ThresholdChoice::Accuracy => Objective::Accuracy,
    };
    config.head.threshold = None;
    config.head.thresholds = Vec::new();
    let Some((found, gold)) = examples.valid_outputs(model)? else { return Ok(()) };
    let gold = match gold {
        Golds::Classes(gold) => gold,
        Golds::Sets(sets) => {
            config.head.thresholds = thresholds(context, found, sets, &examples.labels, objective)?;
            return Ok(());
        }
        Golds::Numbers(_) => return Ok(()),
    };
    let scored = |(values, gold): (&[f32], &usize)| ScoredRow {
        // The softmax of 32-bit floats may exceed 1 by a rounding error.
        probability: f64::from(values[1]).min(1.0),
        positive: *gold == 1,
    };
    let scored: Vec<ScoredRow> = found.probabilities.chunks(2).zip(gold).map(scored).collect();
    let Some(best) = best_threshold(&scored, objective) else {
        let problem = "there are no validation examples to choose it by".to_owned();
        return Err(StageError::Param { name: "threshold", problem });
    };
    config.head.threshold = Some(DecisionThreshold { value: best.value, class: 1 });
    let values = [("decision_threshold".to_owned(), best.value)].into();
    context.emit(Event::Metrics { step: None, values });
    Ok(())
}

/// For each label the threshold that is best for the validation examples, whose labels are `sets`.
fn thresholds(
    context: &Context,
    found: ClassOutputs,
    sets: &[Vec<usize>],
    labels: &[String],
    objective: Objective,
) -> Result<Vec<f64>, StageError> {
    let probabilities = found.scores(Task::Multi);
    let mut thresholds = Vec::with_capacity(labels.len());
    for label in 0..labels.len() {
        let scored = |(values, set): (&[f32], &Vec<usize>)| ScoredRow {
            probability: f64::from(values[label]),
            positive: set.binary_search(&label).is_ok(),
        };
        let rows: Vec<ScoredRow> =
            probabilities.chunks(labels.len()).zip(sets).map(scored).collect();
        // Without any row that has the label, every threshold is as good.
        let best = best_threshold(&rows, objective).filter(|_| rows.iter().any(|row| row.positive));
        thresholds.push(best.map_or(0.5, |best| best.value));
    }
    let changed = thresholds.iter().filter(|it| **it != 0.5).count();
    let message = format!(
        "{changed} of {} labels have another threshold than 0.5; `decision_thresholds` of the \
         model's config.json lists them",
        labels.len()
    );
    context.emit(Event::Note { message });
    Ok(thresholds)
}
