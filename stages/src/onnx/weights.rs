//! The parameters of a classifier by their names in a checkpoint, and their quantisation to 8 bits.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;

use crate::data::finite::first_not_finite;
use crate::model::config::ModelConfig;
use crate::model::encoder::DropoutRates;
use crate::model::folder::stored;
use crate::model::loading::{HeadSource, LoadOptions, Weights as Source, load};
use crate::model::parameters::Network;
use crate::model::precision::Precision;
use crate::stage::error::{StageError, hints};

/// The parameters that the graph has not used yet.
pub struct Weights(BTreeMap<String, Weight>);

/// A parameter as a checkpoint has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Weights {
    /// Loads the classifier in `folder`, which reports every tensor that is missing, misshapen or left over.
    pub fn read(
        folder: &Path,
        config: &ModelConfig,
        classes: usize,
    ) -> Result<Weights, StageError> {
        let options = LoadOptions {
            classes,
            rates: DropoutRates::NONE,
            head_rate: 0.0,
            precision: Precision::F32,
            seed: 0,
            weights: Source::Pretrained,
            head: HeadSource::Checkpoint,
        };
        let mut model = load(folder, config, &options, &Device::flex())?.model;
        let mut all = BTreeMap::new();
        for (name, parameter) in model.parameters() {
            let (shape, values) = stored(&parameter, folder)?;
            if let Some(at) = first_not_finite(&values) {
                let (what, value) = (format!("a value of `{name}`"), f64::from(values[at]));
                let (doing, hint) = ("exporting the model".to_owned(), hints::TRAINING);
                return Err(StageError::NotFinite { doing, what, value, hint });
            }
            all.insert(name, Weight { shape, values });
        }
        Ok(Weights(all))
    }

    /// Removes a parameter, whose values go into the graph.
    pub fn take(&mut self, name: &str) -> Option<Weight> {
        self.0.remove(name)
    }

    /// The parameters that are left.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// A matrix in 8 bits, `values · scale`, with a scale for each row.
pub struct Quantized {
    /// Row-major.
    pub values: Vec<i8>,
    pub scales: Vec<f32>,
}

/// Rounds each row of a row-major matrix to whole multiples of its scale, the largest magnitude to
/// `largest`.
pub fn quantized(values: &[f32], rows: usize, largest: i8) -> Quantized {
    let columns = values.len() / rows.max(1);
    let mut result = Quantized { values: Vec::with_capacity(values.len()), scales: Vec::new() };
    for row in values.chunks(columns.max(1)) {
        let magnitude = row.iter().fold(0f32, |most, value| most.max(value.abs()));
        // A row of zeros takes any scale.
        let scale = if magnitude > 0.0 { magnitude / f32::from(largest) } else { 1.0 };
        let limit = f32::from(largest);
        let rounded = |value: &f32| (value / scale).round_ties_even().clamp(-limit, limit) as i8;
        result.values.extend(row.iter().map(rounded));
        result.scales.push(scale);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_own_scale_and_loses_at_most_half_a_step() {
        let values = [1.0, -0.5, 0.25, 0.0, 100.0, -254.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0];
        let found = quantized(&values, 3, 127);
        assert_eq!(found.scales, [1.0 / 127.0, 2.0, 1.0]);
        assert_eq!(found.values[4..8], [50, -127, 0, 1]);
        for (index, value) in values.iter().enumerate() {
            let scale = found.scales[index / 4];
            let error = (f32::from(found.values[index]) * scale - value).abs();
            assert!(error <= 0.5001 * scale, "{value}");
        }
    }
}
