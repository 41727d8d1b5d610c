//! Compares masked language modelling with transformers, on tiny checkpoints made by
//! `fixtures/make_masked.py`, and tests which tokens are masked.

#![cfg(feature = "model")]

use std::path::Path;

use burn::tensor::{Device, Tensor};
use stages::builtin::pretrain::params::MaskRules;
use stages::builtin::pretrain::{MaskedLoss, MaskedPart, Vocabulary, WordPart};
use stages::data::random::Random;
use stages::model::batch::Batch;
use stages::model::config::ModelConfig;
use stages::model::cpu::as_elsewhere;
use stages::model::encoder::DropoutRates;
use stages::model::folder::{Storage, write_masked_lm};
use stages::model::loading::{MaskedLmOptions, Weights, load_masked_lm};
use stages::model::masked_lm::{MaskedLm, Targets};
use stages::model::noise::Noise;
use stages::model::parameters::{Network, Parameter};
use stages::model::precision::Precision;
use stages::train::optimizer::{AdamW, Moments};
use stages::train::schedule::{Decay, Schedule};
use stages::train::step::{Trainer, gradients};

use crate::reference::{Expected, as_stored, assert_close, copy_of, device, fixture};

const FAMILIES: [&str; 6] = [
    "bert-mlm",
    "roberta-mlm",
    "distilbert-mlm",
    "electra-mlm",
    "deberta-v2-mlm",
    "modernbert-mlm",
];

fn options(dropout: f64) -> MaskedLmOptions {
    MaskedLmOptions {
        rates: DropoutRates { embeddings: dropout, hidden: dropout, attention: dropout },
        precision: Precision::F32,
        seed: 1,
        weights: Weights::Pretrained,
    }
}

/// The model and its randomly initialised parameters.
#[track_caller]
fn loaded(folder: &Path, dropout: f64, device: &Device) -> (MaskedLm, Vec<String>) {
    let config = ModelConfig::read(folder).unwrap();
    load_masked_lm(folder, &config, &options(dropout), device).unwrap()
}

/// The given rows of the fixture's batch, with their labels.
fn part(expected: &Expected, rows: std::ops::Range<usize>) -> MaskedPart {
    let [_, width] = expected.0["ids"].0[..] else { panic!("`ids` is not a matrix") };
    let cells = rows.start * width..rows.end * width;
    let ids = expected.ints("ids")[cells.clone()].to_vec();
    let mask = expected.ints("mask_right")[cells.clone()].iter().map(|real| *real == 1).collect();
    let labels = expected.ints("labels")[cells].to_vec();
    let chosen = labels.iter().enumerate().filter(|(_, label)| **label >= 0);
    let (positions, targets) = chosen.map(|(place, label)| (place, *label as u32)).unzip();
    let batch = Batch { rows: rows.len(), width, ids, types: None, mask, pooled: None };
    MaskedPart { batch, positions, targets, first_row: rows.start }
}

#[test]
fn loss_and_every_gradient_equal_those_of_transformers() {
    gradients_equal_those_of_transformers();
}

#[test]
fn burns_own_operations_give_the_same_gradients() {
    as_elsewhere(gradients_equal_those_of_transformers);
}

fn gradients_equal_those_of_transformers() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let device = device().autodiff();
        let (mut model, new) = loaded(&fixture(family), 0.0, &device);
        assert!(new.is_empty(), "{new:?}");
        let parts = [part(&expected, 0..6)];
        let (loss, found) = gradients(&mut model, &parts, 1, &MaskedLoss, |_, _| None);
        let loss = loss.try_into_vec_as::<f32>().unwrap();
        assert_close(&format!("{family} loss"), &loss, expected.floats("loss"), 1e-4);
        let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
        let (poolers, mut names_but_pooler): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| name.contains("pooler"));
        assert_eq!(poolers.len(), if family == "bert-mlm" { 2 } else { 0 });
        names_but_pooler.sort_unstable();
        let wanted = expected.0.keys().filter_map(|key| key.strip_prefix("grad."));
        assert_eq!(names_but_pooler, wanted.collect::<Vec<_>>(), "{family}");
        for (name, gradient) in names.iter().zip(found) {
            let Some((shape, values)) = expected.0.get(&format!("grad.{name}")) else {
                assert!(gradient.is_none(), "the pooler is not trained");
                continue;
            };
            let found = as_stored(name, shape, gradient);
            assert_close(&format!("{family} gradient of {name}"), &found, values, 1e-3);
        }
    }
}

#[test]
fn ten_training_steps_have_the_losses_of_pytorch_whole_or_in_parts() {
    for (family, ends) in [("bert-mlm", &[0, 6][..]), ("roberta-mlm", &[0, 1, 4, 6])] {
        let expected = Expected::read(family);
        let (model, _) = loaded(&fixture(family), 0.0, &device().autodiff());
        let schedule = Schedule {
            learning_rate: 2e-3,
            decay: Decay::Linear,
            warmup_steps: 2,
            total_steps: 10,
        };
        let optimizer = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: 1.0,
            layer_decay: 1.0,
            layers: 2,
        };
        let mut trainer = Trainer {
            model,
            moments: Moments::default(),
            loss: MaskedLoss,
            optimizer,
            schedule,
            seed: 1,
            dropout: false,
            frozen: None,
        };
        let parts: Vec<MaskedPart> =
            ends.windows(2).map(|ends| part(&expected, ends[0]..ends[1])).collect();
        let step = |_| trainer.step(&parts, 1).unwrap().try_into_scalar::<f32>().unwrap();
        let losses: Vec<f32> = (0..10).map(step).collect();
        assert_close(&format!("{family} losses"), &losses, expected.floats("losses"), 1e-3);
    }
}

/// The loss, followed by all gradients.
fn everything(model: &mut MaskedLm, loss: impl Fn(&MaskedLm) -> Tensor<1>) -> Vec<f32> {
    let loss = loss(model);
    let mut tape = loss.backward();
    let mut all = loss.inner().try_into_vec_as::<f32>().unwrap();
    for (_, parameter) in model.parameters() {
        let gradient = match parameter {
            Parameter::Vector(tensor) => {
                tensor.grad_remove(&mut tape).map(|it| it.try_into_vec_as::<f32>().unwrap())
            }
            Parameter::Weight(tensor)
            | Parameter::Table(tensor)
            | Parameter::Kernel { weight: tensor, .. } => {
                tensor.grad_remove(&mut tape).map(|it| it.try_into_vec_as::<f32>().unwrap())
            }
        };
        all.extend(gradient.into_iter().flatten());
    }
    all
}

#[test]
fn the_dropout_of_a_token_does_not_depend_on_the_other_targets() {
    // The last layer computes only the chosen tokens, with the masks that they have in the whole
    // batch.
    let expected = Expected::read("roberta-mlm");
    let (mut model, _) = loaded(&fixture("roberta-mlm"), 0.3, &device().autodiff());
    let whole = part(&expected, 0..6);
    let noise = Noise::new(1, 2, 0, 0);
    let loss_at = |model: &MaskedLm, positions: &[usize], ids: &[u32]| {
        model.loss(&whole.batch, Targets { positions, ids }, 1.0, Some(&noise))
    };
    let together = everything(&mut model, |model| loss_at(model, &whole.positions, &whole.targets));
    let apart = everything(&mut model, |model| {
        let each = whole.positions.iter().zip(&whole.targets);
        let losses = each.map(|(place, target)| loss_at(model, &[*place], &[*target]));
        losses.reduce(|left, right| left + right).unwrap()
    });
    assert_close("loss and gradients", &apart, &together, 1e-4);
    let without = loss_without_noise(&model, &whole);
    assert!((without - together[0]).abs() > 1e-2, "dropout is not active");
}

fn loss_without_noise(model: &MaskedLm, part: &MaskedPart) -> f32 {
    let targets = Targets { positions: &part.positions, ids: &part.targets };
    model.frozen().loss(&part.batch, targets, 1.0, None).try_into_scalar::<f32>().unwrap()
}

#[test]
fn a_written_folder_loads_with_the_same_loss_and_nearly_so_from_f16() {
    for family in FAMILIES {
        let expected = Expected::read(family);
        let part = part(&expected, 0..6);
        let config = ModelConfig::read(&fixture(family)).unwrap();
        let (model, _) = loaded(&fixture(family), 0.0, &device());
        let loss = loss_without_noise(&model, &part);
        let again = |storage| {
            let written = tempfile::tempdir().unwrap();
            write_masked_lm(written.path(), &model, &config, storage).unwrap();
            let size = written.path().join("model.safetensors").metadata().unwrap().len();
            let (model, new) = loaded(written.path(), 0.0, &device());
            assert!(new.is_empty(), "{new:?}");
            (loss_without_noise(&model, &part), size)
        };
        let (whole, size) = again(Storage::F32);
        assert_eq!(whole, loss);
        let (half, half_size) = again(Storage::F16);
        assert!((half - loss).abs() < 1e-2 * loss && half != loss, "{half} and {loss}");
        assert!(half_size < size * 2 / 3, "{half_size} and {size} bytes");
    }
}

#[test]
fn a_checkpoint_without_an_output_layer_gets_a_new_one() {
    let (_, new) = loaded(&fixture("bert-headless"), 0.0, &device());
    assert_eq!(new.len(), 5, "{new:?}");
    assert!(new.iter().all(|name| name.starts_with("cls.predictions.")), "{new:?}");
    // The head of a classifier is ignored.
    let (_, new) = loaded(&fixture("roberta-irony"), 0.0, &device());
    assert!(new.iter().all(|name| name.starts_with("lm_head.")), "{new:?}");
}

#[test]
fn an_untied_output_layer_is_refused() {
    let copy = copy_of("roberta-mlm");
    let path = copy.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let untied = text.replace("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    assert_ne!(text, untied);
    std::fs::write(&path, untied).unwrap();
    let config = ModelConfig::read(copy.path()).unwrap();
    let error = load_masked_lm(copy.path(), &config, &options(0.0), &device()).err();
    assert!(error.unwrap().to_string().contains("`tie_word_embeddings` is false"));
}

const MASK: u32 = 4;

/// Ids 0 to 4 are special tokens; ids from 60 continue a word.
fn vocabulary() -> Vocabulary {
    let words = (0..100).map(|id| WordPart { continues: id >= 60, goes_on: false });
    Vocabulary::new(MASK, (0..100).map(|id| id < 5).collect(), words.collect())
}

const RULES: MaskRules = MaskRules { share: 0.15, keep: 0.1, random: 0.1, whole_word: false };

/// `<s>`, then words of one to three tokens, then `</s>`.
fn sequence(row: u64) -> Vec<i32> {
    let mut random = Random::new(1, "a sequence", row, 0);
    let mut ids = vec![0];
    while ids.len() < 30 {
        ids.push(5 + random.below(55) as i32);
        (0..random.below(3)).for_each(|_| ids.push(60 + random.below(40) as i32));
    }
    ids.push(2);
    ids
}

#[test]
fn fifteen_percent_are_predicted_of_which_eight_in_ten_are_masked() {
    let (mut tokens, mut chosen, mut masked, mut kept, mut other) = (0, 0, 0, 0, 0);
    for row in 0..4_000 {
        let before = sequence(row);
        let mut after = before.clone();
        let found = RULES.mask(&mut after, &vocabulary(), &mut Random::new(1, "mask", 0, row));
        assert!(!found.is_empty() && found.is_sorted());
        tokens += before.len() - 2;
        for (place, truth) in &found {
            assert_eq!(before[*place] as u32, *truth);
            assert!(*truth >= 5, "a special token was chosen");
            chosen += 1;
            match after[*place] {
                id if id == MASK as i32 => masked += 1,
                id if id == before[*place] => kept += 1,
                id => {
                    assert!(id >= 5, "a special token replaced a word");
                    other += 1;
                }
            }
        }
        let places: Vec<usize> = found.iter().map(|(place, _)| *place).collect();
        let untouched = (0..before.len()).filter(|place| !places.contains(place));
        assert!(untouched.into_iter().all(|place| before[place] == after[place]));
    }
    // About 116,000 tokens. The tolerances for the chosen tokens, 0.009 and 0.012, are four
    // standard deviations. The number of chosen tokens is rounded for each text, so it hardly
    // varies.
    let share = |count: i32, of: i32| f64::from(count) / f64::from(of);
    assert!((share(chosen, tokens as i32) - 0.15).abs() < 0.001, "{chosen} of {tokens}");
    assert!((share(masked, chosen) - 0.8).abs() < 0.012, "{masked} of {chosen}");
    // One in 95 random replacements is the original token.
    assert!((share(kept, chosen) - 0.101).abs() < 0.009, "{kept} of {chosen}");
    assert!((share(other, chosen) - 0.099).abs() < 0.009, "{other} of {chosen}");
}

#[test]
fn with_whole_words_either_all_tokens_of_a_word_are_predicted_or_none() {
    let rules = MaskRules { whole_word: true, ..RULES };
    let (mut tokens, mut chosen, mut longer) = (0, 0, 0);
    for row in 0..4_000 {
        let before = sequence(row);
        let mut random = Random::new(1, "mask", 0, row);
        let found = rules.mask(&mut before.clone(), &vocabulary(), &mut random);
        let places: Vec<usize> = found.iter().map(|(place, _)| *place).collect();
        tokens += before.len() - 2;
        chosen += places.len();
        for (place, id) in before.iter().enumerate() {
            if *id >= 60 {
                longer += usize::from(places.contains(&place));
                assert_eq!(places.contains(&place), places.contains(&(place - 1)), "row {row}");
            }
        }
    }
    assert!(longer > 1_000, "too few words of several tokens were chosen");
    assert!((chosen as f64 / tokens as f64 - 0.15).abs() < 0.002, "{chosen} of {tokens}");
}

#[test]
fn the_masks_of_a_text_differ_between_epochs_and_are_the_same_within_one() {
    let of = |epoch| {
        let mut ids = sequence(3);
        RULES.mask(&mut ids, &vocabulary(), &mut Random::new(1, "mask", epoch, 3));
        ids
    };
    assert_eq!(of(0), of(0));
    assert!((1..6).any(|epoch| of(epoch) != of(0)));
}
