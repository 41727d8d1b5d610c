//! Evaluation on held-out texts, and the metrics that it records. Held-out texts have the same
//! masks at every evaluation.

use serde::Serialize;

use super::texts::Masked;
use crate::model::masked_lm::{MaskedLm, Targets};
use crate::model::parameters::Network;
use crate::stage::error::StageError;
use crate::train::micro::Rows;
use crate::train::order::evaluation_token_batches;

/// The mean cross-entropy of the masked tokens.
pub fn held_out_loss(
    model: &MaskedLm,
    texts: &Masked,
    batch_tokens: usize,
) -> Result<f64, StageError> {
    let model = model.frozen();
    let (mut sum, mut count) = (0.0, 0);
    for rows in evaluation_token_batches(texts.sequences.lengths(), batch_tokens) {
        let part = texts.part(&rows, 0);
        let targets = Targets { positions: &part.positions, ids: &part.targets };
        let loss = model.loss(&part.batch, targets, 1.0, None);
        let loss = loss.try_into_scalar::<f32>().map_err(StageError::no_result)?;
        sum += f64::from(loss);
        count += part.targets.len();
    }
    Ok(sum / count.max(1) as f64)
}

/// A line of `metrics.jsonl`. It holds no times, because equal runs must write equal bytes; times
/// are in the stage's record.
#[derive(Serialize)]
pub struct StepMetrics {
    pub step: u64,
    pub learning_rate: f64,
    /// The mean over the steps since the previous line.
    pub train_loss: f64,
    #[serde(flatten)]
    pub valid: Option<HeldOutMetrics>,
}

#[derive(Serialize)]
pub struct HeldOutMetrics {
    pub valid_loss: f64,
    /// e to the power of the loss.
    pub valid_perplexity: f64,
}

impl HeldOutMetrics {
    pub fn of(loss: f64) -> HeldOutMetrics {
        HeldOutMetrics { valid_loss: loss, valid_perplexity: loss.exp() }
    }
}
