//! What a stage needs of a device, compared with what the device has before a model is loaded.

use crate::model::config::ModelConfig;
use crate::model::precision::Precision;
use crate::stage::error::StageError;

/// What is known of a device before anything was computed on it.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// The memory of the device in bytes, also what others use of it. `None` if nothing tells.
    pub memory: Option<u64>,
    /// Whether it computes with bfloat16.
    pub bf16: bool,
    /// Whether it multiplies 8-bit integers.
    pub int8: bool,
}

/// What a stage is about to do.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    pub config: &'a ModelConfig,
    pub precision: Precision,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    Inference,
    /// Training without the lowest `frozen` parts: 0 trains all, 1 freezes the embeddings, and
    /// each layer above them is one more.
    Training {
        frozen: usize,
    },
}

/// Bytes of an f32 weight, of its gradient with the two moments of AdamW, and of its copy in
/// bfloat16.
const WEIGHT: u64 = 4;
const UPDATED: u64 = 12;
const COPY: u64 = 2;

impl Work<'_> {
    /// Checks that the device called `name` can do this.
    ///
    /// # Errors
    /// It has no bfloat16 or no 8-bit integers and the precision asks for them, or its memory cannot
    /// hold the parameters.
    pub fn check(&self, name: &str, abilities: &Abilities) -> Result<(), StageError> {
        if self.precision == Precision::Bf16 && !abilities.bf16 {
            return Err(StageError::Unavailable {
                what: format!("`precision: bf16` on {name}"),
                problem: "the device does not compute with bfloat16; use `precision: f32`"
                    .to_owned(),
            });
        }
        if self.precision == Precision::Int8 && !abilities.int8 {
            return Err(StageError::Unavailable {
                what: format!("`precision: int8` on {name}"),
                problem:
                    "8-bit integers are for CPUs; use `--device cpu`, or `precision: bf16` on a \
                          GPU"
                    .to_owned(),
            });
        }
        let bytes = self.least_bytes();
        let Some(memory) = abilities.memory.filter(|memory| *memory < bytes) else { return Ok(()) };
        let what = match self.purpose {
            Purpose::Inference => "the weights of the model take",
            Purpose::Training { .. } => {
                "the weights of the model, their gradients and the optimizer's moments take"
            }
        };
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        Err(StageError::Unavailable {
            what: format!("enough memory on {name}"),
            problem: format!(
                "{what} at least {:.1} GB, and the device has {:.1} GB; use a smaller model, \
                 another device, or `--device cpu`",
                gigabytes(bytes),
                gigabytes(memory)
            ),
        })
    }

    /// A lower bound of the memory that the parameters take, without activations.
    fn least_bytes(&self) -> u64 {
        let [embeddings, layer] = matrices(self.config);
        let layers = self.config.num_hidden_layers as u64;
        let all = embeddings.saturating_add(layer.saturating_mul(layers));
        let copy = if self.precision == Precision::Bf16 { COPY } else { 0 };
        let updated = match self.purpose {
            Purpose::Inference => 0,
            Purpose::Training { frozen: 0 } => all,
            Purpose::Training { frozen } => {
                layer.saturating_mul(layers.saturating_sub(frozen as u64 - 1))
            }
        };
        all.saturating_mul(WEIGHT + copy).saturating_add(updated.saturating_mul(UPDATED))
    }
}

/// The numbers of parameters in the embeddings and in a layer, without biases, norms and heads.
fn matrices(config: &ModelConfig) -> [u64; 2] {
    let [hidden, intermediate] = [config.hidden_size, config.intermediate_size].map(|it| it as u64);
    let rows = config.vocab_size as u64
        + config.max_position_embeddings as u64
        + config.type_vocab_size as u64;
    let width = hidden.saturating_mul(4).saturating_add(intermediate.saturating_mul(2));
    [hidden.saturating_mul(rows), hidden.saturating_mul(width)]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GPU: Abilities = Abilities { memory: Some(2_000_000_000), bf16: true, int8: false };

    /// RoBERTa as published: 12 layers of 768, 124 million parameters.
    fn base() -> ModelConfig {
        let raw = serde_json::json!({
            "model_type": "roberta", "vocab_size": 50265, "hidden_size": 768,
            "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        });
        ModelConfig::from_raw(raw.as_object().unwrap().clone(), Path::new("config.json")).unwrap()
    }

    fn work(config: &ModelConfig, precision: Precision, purpose: Purpose) -> Work<'_> {
        Work { config, precision, purpose }
    }

    #[test]
    fn the_lower_bound_is_a_little_below_what_the_published_model_takes() {
        const PARAMETERS: f64 = 124.1e6;
        let config = base();
        let all = Purpose::Training { frozen: 0 };
        for (precision, purpose, bytes) in [
            (Precision::F32, all, 16.0),
            (Precision::Bf16, all, 18.0),
            (Precision::F32, Purpose::Inference, 4.0),
            (Precision::Bf16, Purpose::Inference, 6.0),
        ] {
            let share =
                work(&config, precision, purpose).least_bytes() as f64 / (PARAMETERS * bytes);
            assert!((0.99..=1.0).contains(&share), "{precision:?} {purpose:?}: {share}");
        }
    }

    #[test]
    fn frozen_parts_need_memory_for_their_weights_only() {
        let config = base();
        let bytes =
            |frozen| work(&config, Precision::F32, Purpose::Training { frozen }).least_bytes();
        assert_eq!(bytes(0) - bytes(1), 12 * 768 * (50_265 + 514 + 1));
        assert_eq!(bytes(1) - bytes(2), 12 * 12 * 768 * 768);
        assert_eq!(bytes(13), bytes(99), "all layers are frozen");
        let inference = work(&config, Precision::F32, Purpose::Inference).least_bytes();
        assert_eq!(bytes(13), inference);
    }

    #[test]
    fn a_model_that_fits_is_accepted_and_a_larger_one_is_refused_with_both_sizes() {
        let mut config = base();
        let training = |config: &ModelConfig, abilities| {
            work(config, Precision::F32, Purpose::Training { frozen: 0 })
                .check("cuda:0 (Toy)", abilities)
        };
        training(&config, &GPU).unwrap();
        config.num_hidden_layers = 24;
        let error = training(&config, &GPU).unwrap_err().to_string();
        assert!(error.starts_with("enough memory on cuda:0 (Toy) is not available"), "{error}");
        assert!(error.contains("at least 3.3 GB, and the device has 2.0 GB"), "{error}");
        let inference = work(&config, Precision::F32, Purpose::Inference);
        inference.check("cuda:0 (Toy)", &GPU).unwrap();
        training(&config, &Abilities { memory: None, ..GPU }).unwrap();
    }

    #[test]
    fn bf16_on_a_device_without_it_is_refused_with_what_to_use() {
        let (config, device) = (base(), Abilities { bf16: false, ..GPU });
        let check = |precision| {
            work(&config, precision, Purpose::Inference).check("vulkan:0 (Toy)", &device)
        };
        check(Precision::F32).unwrap();
        let error = check(Precision::Bf16).unwrap_err().to_string();
        assert!(error.contains("`precision: bf16` on vulkan:0 (Toy)"), "{error}");
        assert!(error.contains("use `precision: f32`"), "{error}");
    }

    #[test]
    fn int8_on_a_gpu_is_refused_with_what_to_use() {
        let config = base();
        let work = work(&config, Precision::Int8, Purpose::Inference);
        let error = work.check("cuda:0 (Toy)", &GPU).unwrap_err().to_string();
        assert!(error.contains("`precision: int8` on cuda:0 (Toy)"), "{error}");
        assert!(error.contains("use `--device cpu`, or `precision: bf16` on a GPU"), "{error}");
        work.check("cpu", &Abilities { memory: None, int8: true, ..GPU }).unwrap();
    }
}
