//! Compares the network, its gradients and the optimiser with transformers, on tiny checkpoints
//! made by `fixtures/make_models.py`.

#![cfg(feature = "model")]

use std::path::Path;

use burn::tensor::Device;
use stages::model::batch::Batch;
use stages::model::config::ModelConfig;
use stages::model::cpu::as_elsewhere;
use stages::model::folder;
use stages::model::head::CheckpointHead;
use stages::model::loading::{HeadSource, LoadOptions, Weights, load};
use stages::model::parameters::Network;
use stages::train::loss::{Loss, MicroBatch};
use stages::train::step::gradients;

use crate::reference::{
    Expected, FAMILIES, as_stored, assert_close, copy_of, device, fixture, loaded, logits, options,
    ten_losses, trainer, trainer_on, try_load, whole_batch,
};

#[test]
fn logits_equal_those_of_transformers_with_padding_on_either_side() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let model = loaded(family, &device());
        for side in sides(family) {
            let found = logits(&model, &expected.batch(side));
            let name = format!("logits_{side}");
            assert_close(&format!("{family} {name}"), &found, expected.floats(&name), 1e-4);
        }
    }
}

/// The sides on which padding changes nothing. A head over the first token needs a token there where
/// padding attends to nothing of meaning.
fn sides(family: &str) -> &'static [&'static str] {
    match family {
        "deberta-v2" | "deberta-v2-conv" | "modernbert" => &["right"],
        _ => &["right", "left"],
    }
}

#[test]
fn loss_and_every_gradient_equal_those_of_transformers() {
    gradients_equal_those_of_transformers();
}

/// On a GPU the network uses burn's own operations instead of the fused CPU kernels.
#[test]
fn burns_own_operations_give_the_same_logits_losses_and_gradients() {
    as_elsewhere(|| {
        gradients_equal_those_of_transformers();
        losses_equal_those_of_pytorch();
    });
    for family in FAMILIES {
        for side in sides(family) {
            let batch = Expected::read(family).batch(side);
            let model = loaded(family, &device());
            let found = as_elsewhere(|| logits(&model, &batch));
            assert_close(family, &found, &logits(&model, &batch), 1e-5);
        }
    }
}

#[test]
fn dropout_is_the_same_on_every_device() {
    let losses = |family: &str, device: &Device| {
        let mut trainer = trainer_on(family, device);
        trainer.dropout = true;
        ten_losses(&mut trainer, &Expected::read(family))
    };
    for family in FAMILIES {
        let on_cpu = losses(family, &Device::flex());
        let elsewhere = as_elsewhere(|| losses(family, &Device::flex()));
        assert_close(family, &elsewhere, &on_cpu, 1e-4);
        assert_close(family, &losses(family, &device()), &on_cpu, 1e-4);
    }
}

fn gradients_equal_those_of_transformers() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let mut model = loaded(family, &device().autodiff());
        let part = whole_batch(&expected);
        let (loss, found) = gradients(&mut model, &[part], 1, &Loss::default(), |_, _| None);
        let loss = loss.try_into_vec_as::<f32>().unwrap();
        assert_close(&format!("{family} loss"), &loss, expected.floats("loss"), 1e-4);
        let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
        let wanted = expected.0.keys().filter_map(|key| key.strip_prefix("grad."));
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, wanted.map(str::to_owned).collect::<Vec<_>>(), "{family}");
        for (name, gradient) in names.iter().zip(found) {
            let expected = &expected.0[&format!("grad.{name}")];
            let found = as_stored(name, &expected.0, gradient);
            assert_close(&format!("{family} gradient of {name}"), &found, &expected.1, 1e-3);
        }
    }
}

#[test]
fn ten_training_steps_have_the_losses_of_pytorch() {
    losses_equal_those_of_pytorch();
}

fn losses_equal_those_of_pytorch() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let mut trainer = trainer(family);
        let losses = ten_losses(&mut trainer, &expected);
        assert!(losses[9] < losses[0], "{family} does not learn: {losses:?}");
        assert_close(&format!("{family} losses"), &losses, expected.floats("losses"), 1e-3);
    }
}

#[test]
fn micro_batches_have_the_losses_of_the_whole_batch() {
    let expected = Expected::read("roberta");
    let whole = whole_batch(&expected).batch;
    let part = |rows: std::ops::Range<usize>| {
        let cells = rows.start * whole.width..rows.end * whole.width;
        let real = whole.mask[cells.clone()].chunks(whole.width);
        let ids = whole.ids[cells].chunks(whole.width);
        let sequences: Vec<&[i32]> = ids
            .zip(real)
            .map(|(ids, real)| &ids[..real.iter().filter(|real| **real).count()])
            .collect();
        MicroBatch {
            batch: Batch::new(sequences.iter().map(|ids| (*ids, None)), 1),
            classes: expected.ints("classes")[rows.clone()].to_vec(),
            weights: Vec::new(),
            first_row: rows.start,
        }
    };
    for lanes in [1, 2] {
        let (mut one, mut many) = (trainer("roberta"), trainer("roberta"));
        for step in 0..10 {
            let whole = one.step(&[part(0..6)], 1).unwrap().try_into_scalar::<f32>().unwrap();
            let parts = [part(0..1), part(1..5), part(5..6)];
            let sum = many.step(&parts, lanes).unwrap().try_into_scalar::<f32>().unwrap();
            assert!((whole - sum).abs() < 1e-5, "step {step}, {lanes} lanes: {whole} and {sum}");
        }
    }
}

#[test]
fn every_layout_of_a_checkpoint_gives_the_same_logits() {
    let expected = Expected::read("bert");
    let batch = expected.batch("right");
    for layout in
        ["bert-old-names", "bert-no-prefix", "bert-sharded", "bert-bin", "bert-bin-legacy"]
    {
        let found = logits(&loaded(layout, &device()), &batch);
        assert_close(layout, &found, expected.floats("logits_right"), 1e-4);
    }
}

#[test]
fn half_precision_storage_is_widened() {
    let batch = Expected::read("bert").batch("right");
    for layout in ["bert-float16", "bert-bfloat16"] {
        let found = logits(&loaded(layout, &device()), &batch);
        assert_close(layout, &found, Expected::read(layout).floats("logits_right"), 1e-4);
    }
}

fn edit_config(folder: &Path, key: &str, value: serde_json::Value) {
    let path = folder.join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config[key] = value;
    std::fs::write(path, config.to_string()).unwrap();
}

#[track_caller]
fn assert_refused(folder: &Path, head: HeadSource, words: &[&str]) {
    let Err(error) = try_load(folder, head, &device()) else { panic!("the folder was accepted") };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "the message lacks `{word}`: {message}");
    }
}

#[test]
fn only_a_new_head_may_be_missing() {
    let folder = fixture("bert-headless");
    assert_refused(&folder, HeadSource::Checkpoint, &["classifier.weight", "is missing"]);
    let config = ModelConfig::read(&folder).unwrap();
    let options = options(HeadSource::New);
    let found = load(&folder, &config, &options, &device()).unwrap();
    assert_eq!(found.new_parameters, ["classifier.weight", "classifier.bias"]);
}

#[test]
fn missing_and_left_over_tensors_are_named() {
    let copy = copy_of("bert");
    edit_config(copy.path(), "num_hidden_layers", 3.into());
    let missing = ["encoder.layer.2.attention.self.query.weight", "is missing", "more"];
    assert_refused(copy.path(), HeadSource::Checkpoint, &missing);
    edit_config(copy.path(), "num_hidden_layers", 1.into());
    let left_over = ["encoder.layer.1.", "is left over"];
    assert_refused(copy.path(), HeadSource::Checkpoint, &left_over);
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let copy = copy_of("bert");
    edit_config(copy.path(), "vocab_size", 61.into());
    let words = ["word_embeddings.weight", "[60, 16]", "[61, 16]"];
    assert_refused(copy.path(), HeadSource::Checkpoint, &words);
}

#[test]
fn damaged_weights_are_refused_and_never_panic() {
    for (name, file) in [
        ("bert", "model.safetensors"),
        ("bert-bin", "pytorch_model.bin"),
        ("bert-bin-legacy", "pytorch_model.bin"),
        ("bert-sharded", "model.safetensors.index.json"),
    ] {
        let copy = copy_of(name);
        let path = copy.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            // Even the last byte is needed: it closes the index or belongs to a tensor.
            let result = try_load(copy.path(), HeadSource::Checkpoint, &device());
            assert!(result.is_err(), "{file} cut to {length} bytes");
        }
    }
}

#[test]
fn a_shard_outside_the_folder_is_refused() {
    let copy = copy_of("bert-sharded");
    let index = copy.path().join("model.safetensors.index.json");
    std::fs::write(index, r#"{"weight_map": {"x": "../model.safetensors"}}"#).unwrap();
    assert_refused(copy.path(), HeadSource::Checkpoint, &["../model.safetensors"]);
}

#[test]
fn an_unknown_architecture_or_activation_is_named() {
    let copy = copy_of("bert");
    edit_config(copy.path(), "hidden_act", "mish".into());
    assert_refused(copy.path(), HeadSource::Checkpoint, &["hidden_act", "mish", "gelu_new"]);
    edit_config(copy.path(), "model_type", "gpt2".into());
    assert_refused(copy.path(), HeadSource::Checkpoint, &["gpt2", "bert, roberta", "modernbert"]);
}

#[test]
fn heads_that_are_rotated_have_an_even_size() {
    let copy = copy_of("modernbert");
    edit_config(copy.path(), "hidden_size", 12.into());
    assert_refused(copy.path(), HeadSource::Checkpoint, &["`hidden_size` 12", "rotated in pairs"]);
}

#[test]
fn a_convolution_needs_two_layers() {
    let copy = copy_of("deberta-v2-conv");
    edit_config(copy.path(), "num_hidden_layers", 1.into());
    let words = ["`conv_kernel_size` needs two layers or more"];
    assert_refused(copy.path(), HeadSource::Checkpoint, &words);
}

#[test]
fn a_written_folder_loads_again_with_the_same_logits() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let model = loaded(family, &device());
        let written = tempfile::tempdir().unwrap();
        let config = ModelConfig::read(&fixture(family)).unwrap();
        let labels = ["NOT_SARCASM".to_owned(), "SARCASM".to_owned()];
        folder::write(written.path(), &model, &config, &labels).unwrap();
        let again = try_load(written.path(), HeadSource::Checkpoint, &device()).unwrap();
        let batch = expected.batch("right");
        assert_eq!(logits(&again, &batch), logits(&model, &batch));
        let config = ModelConfig::read(written.path()).unwrap();
        let head = CheckpointHead::required(written.path(), &config).unwrap();
        assert_eq!((head.labels, head.named), (labels.to_vec(), true));
    }
}

#[test]
fn random_initialisation_needs_no_weights_and_follows_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let config_file = fixture("roberta").join("config.json");
    std::fs::copy(config_file, folder.path().join("config.json")).unwrap();
    let config = ModelConfig::read(folder.path()).unwrap();
    let batch = Expected::read("roberta").batch("right");
    let of_seed = |seed| {
        let options = LoadOptions { weights: Weights::Random, seed, ..options(HeadSource::New) };
        logits(&load(folder.path(), &config, &options, &device()).unwrap().model, &batch)
    };
    assert_eq!(of_seed(1), of_seed(1));
    assert_ne!(of_seed(1), of_seed(2));
}
