//! Compares each training option with PyTorch on the tiny checkpoints. The expected values come
//! from `fixtures/make_recipes.py`.

#![cfg(feature = "model")]

use std::path::Path;

use burn::tensor::{DType, Device};
use stages::model::classifier::Classifier;
use stages::model::config::ModelConfig;
use stages::model::config::Pooling;
use stages::model::encoder::DropoutRates;
use stages::model::folder;
use stages::model::loading::{HeadSource, load};
use stages::model::noise::Noise;
use stages::model::parameters::Network;
use stages::model::precision::Precision;
use stages::train::depth::Depth;
use stages::train::loss::{Loss, balanced_weights};
use stages::train::objective::Objective;
use stages::train::step::Trainer;

use crate::reference::{
    Expected, assert_close, device, fixture, logits, options, ten_losses, trainer, trainer_on,
    whole_batch,
};

/// The families with numbers in `recipes.safetensors`.
const FAMILIES: [&str; 3] = ["bert", "roberta", "mpnet"];

/// Compares the losses of ten steps of every family with the expected losses called `name`.
#[track_caller]
fn assert_losses(name: &str, change: impl Fn(&mut Trainer)) {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let recipes = Expected::read_file(&fixture(family).join("recipes.safetensors"));
        let mut trainer = trainer(family);
        change(&mut trainer);
        let losses = ten_losses(&mut trainer, &expected);
        assert_close(&format!("{family} {name}"), &losses, recipes.floats(name), 1e-3);
    }
}

#[test]
fn smoothed_and_weighted_losses_are_those_of_pytorch() {
    assert_losses("smoothed", |trainer| {
        trainer.loss.label_smoothing = 0.1;
        trainer.loss.class_weights = vec![0.5, 2.0];
    });
}

#[test]
fn lower_layers_learn_more_slowly_and_biases_do_not_decay() {
    assert_losses("layered", |trainer| {
        trainer.optimizer.weight_decay = 0.1;
        trainer.optimizer.layer_decay = 0.8;
    });
}

#[test]
fn frozen_layers_stay_as_they_are_and_the_rest_learns_as_in_pytorch() {
    assert_losses("frozen", |trainer| {
        trainer.frozen = Some(Depth::Layer(0));
        trainer.freeze();
    });
    let expected = Expected::read("bert");
    let mut trainer = trainer("bert");
    trainer.frozen = Some(Depth::Layer(0));
    trainer.freeze();
    let before = values_of(&mut trainer.model);
    ten_losses(&mut trainer, &expected);
    for ((name, before), (_, after)) in before.iter().zip(&values_of(&mut trainer.model)) {
        let frozen = name.contains("embeddings") || name.contains("layer.0.");
        assert_eq!(before == after, frozen, "{name}");
    }
}

fn values_of(model: &mut Classifier) -> Vec<(String, Vec<f32>)> {
    let stored = |(name, parameter)| {
        let values = folder::stored(&parameter, Path::new("model")).unwrap().1;
        (name, values)
    };
    model.parameters().into_iter().map(stored).collect()
}

fn with_mean_pooling(family: &str, device: &Device) -> Classifier {
    let folder = fixture(family);
    let mut config = ModelConfig::read(&folder).unwrap();
    config.head.pooling = Pooling::Mean;
    load(&folder, &config, &options(HeadSource::Checkpoint), device).unwrap().model
}

#[test]
fn a_head_over_the_mean_of_all_tokens_scores_and_learns_as_in_pytorch() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let recipes = Expected::read_file(&fixture(family).join("recipes.safetensors"));
        let found = logits(&with_mean_pooling(family, &device()), &expected.batch("right"));
        assert_close(family, &found, recipes.floats("logits_mean"), 1e-4);
    }
    assert_losses("mean", |trainer| {
        let family = match trainer.model.parameters()[0].0.split('.').next() {
            Some("bert") => "bert",
            Some("roberta") => "roberta",
            _ => "mpnet",
        };
        trainer.model = with_mean_pooling(family, &device().autodiff());
    });
}

#[test]
fn r_drop_adds_the_divergence_between_two_passes() {
    let expected = Expected::read("roberta");
    let folder = fixture("roberta");
    let config = ModelConfig::read(&folder).unwrap();
    let mut options = options(HeadSource::Checkpoint);
    options.rates = DropoutRates { embeddings: 0.2, hidden: 0.2, attention: 0.1 };
    let model = load(&folder, &config, &options, &device()).unwrap().model;
    let part = whole_batch(&expected);
    let rows = part.batch.rows;
    let noise = |pass| Some(Noise::new(5, 3, 0, pass));
    let of = |loss: &Loss, noise: &dyn Fn(u64) -> Option<Noise>| {
        let loss = loss.of(&model, &part, rows as f64, rows as f64, noise);
        f64::from(loss.try_into_scalar::<f32>().unwrap())
    };
    let plain = Loss::default();
    let drawn = Loss { r_drop: 0.7, ..Loss::default() };
    // By definition, from the log-probabilities of the two passes.
    let logarithms = |pass| -> Vec<f64> {
        let logits = model.logits(&part.batch, noise(pass).as_ref());
        let values = burn::tensor::activation::log_softmax(logits, 1);
        values.try_into_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
    };
    let (p, q) = (logarithms(0), logarithms(1));
    let divergence = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| a.exp() * (a - b)).sum::<f64>() / rows as f64
    };
    let mean = (of(&plain, &noise) + of(&plain, &|_| noise(1))) / 2.0;
    let wanted = mean + 0.7 * (divergence(&p, &q) + divergence(&q, &p)) / 2.0;
    assert!((of(&drawn, &noise) - wanted).abs() < 1e-5);
    assert!(
        (of(&drawn, &|_| None) - of(&plain, &|_| None)).abs() < 1e-6,
        "without dropout the term must be 0"
    );
    assert!(of(&drawn, &noise) > mean + 1e-4, "the two passes do not differ");
}

#[test]
fn balanced_weights_are_those_of_scikit_learn() {
    // compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 1, 1, 2])
    let found = balanced_weights(&[0, 0, 0, 1, 1, 2], 3);
    for (found, expected) in found.iter().zip([2.0 / 3.0, 1.0, 2.0]) {
        assert!((found - expected).abs() < 1e-12);
    }
    assert_eq!(balanced_weights(&[0, 0], 2), [0.5, 1.0], "a class without examples");
}

#[test]
fn bf16_products_give_nearly_the_logits_and_losses_of_f32() {
    if !device().supports_dtype(DType::BF16) {
        return;
    }
    for family in FAMILIES {
        let expected = Expected::read(family);
        let folder = fixture(family);
        let config = ModelConfig::read(&folder).unwrap();
        let mut options = options(HeadSource::Checkpoint);
        options.precision = Precision::Bf16;
        let model = load(&folder, &config, &options, &device().autodiff()).unwrap().model;
        let found = logits(&model.frozen(), &expected.batch("right"));
        let exact = expected.floats("logits_right");
        assert_close(&format!("{family} logits"), &found, exact, 2e-2);
        assert_ne!(found, exact, "nothing was rounded");
        // What training computes, which keeps what it needs for the gradients.
        assert_eq!(logits(&model, &expected.batch("right")), found, "{family}");
        let mut trainer = trainer(family);
        trainer.model = model;
        let losses = ten_losses(&mut trainer, &expected);
        assert_close(&format!("{family} losses"), &losses, expected.floats("losses"), 3e-2);
    }
}

#[test]
fn training_in_bf16_gives_the_same_bits_at_any_number_of_threads() {
    let expected = Expected::read("roberta");
    let folder = fixture("roberta");
    let config = ModelConfig::read(&folder).unwrap();
    let mut options = options(HeadSource::Checkpoint);
    options.precision = Precision::Bf16;
    let losses = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trainer = trainer_on("roberta", &Device::flex());
            let device = Device::flex().autodiff();
            trainer.model = load(&folder, &config, &options, &device).unwrap().model;
            trainer.dropout = true;
            ten_losses(&mut trainer, &expected)
        })
    };
    let one = losses(1);
    assert_eq!(one, losses(2), "two threads");
    assert_eq!(one, losses(3), "three threads");
}
