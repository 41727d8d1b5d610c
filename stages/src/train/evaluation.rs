//! Metrics of a model on labelled examples: loss, accuracy, precision, recall, F1.

use burn::tensor::{Tensor, activation};

use super::class_outputs::{ClassOutputs, WindowOutputs};
use super::order::evaluation_batches;
use crate::data::classification::{ClassFigures, Headline, Margins};
use crate::data::finite::first_not_finite;
use crate::data::token_file::{LET_GO_AFTER, TokenFile};
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::cpu::rows_apart;
use crate::model::memory::within_memory;
use crate::model::parameters::Network;
use crate::stage::error::{StageError, hints};

/// Figures over examples (not means over batches).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    pub loss: f64,
    pub accuracy: f64,
    /// What the headline says.
    pub figures: ClassFigures,
}

/// What the last bits of a row depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// On the row and on its batch: the number of rows, and the longest of them.
    OfBatch,
    /// On the row alone, if the model runs on the CPU; see [`rows_apart`].
    OfRow,
}

/// The outputs for every row of a token file, collected in `result`.
///
/// `progress` is called with the number of windows done.
///
/// # Errors
/// A logit is not finite; the error names the row. The device fails.
pub fn outputs(
    model: &Classifier,
    tokens: &TokenFile,
    result: WindowOutputs,
    batch_size: usize,
    rounding: Rounding,
    mut progress: impl FnMut(usize),
) -> Result<ClassOutputs, StageError> {
    let length = |window: usize| tokens.length(window);
    let batches = evaluation_batches(tokens.windows(), length, batch_size);
    let row_of = |window: usize| tokens.row_of(window);
    let of = |windows: &[usize]| {
        let sequences = windows.iter().map(|window| (tokens.ids(*window), tokens.types(*window)));
        let name = |at: usize| format!("example `{}`", tokens.id(row_of(windows[at])));
        batch_outputs(model, &Batch::new(sequences, tokens.pad_id()), rounding, name)
    };
    let mut let_go_at = 0;
    outputs_of_batches(model, result, batches, row_of, of, |done| {
        progress(done);
        if (done - let_go_at) * tokens.longest() > LET_GO_AFTER {
            tokens.let_go();
            let_go_at = done;
        }
    })
}

/// The outputs for rows, collected in `result`, where `of` gives those of a batch of windows and
/// `row_of` the row of a window.
///
/// # Errors
/// Those of `of`.
pub fn outputs_of_batches(
    model: &Classifier,
    mut result: WindowOutputs,
    mut batches: impl Iterator<Item = Vec<usize>>,
    row_of: impl Fn(usize) -> usize,
    of: impl Fn(&[usize]) -> Result<ClassOutputs, StageError> + Sync,
    mut progress: impl FnMut(usize),
) -> Result<ClassOutputs, StageError> {
    let mut done = 0;
    let mut put = |windows: &Vec<usize>, of: ClassOutputs| {
        result.add(windows.iter().map(|window| row_of(*window)), &of);
        done += windows.len();
        progress(done);
    };
    // On the CPU two batches in parallel use the cores better than parallel operations do.
    let lanes = if model.clone().is_on_host() { 2 } else { 1 };
    loop {
        let together: Vec<Vec<usize>> = batches.by_ref().take(lanes).collect();
        match &together[..] {
            [] => return Ok(result.finish()),
            [left, right] => {
                let (of_left, of_right) = rayon::join(|| of(left), || of(right));
                put(left, of_left?);
                put(right, of_right?);
            }
            _ => {
                for windows in &together {
                    put(windows, of(windows)?);
                }
            }
        }
    }
}

/// The outputs for one batch. `name` names a row of it in an error.
///
/// # Errors
/// A logit is not finite; the device fails.
pub fn batch_outputs(
    model: &Classifier,
    batch: &Batch,
    rounding: Rounding,
    name: impl Fn(usize) -> String,
) -> Result<ClassOutputs, StageError> {
    let read = |tensor: Tensor<2>| tensor.try_into_vec_as::<f32>().map_err(StageError::no_result);
    let compute = || {
        let logits = model.logits(batch, None);
        (activation::softmax(logits.clone(), 1), logits)
    };
    let (probabilities, logits) = within_memory(|| match rounding {
        Rounding::OfBatch => compute(),
        Rounding::OfRow => rows_apart(compute),
    })
    .map_err(StageError::no_result)?;
    let (probabilities, logits) = (read(probabilities)?, read(logits)?);
    if let Some(at) = first_not_finite(&logits) {
        let doing = format!("classifying {}", name(at * batch.rows / logits.len()));
        let (what, value) = ("a logit".to_owned(), f64::from(logits[at]));
        return Err(StageError::NotFinite { doing, what, value, hint: hints::INFERENCE });
    }
    Ok(ClassOutputs { logits, probabilities })
}

/// -ln p of a class, computed from the logits: the probability itself may round to 0.
fn cross_entropy(logits: &[f32], class: usize) -> f64 {
    let logit = |class: usize| f64::from(logits[class]);
    let most = (0..logits.len()).map(logit).fold(f64::MIN, f64::max);
    let sum: f64 = (0..logits.len()).map(|class| (logit(class) - most).exp()).sum();
    sum.ln() + most - logit(class)
}

/// Compares outputs with the gold classes. `labels` are the names of the classes.
pub fn evaluate(
    found: &ClassOutputs,
    gold: &[usize],
    labels: &[String],
    headline: &Headline,
) -> Evaluation {
    let classes = labels.len();
    let guesses = found.probabilities.chunks(classes).map(argmax);
    // A model has at most 4,096 labels.
    let cells = gold.iter().zip(guesses).map(|(gold, guess)| ((*gold as u16, guess as u16), 1));
    let margins = Margins::new(classes, cells);
    let losses = found.logits.chunks(classes).zip(gold).map(|(it, gold)| cross_entropy(it, *gold));
    Evaluation {
        loss: losses.sum::<f64>() / gold.len().max(1) as f64,
        accuracy: margins.accuracy(),
        figures: headline.figures(&margins, labels.iter().map(String::as_str)),
    }
}

/// The index of the largest value; the first of equals.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outputs whose probabilities these are.
    fn of(probabilities: &[f32]) -> ClassOutputs {
        let logits = probabilities.iter().map(|it| it.ln()).collect();
        ClassOutputs { logits, probabilities: probabilities.to_vec() }
    }

    fn evaluate(found: &ClassOutputs, gold: &[usize]) -> Evaluation {
        let labels = ["no".to_owned(), "yes".to_owned()];
        super::evaluate(found, gold, &labels, &Headline::Positive("yes".to_owned()))
    }

    #[test]
    fn the_loss_of_an_over_confident_row_is_that_of_its_logits() {
        let found = ClassOutputs { logits: vec![150.0, -150.0], probabilities: vec![1.0, 0.0] };
        assert_eq!(evaluate(&found, &[1]).loss, 300.0);
        assert_eq!(evaluate(&found, &[0]).loss, 0.0);
        // Nor do logits that differ by more than floats can hold overflow.
        let found = ClassOutputs { logits: vec![3e38, -3e38], probabilities: vec![1.0, 0.0] };
        assert!((evaluate(&found, &[1]).loss / 6e38 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn figures_are_those_of_scikit_learn() {
        // sklearn: gold 0 0 1 1 1, guess 0 1 1 1 0.
        let probabilities = [0.9, 0.1, 0.4, 0.6, 0.2, 0.8, 0.3, 0.7, 0.75, 0.25];
        let found = evaluate(&of(&probabilities), &[0, 0, 1, 1, 1]);
        assert!((found.accuracy - 0.6).abs() < 1e-12);
        assert!((found.figures.precision - 2.0 / 3.0).abs() < 1e-12);
        assert!((found.figures.recall - 2.0 / 3.0).abs() < 1e-12);
        assert!((found.figures.f1 - 2.0 / 3.0).abs() < 1e-12);
        assert!((found.loss - 0.597_552_8).abs() < 1e-6, "{}", found.loss);
    }

    #[test]
    fn a_class_that_is_never_predicted_has_precision_and_f1_of_zero() {
        let found = evaluate(&of(&[0.9, 0.1, 0.8, 0.2]), &[0, 1]);
        assert_eq!(
            (found.figures.precision, found.figures.recall, found.figures.f1),
            (0.0, 0.0, 0.0)
        );
    }
}
