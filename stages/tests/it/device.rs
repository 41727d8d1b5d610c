//! The kernels of a GPU beside what the host computes. They run where `$PIPE_TEST_DEVICE` names a
//! GPU, and on the CPU compare nothing.

#![cfg(feature = "device")]

use std::path::Path;

use burn::backend::Cube;
use burn::tensor::{DType, Device, Tensor};
use stages::model::batch::Batch;
use stages::model::config::ModelConfig;
use stages::model::device::check;
use stages::model::device::linear::{self, Factor};
use stages::model::encoder::DropoutRates;
use stages::model::loading::{HeadSource, LoadOptions, Weights, load};
use stages::model::memory::within_memory;
use stages::model::noise::{Noise, Site};
use stages::model::ops;
use stages::model::parameters::Network;
use stages::model::precision::Precision;
use stages::train::loss::{Loss, MicroBatch};
use stages::train::step::gradients;

use crate::reference::{
    Expected, FAMILIES, assert_close, device, device_name, fixture, options, ten_losses, trainer,
};

#[test]
fn masks_are_the_same_bits_as_on_the_host_at_every_site() {
    let sites = (0..3).flat_map(|layer| {
        [
            Site::AttentionProbabilities { layer },
            Site::AttentionOutput { layer },
            Site::FeedForward { layer },
            Site::RelativePositions { layer },
        ]
    });
    let others = [Site::Embeddings, Site::Convolution, Site::HeadInput, Site::HeadHidden];
    let dims = [5, 7, 33];
    for (site, rate) in others.into_iter().chain(sites).zip([0.1, 0.5, 0.9].into_iter().cycle()) {
        let mask = Noise::new(17, 3, 2, 1).mask(site, dims[0], rate).unwrap();
        let expected = mask.states(dims, &Device::flex()).try_to_vec_as::<f32>().unwrap();
        let ones = Tensor::<3>::ones(dims, &device());
        let found = ops::dropout(ones, Some(&mask)).try_to_vec_as::<f32>().unwrap();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(expected), "{site:?}");
    }
}

#[test]
fn a_training_with_dropout_repeats_to_the_bit() {
    for family in FAMILIES {
        let run = || {
            let mut trainer = trainer(family);
            trainer.dropout = true;
            let losses = ten_losses(&mut trainer, &Expected::read(family));
            let parameters = trainer.model.parameters().into_iter();
            let values = parameters.flat_map(|(_, it)| it.values(Path::new("")).unwrap());
            losses.into_iter().chain(values).map(f32::to_bits).collect::<Vec<_>>()
        };
        assert!(run() == run(), "{family}");
    }
}

#[test]
fn memory_that_a_device_has_not_got_is_told_before_anything_is_read() {
    if device_name() == "cpu" {
        return;
    }
    let of = |tensor: &Tensor<1>| tensor.clone().try_into_primitive::<Cube>().unwrap();
    let there = Tensor::<1>::ones([8], &device());
    assert_eq!(check([&of(&there), &of(&(there.clone() + 1.0))]), Ok(()));
    let missing = Tensor::<1>::empty([1_usize << 40], &device());
    let told = check([&of(&there), &of(&missing)]).unwrap_err();
    assert!(told.to_lowercase().contains("can't allocate"), "{told}");
}

#[test]
fn a_result_that_kernels_cannot_count_is_too_little_memory() {
    if device_name() == "cpu" {
        return;
    }
    let ones = |shape: [usize; 2]| Tensor::<2>::ones(shape, &device());
    let (left, right) = (ones([1 << 16, 1]), ones([1, 1 << 16]));
    let product = || linear::product(&left, &right, &Factor::default(), Precision::F32);
    let told = within_memory(product).unwrap_err();
    assert!(told.contains("a tensor of 4294967296 numbers"), "{told}");
}

/// The loss and the gradient of every parameter of a network with random weights, two heads of
/// `size` and rows of different lengths up to `width`, with dropout.
fn loss_and_gradients(
    (family, size, width): (&str, usize, usize),
    precision: Precision,
    device: &Device,
) -> Vec<Vec<f32>> {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(fixture(family).join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["hidden_size"] = (2 * size).into();
    config["num_attention_heads"] = 2.into();
    config["intermediate_size"] = (3 * size).into();
    config["max_position_embeddings"] = (width + 8).into();
    if config.get("pooler_hidden_size").is_some() {
        config["pooler_hidden_size"] = (2 * size).into();
    }
    config["initializer_range"] = 0.05.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let config = ModelConfig::read(folder.path()).unwrap();
    let rates = DropoutRates { embeddings: 0.1, hidden: 0.1, attention: 0.2 };
    let weights = Weights::Random;
    let options = LoadOptions { weights, rates, precision, ..options(HeadSource::New) };
    let device = device.clone().autodiff();
    let mut model = load(folder.path(), &config, &options, &device).unwrap().model;
    let rows: Vec<Vec<i32>> = [width, width / 2 + 1, 3]
        .map(|length| (0..length).map(|at| 4 + (at * 7 % 40) as i32).collect())
        .to_vec();
    let batch = Batch::new(rows.iter().map(|row| (&row[..], None)), 1);
    let part = MicroBatch { batch, classes: vec![0, 1, 1], weights: Vec::new(), first_row: 0 };
    let noise = |first_row, pass| Some(Noise::new(5, 3, first_row, pass));
    let (loss, found) = gradients(&mut model, &[part], 1, &Loss::default(), noise);
    let mut all = vec![loss.try_into_vec_as::<f32>().unwrap()];
    for gradient in found.into_iter().flatten() {
        all.push(gradient.into_matrix().try_into_vec_as::<f32>().unwrap());
    }
    all
}

#[test]
fn long_rows_and_wide_heads_of_every_kind_of_attention_have_the_gradients_of_the_cpu() {
    for network in [
        ("roberta", 64, 100),
        ("roberta", 128, 45),
        ("bert", 40, 70),
        ("mpnet", 96, 37),
        ("roberta", 32, 300),
        ("mpnet", 32, 530),
        ("deberta-v2", 40, 70),
        ("deberta-v2-conv", 24, 37),
        ("modernbert", 48, 100),
        ("modernbert-biased", 32, 600),
        // Heads whose features memory cannot be read by fours.
        ("roberta", 6, 20),
        ("mpnet", 5, 20),
        ("modernbert", 10, 60),
    ] {
        let expected = loss_and_gradients(network, Precision::F32, &Device::flex());
        let found = loss_and_gradients(network, Precision::F32, &device());
        assert_eq!(found.len(), expected.len());
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_close(&format!("{network:?}, tensor {index}"), found, expected, 2e-4);
        }
    }
}

#[test]
fn in_bf16_heads_of_any_size_have_the_gradients_of_f32_but_for_its_rounding() {
    if !device().supports_dtype(DType::BF16) {
        return;
    }
    let norm = |values: &[f32]| values.iter().map(|it| it * it).sum::<f32>().sqrt();
    for network in
        [("roberta", 64, 40), ("roberta", 6, 20), ("mpnet", 5, 20), ("modernbert", 10, 60)]
    {
        let expected = loss_and_gradients(network, Precision::F32, &Device::flex());
        let found = loss_and_gradients(network, Precision::Bf16, &device());
        assert_eq!(found.len(), expected.len());
        let whole = norm(&expected.concat());
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let apart: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
            let (error, scale) = (norm(&apart), norm(expected).max(0.01 * whole));
            assert!(error <= 0.05 * scale, "{network:?}, tensor {index}: {error} of {scale}");
        }
    }
}
