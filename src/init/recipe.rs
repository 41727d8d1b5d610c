//! The recipe of the fine-tuning that `pipe init --model` writes: epochs, batch size and learning rate,
//! by the number of rows and labels and by the size of the model.
//!
//! - **Steps.** A new head and an encoder need a number of updates, whatever the number of rows: four
//!   epochs of 120 rows are 16 steps, after which a small encoder still guesses. Mosbach et al. (2021)
//!   find the same: on small data, train for more steps with a warm-up. So there are at least
//!   `STEPS` steps, or `STEPS_PER_LABEL` for each label, and at least `EPOCHS` epochs, which is
//!   more from about 1,600 rows on.
//! - **Batch.** The smaller the data, the smaller the batch, so that the steps cost less and an epoch
//!   has several.
//! - **Rate.** The wider the model, the lower the rate: 2e-5 is the published recipe of models of 768
//!   units. With it, smaller encoders hardly move.
//!
//! Measured with 120 rows of three easy classes (validation log loss, chance 1.10): all-MiniLM-L6-v2,
//! 384 units, 0.16 after 175 steps with 2e-5 and 0.07 after 105 steps with 5e-5; `models/tweet-encoder`,
//! 256 units, 0.05 after 210 steps with 1e-4. After the 16 steps of four epochs both were at 1.06 or
//! above. With eight rows for
//! each of 50 labels, `models/tweet-encoder` had an accuracy of 0.45 after 200 steps, 0.80 after 500 and
//! 0.90 after 1,000.

use std::path::Path;

use serde_json::Value;

/// The least number of steps.
const STEPS: u64 = 200;
/// The least number of steps for each label.
const STEPS_PER_LABEL: u64 = 20;
/// The least number of epochs.
const EPOCHS: u64 = 4;

/// The width of a model that nothing is known about: that of BERT's and RoBERTa's base models.
const USUAL_WIDTH: u64 = 768;

/// Parameters of `finetune`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    pub epochs: u64,
    pub batch_size: u64,
    pub learning_rate: f64,
}

impl Recipe {
    /// The recipe for this number of training rows and labels, and a model with this many hidden
    /// units.
    pub fn new(rows: u64, labels: usize, width: u64) -> Recipe {
        let batch_size = match rows {
            ..50 => 8,
            50..1000 => 16,
            _ => 32,
        };
        let steps = STEPS.max(STEPS_PER_LABEL * labels as u64);
        let steps_per_epoch = rows.div_ceil(batch_size).max(1);
        let learning_rate = match width {
            ..192 => 3e-4,
            192..320 => 1e-4,
            320..640 => 5e-5,
            640..1024 => 2e-5,
            _ => 1e-5,
        };
        Recipe { epochs: steps.div_ceil(steps_per_epoch).max(EPOCHS), batch_size, learning_rate }
    }

    /// The same for models that only judge the labels of other rows, of which there are five. The last of
    /// four epochs would take a quarter of the time, and change few judgements.
    pub fn for_judging(self) -> Recipe {
        let epochs = if self.epochs == EPOCHS { EPOCHS - 1 } else { self.epochs };
        Recipe { epochs, ..self }
    }

    /// Writes the parameters of `finetune`.
    pub fn write(self, line: &mut impl FnMut(&str)) {
        let Recipe { epochs, batch_size, learning_rate } = self;
        line(&format!("      epochs: {epochs}"));
        line(&format!("      batch_size: {batch_size}"));
        line(&format!("      learning_rate: {learning_rate:.1e}"));
        line("      warmup_ratio: 0.1");
        line("      seed: \"${seed}\"");
    }
}

/// The number of hidden units of a model: what the `config.json` of a folder says, or what the name
/// of a model of the hub suggests, which is not downloaded yet.
pub fn width(model: &str) -> u64 {
    let Some(name) = model.strip_prefix("hub:") else {
        return width_in(&Path::new(model).join("config.json")).unwrap_or(USUAL_WIDTH);
    };
    let name = name.to_ascii_lowercase();
    // As in `bert_uncased_L-2_H-128_A-2` and `MiniLM-L6-H384-uncased`.
    let stated =
        name.split(['-', '_']).zip(name.split(['-', '_']).skip(1)).find_map(|(part, next)| {
            let digits = if part == "h" { next } else { part.strip_prefix('h')? };
            digits.parse().ok().filter(|width| *width >= 32)
        });
    let by_word = || {
        let mut words = name.split(|it: char| !it.is_ascii_alphanumeric());
        words.find_map(|word| match word {
            "tiny" => Some(128),
            "mini" => Some(256),
            "tinybert" => Some(312),
            "small" => Some(512),
            "large" => Some(1024),
            _ => word.starts_with("minilm").then_some(384),
        })
    };
    stated.or_else(by_word).unwrap_or(USUAL_WIDTH)
}

fn width_in(config: &Path) -> Option<u64> {
    let config: Value = serde_json::from_slice(&std::fs::read(config).ok()?).ok()?;
    config["hidden_size"].as_u64().filter(|width| *width > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rows_get_more_epochs_and_always_enough_steps() {
        for rows in [1, 2, 5, 27, 49, 50, 108, 900, 999, 1000, 1440, 5000, 1_000_000] {
            for labels in [2, 3, 150] {
                let recipe = Recipe::new(rows, labels, 768);
                let steps = rows.div_ceil(recipe.batch_size) * recipe.epochs;
                assert!(steps >= 200.max(20 * labels as u64), "{rows} {recipe:?}");
                assert!(recipe.epochs >= 4 && recipe.batch_size <= 32, "{rows} {recipe:?}");
            }
        }
        let of_many = Recipe { epochs: 4, batch_size: 32, learning_rate: 2e-5 };
        assert_eq!(Recipe::new(5000, 2, 768), of_many);
        assert_eq!(Recipe::new(108, 3, 384).epochs, 29);
    }

    #[test]
    fn the_width_is_that_of_the_config_or_the_name_suggests_it() {
        for (name, wanted) in [
            ("hub:owner/name", 768),
            ("hub:sentence-transformers/all-MiniLM-L6-v2", 384),
            ("hub:nreimers/MiniLM-L3-H384-uncased@main", 384),
            ("hub:google/bert_uncased_L-2_H-128_A-2", 128),
            ("hub:prajjwal1/bert-tiny", 128),
            ("hub:FacebookAI/roberta-large", 1024),
            ("hub:owner/gemini-smaller", 768),
            ("hub:cardiffnlp/twitter-roberta-base", 768),
            (concat!(env!("CARGO_MANIFEST_DIR"), "/models/tweet-encoder"), 256),
            ("/nowhere", 768),
        ] {
            assert_eq!(width(name), wanted, "{name}");
        }
    }
}
