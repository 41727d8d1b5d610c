//! Sequences of more than 512 tokens, which attention on the CPU computes in blocks: the same as with
//! burn's own operations, which compute all scores at once.

#![cfg(feature = "model")]

use burn::tensor::Device;
use stages::model::batch::Batch;
use stages::model::config::ModelConfig;
use stages::model::cpu::as_elsewhere;
use stages::model::encoder::DropoutRates;
use stages::model::loading::{HeadSource, LoadOptions, Weights, load};
use stages::model::noise::Noise;
use stages::model::parameters::Network;

use crate::reference::{assert_close, copy_of, options};

/// The loss, followed by the gradient of every parameter, with dropout.
fn everything(folder: &str) -> Vec<(String, Vec<f32>)> {
    let copy = copy_of(folder);
    let path = copy.path().join("config.json");
    let mut raw: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    raw.insert("max_position_embeddings".to_owned(), 700.into());
    let config = ModelConfig::from_raw(raw, &path).unwrap();
    let options = LoadOptions {
        weights: Weights::Random,
        rates: DropoutRates { embeddings: 0.1, hidden: 0.1, attention: 0.2 },
        ..options(HeadSource::New)
    };
    let mut model = load(copy.path(), &config, &options, &Device::flex().autodiff()).unwrap().model;
    let ids = |count: usize| (0..count).map(|at| 3 + (at * 7 % 50) as i32).collect::<Vec<i32>>();
    let (long, short) = (ids(601), ids(70));
    let batch = Batch::new([(&long[..], None), (&short[..], None)].into_iter(), 1);
    let loss = model.logits(&batch, Some(&Noise::new(1, 2, 0, 0))).powi_scalar(2).sum();
    let mut tape = loss.backward();
    let mut all = vec![("loss".to_owned(), loss.inner().try_into_vec_as::<f32>().unwrap())];
    for (name, parameter) in model.parameters() {
        use stages::model::parameters::Parameter::{Kernel, Table, Vector, Weight};
        let values = match parameter {
            Vector(tensor) => tensor.grad_remove(&mut tape).map(|it| it.try_into_vec_as::<f32>()),
            Weight(tensor) | Table(tensor) | Kernel { weight: tensor, .. } => {
                tensor.grad_remove(&mut tape).map(|it| it.try_into_vec_as::<f32>())
            }
        };
        all.push((name, values.map(Result::unwrap).unwrap_or_default()));
    }
    all
}

#[test]
fn blocks_of_a_long_sequence_have_the_loss_and_gradients_of_the_whole() {
    for family in ["bert", "mpnet", "deberta-v2", "modernbert"] {
        let blocks = everything(family);
        let whole = as_elsewhere(|| everything(family));
        for ((name, found), (_, expected)) in blocks.iter().zip(&whole) {
            assert_close(&format!("{family}: {name}"), found, expected, 2e-3);
        }
    }
}
