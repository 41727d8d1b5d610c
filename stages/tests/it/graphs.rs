//! Steps that a GPU has recorded beside those that are launched, and wide batches beside narrow ones.
//! The recorded ones run where `$PIPE_TEST_DEVICE` names a GPU; on the CPU both are the same.

#![cfg(feature = "model")]

use std::path::Path;

use burn::tensor::Device;
use stages::model::batch::Batch;
use stages::model::classifier::Classifier;
use stages::model::config::ModelConfig;
use stages::model::encoder::DropoutRates;
use stages::model::loading::{HeadSource, LoadOptions, load};
use stages::model::noise::Noise;
use stages::model::parameters::Network;
use stages::train::loss::MicroBatch;
use stages::train::memory::ActivationBudget;
use stages::train::micro::{MicroBatches, Rows};
use stages::train::order::ModelShape;
use stages::train::step::Trainer;

use crate::reference::{
    Expected, FAMILIES, assert_close, device, device_name, fixture, options, trainer,
};

/// A model whose dropout drops.
fn with_dropout(family: &str, device: &Device) -> Classifier {
    let folder = fixture(family);
    let config = ModelConfig::read(&folder).unwrap();
    let rates = DropoutRates { embeddings: 0.1, hidden: 0.1, attention: 0.2 };
    let options = LoadOptions { rates, head_rate: 0.1, ..options(HeadSource::Checkpoint) };
    load(&folder, &config, &options, device).unwrap().model
}

#[test]
fn more_padding_changes_neither_logits_nor_masks() {
    for family in FAMILIES {
        let model = with_dropout(family, &Device::flex());
        let config = ModelConfig::read(&fixture(family)).unwrap();
        let batch = Expected::read(family).batch("right");
        let most = config.max_position_embeddings;
        let wide = batch.widened(most, config.pad_token_id as i32);
        assert!(wide.width > batch.width, "{family}");
        for noise in [None, Some(Noise::new(3, 1, 0, 0))] {
            let of = |batch: &Batch| {
                model.logits(batch, noise.as_ref()).try_into_vec_as::<f32>().unwrap()
            };
            assert_close(family, &of(&wide), &of(&batch), 1e-5);
        }
    }
}

/// Rows of these lengths.
struct Examples(Vec<usize>);

impl Rows<MicroBatch> for Examples {
    fn length(&self, row: usize) -> usize {
        self.0[row]
    }

    fn part(&self, rows: &[usize], first_row: usize) -> MicroBatch {
        let ids = |row: &usize| -> Vec<i32> {
            (0..self.0[*row]).map(|at| 4 + ((at + 3 * row) * 7 % 20) as i32).collect()
        };
        let sequences: Vec<Vec<i32>> = rows.iter().map(ids).collect();
        MicroBatch {
            batch: Batch::new(sequences.iter().map(|ids| (&ids[..], None)), 1),
            classes: rows.iter().map(|row| (row % 2) as i32).collect(),
            weights: Vec::new(),
            first_row,
        }
    }
}

/// What a training of thirty steps computes: all losses, then the parameters, and the best model so far
/// that was kept on the way.
struct Training {
    losses: Vec<f64>,
    values: Vec<f32>,
    kept: Vec<f32>,
    recorded: usize,
}

fn values(model: &mut Classifier) -> Vec<f32> {
    let parameters = model.parameters().into_iter();
    parameters.flat_map(|(_, it)| it.values(Path::new("")).unwrap()).collect()
}

fn training(family: &str, records: bool) -> Training {
    let mut trainer: Trainer = trainer(family);
    trainer.model = with_dropout(family, &device().autodiff());
    trainer.dropout = true;
    trainer.schedule.total_steps = 30;
    let shape = ModelShape { layers: 2, hidden: 16, intermediate: 32, heads: 2, head_floats: 0 };
    let budget = ActivationBudget { bytes: 1 << 30 };
    let mut micro = MicroBatches::new(None, shape, 1, budget, device_name() == "cpu");
    micro.lanes = 1;
    #[cfg(feature = "device")]
    if !records {
        micro.graphs.give_up();
    }
    #[cfg(not(feature = "device"))]
    let _ = records;
    // Widths of 8 and 16, and batches with fewer rows.
    let examples = Examples((0..24).map(|row| 2 + row * 14 / 24).collect());
    let (mut losses, mut kept) = (Vec::new(), None);
    for step in 0..30_usize {
        let first = step * 5 % 18;
        let rows: Vec<usize> = (first..first + if step % 7 == 6 { 3 } else { 6 }).collect();
        let weight = rows.len() as f64;
        let step_losses = micro.step(&mut trainer, &[rows], &examples, weight, |warning| {
            panic!("{warning}");
        });
        losses.extend(step_losses.unwrap());
        if step == 15 {
            kept = Some(trainer.model.kept());
        }
    }
    losses.extend(micro.unread.read().unwrap());
    #[cfg(feature = "device")]
    let recorded = {
        assert_eq!(micro.graphs.refusals(), Vec::<&str>::new());
        micro.graphs.recorded()
    };
    #[cfg(not(feature = "device"))]
    let recorded = 0;
    let mut kept = kept.unwrap();
    Training { losses, values: values(&mut trainer.model), kept: values(&mut kept), recorded }
}

#[test]
fn recorded_steps_compute_the_same_bits_as_launched_ones() {
    for family in ["roberta", "bert", "distilbert"] {
        let [launched, recorded] = [false, true].map(|records| training(family, records));
        assert_eq!(launched.recorded, 0);
        let shapes = if device_name() == "cpu" { 0 } else { 2 };
        assert!(recorded.recorded >= shapes, "{family}: {} shapes", recorded.recorded);
        let bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
        assert_eq!(recorded.losses, launched.losses, "{family}");
        assert!(bits(&recorded.values) == bits(&launched.values), "{family}");
        assert!(bits(&recorded.kept) == bits(&launched.kept), "{family}: the model that was kept");
        assert!(recorded.kept != recorded.values);
    }
}

/// A clone that shares the parameters makes the next update move them, and what has been recorded reads
/// them where they were.
#[cfg(feature = "device")]
#[test]
fn steps_are_recorded_anew_when_the_parameters_have_moved() {
    let run = |shares: bool| {
        let mut trainer = trainer("roberta");
        let shape =
            ModelShape { layers: 2, hidden: 16, intermediate: 32, heads: 2, head_floats: 0 };
        let budget = ActivationBudget { bytes: 1 << 30 };
        let mut micro = MicroBatches::new(None, shape, 1, budget, device_name() == "cpu");
        micro.lanes = 1;
        let examples = Examples(vec![5; 6]);
        let (mut losses, mut shared) = (Vec::new(), Vec::new());
        for step in 0..10 {
            if step == 5 && shares {
                shared.push(trainer.model.frozen());
            }
            let rows = vec![(0..6).collect()];
            losses.extend(micro.step(&mut trainer, &rows, &examples, 6.0, |_| ()).unwrap());
        }
        losses.extend(micro.unread.read().unwrap());
        losses
    };
    assert_eq!(run(true), run(false));
}
