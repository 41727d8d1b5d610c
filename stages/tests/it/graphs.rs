//! Steps that a GPU has recorded beside those that are launched, and wide batches beside narrow ones.
//! The recorded ones run where `$PIPE_TEST_DEVICE` names a GPU; on the CPU both are the same.

#![cfg(feature = "model")]

use std::path::Path;

#[cfg(feature = "device")]
use burn::backend::Cube;
#[cfg(feature = "device")]
use burn::tensor::Tensor;
use burn::tensor::{DType, Device};
use stages::model::batch::Batch;
use stages::model::classifier::Classifier;
use stages::model::config::{ModelConfig, Pooling};
#[cfg(feature = "device")]
use stages::model::device::graph::record;
#[cfg(feature = "device")]
use stages::model::device::inputs::{Inputs, Numbers};
#[cfg(feature = "device")]
use stages::model::device::products;
use stages::model::encoder::DropoutRates;
use stages::model::loading::{HeadSource, LoadOptions, Weights, load};
use stages::model::noise::Noise;
use stages::model::parameters::Network;
use stages::model::precision::Precision;
#[cfg(feature = "device")]
use stages::stage::panics::guarded;
use stages::train::binary_loss::BinaryLoss;
use stages::train::depth::Depth;
use stages::train::loss::{Loss, MicroBatch};
use stages::train::memory::ActivationBudget;
use stages::train::micro::{MicroBatches, Rows};
#[cfg(feature = "device")]
use stages::train::objective::Halves;
use stages::train::objective::Objective;
use stages::train::order::ModelShape;
use stages::train::step::Trainer;
use stages::train::task_loss::{TaskBatch, TaskLoss};

use crate::reference::{
    Expected, FAMILIES, assert_close, device, device_name, fixture, options, trainer,
};

const RATES: DropoutRates = DropoutRates { embeddings: 0.1, hidden: 0.1, attention: 0.2 };

/// A model whose dropout drops.
fn with_dropout(family: &str, device: &Device) -> Classifier {
    model(family, HeadSource::Checkpoint, 2, None, Precision::F32, device)
}

/// The same with this head.
fn model(
    family: &str,
    head: HeadSource,
    classes: usize,
    pooling: Option<Pooling>,
    precision: Precision,
    device: &Device,
) -> Classifier {
    let folder = fixture(family);
    let mut config = ModelConfig::read(&folder).unwrap();
    config.head.pooling = pooling.unwrap_or(config.head.pooling);
    let options = LoadOptions { rates: RATES, head_rate: 0.1, classes, precision, ..options(head) };
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

/// Rows of these lengths, and the number of targets of each.
struct Examples(Vec<usize>, usize);

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

/// Rows with an odd label and a weight of their own.
impl Rows<TaskBatch> for Examples {
    fn length(&self, row: usize) -> usize {
        self.0[row]
    }

    fn part(&self, rows: &[usize], first_row: usize) -> TaskBatch {
        let mut micro: MicroBatch = self.part(rows, first_row);
        micro.weights = rows.iter().map(|row| 1.0 / (1 + row % 3) as f64).collect();
        let targets = rows.iter().flat_map(|row| (0..self.1).map(move |nth| (row + nth) % 2));
        TaskBatch { micro, targets: targets.map(|target| target as f32).collect() }
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

/// A trainer of this model for this loss, whose dropout drops.
fn trainer_for<O: Objective<Model = Classifier>>(model: Classifier, loss: O) -> Trainer<O> {
    let Trainer { moments, optimizer, mut schedule, seed, frozen, .. } = trainer("roberta");
    schedule.total_steps = 30;
    Trainer { model, moments, loss, optimizer, schedule, seed, dropout: true, frozen }
}

/// For steps that are recorded or not.
fn micro_batches(passes: usize, records: bool) -> MicroBatches {
    let shape = ModelShape { layers: 2, hidden: 16, intermediate: 32, heads: 2, head_floats: 0 };
    let budget = ActivationBudget { bytes: 1 << 30 };
    let mut micro = MicroBatches::new(None, shape, passes, budget, device_name() == "cpu");
    micro.lanes = 1;
    #[cfg(feature = "device")]
    if !records {
        micro.graphs.give_up();
    }
    #[cfg(not(feature = "device"))]
    let _ = records;
    micro
}

fn training<O>(mut trainer: Trainer<O>, outputs: usize, records: bool) -> Training
where
    O: Objective<Model = Classifier>,
    Examples: Rows<O::Part>,
{
    let mut micro = micro_batches(trainer.loss.passes(), records);
    // Widths of 8 and 16, and batches with fewer rows.
    let examples = Examples((0..24).map(|row| 2 + row * 14 / 24).collect(), outputs);
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

/// Trains with launched and with recorded steps.
#[track_caller]
fn expect_the_same(what: &str, train: impl Fn(bool) -> Training) {
    let [launched, recorded] = [false, true].map(train);
    assert_eq!(launched.recorded, 0);
    let shapes = if device_name() == "cpu" { 0 } else { 2 };
    assert!(recorded.recorded >= shapes, "{what}: {} shapes", recorded.recorded);
    let bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
    assert_eq!(recorded.losses, launched.losses, "{what}");
    assert!(bits(&recorded.values) == bits(&launched.values), "{what}");
    assert!(bits(&recorded.kept) == bits(&launched.kept), "{what}: the model that was kept");
    assert!(recorded.kept != recorded.values);
}

#[test]
fn recorded_steps_compute_the_same_bits_as_launched_ones() {
    for family in FAMILIES {
        expect_the_same(family, |records| {
            let model = with_dropout(family, &device().autodiff());
            training(trainer_for(model, Loss::default()), 0, records)
        });
    }
}

#[test]
fn recorded_steps_in_bf16_compute_the_same_bits_as_launched_ones() {
    if !device().supports_dtype(DType::BF16) {
        return;
    }
    for family in ["roberta", "mpnet", "deberta-v2-conv", "modernbert", "modernbert-biased"] {
        expect_the_same(family, |records| {
            let (head, device) = (HeadSource::Checkpoint, device().autodiff());
            let model = model(family, head, 2, None, Precision::Bf16, &device);
            training(trainer_for(model, Loss::default()), 0, records)
        });
    }
}

#[cfg(feature = "device")]
#[test]
fn steps_recorded_with_the_fastest_products_compute_the_same_bits_as_launched_ones() {
    if device_name() == "cpu" {
        return;
    }
    let note = || tempfile::tempfile().unwrap();
    let trying = note();
    products::begin(&[], &[], trying.try_clone().unwrap(), f64::INFINITY);
    expect_the_same("roberta", |records| {
        let model = with_dropout("roberta", &device().autodiff());
        training(trainer_for(model, Loss::default()), 0, records)
    });
    let kept = products::kept(&[]).expect("choices");
    let read = |bytes: &[u8]| {
        let mut all: Vec<serde_json::Value> = serde_json::from_slice(bytes).unwrap();
        all.sort_by_key(ToString::to_string);
        all
    };
    let choices = read(&kept);
    // Two shapes of batches, and at least four weights, forward and backward.
    assert!(choices.len() >= 2 * 4 * 3, "{choices:?}");
    assert!(choices.iter().any(|it| it[1].is_string()), "only usual kernels: {choices:?}");
    assert_eq!(trying.metadata().unwrap().len(), 0, "nothing is being measured");
    // A product during which a process ended keeps its usual kernel.
    let named = choices.iter().find(|it| it[1].is_string()).unwrap();
    products::begin(&kept, &[named[0].to_string().into()], note(), 0.0);
    assert!(read(&products::kept(&[]).unwrap()).contains(&serde_json::json!([named[0], null])));
    // A later process has them too.
    products::begin(&kept, &[], note(), 0.0);
    let later = read(&products::kept(&[]).expect("choices"));
    assert!(choices.iter().all(|it| later.contains(it)), "{choices:?}, {later:?}");
    assert_eq!(products::kept(&kept), None, "nothing new to keep");
    // What another process has kept in the meantime stays.
    let mut other = choices[0][0].clone();
    other["rows"] = 1.into();
    let other = serde_json::json!([[other, null]]).to_string();
    let both = read(&products::kept(other.as_bytes()).expect("choices"));
    assert_eq!(both.len(), later.len() + 1);
    assert!(read(other.as_bytes()).iter().chain(&later).all(|it| both.contains(it)), "{both:?}");
}

#[cfg(feature = "device")]
#[test]
fn after_a_panic_in_a_recording_the_device_records_another() {
    if device_name() == "cpu" {
        return;
    }
    let numbers = Tensor::<1>::from_data([1.0, 2.0, 3.0], &device());
    let client = numbers.clone().try_into_primitive::<Cube>().unwrap().client;
    let mut computed = 0;
    let interrupted = guarded(|| {
        record(&client, || {
            computed += 1;
            assert!(computed < 3, "the recording is interrupted");
            numbers.clone() * 2.0
        })
    });
    assert_eq!(interrupted.map(drop), Err("the recording is interrupted".to_owned()));
    let (recording, doubled) = record(&client, || numbers.clone() * 2.0).unwrap();
    // SAFETY: `numbers` lives and stays where it is.
    unsafe { recording.repeat() };
    assert_eq!(doubled.into_data().try_to_vec::<f32>().unwrap(), [2.0, 4.0, 6.0]);
}

#[test]
fn recorded_steps_of_every_loss_and_pooling_compute_the_same_bits_as_launched_ones() {
    let r_drop = Loss { r_drop: 1.5, ..Loss::default() };
    let several = BinaryLoss { positive_weights: vec![1.0, 2.0, 0.5] };
    let single = TaskLoss::Single(Loss::default());
    let cases = [
        ("roberta", TaskLoss::Single(r_drop.clone()), 2, Pooling::First),
        ("deberta-v2-conv", TaskLoss::Single(r_drop), 2, Pooling::First),
        ("roberta", single.clone(), 2, Pooling::Mean),
        // In the other tests its last layer computes only the first token.
        ("modernbert", single, 2, Pooling::Mean),
        ("roberta", TaskLoss::Multi(several), 3, Pooling::First),
        ("roberta", TaskLoss::Regression, 1, Pooling::Mean),
    ];
    for (family, loss, outputs, pooling) in cases {
        let what = format!("{family}, {loss:?}, {pooling:?}");
        expect_the_same(&what, |records| {
            let device = device().autodiff();
            let model =
                model(family, HeadSource::New, outputs, Some(pooling), Precision::F32, &device);
            training(trainer_for(model, loss.clone()), outputs, records)
        });
    }
}

/// What the host computes for a loss at once and what it sends to a GPU before must be the same loss.
#[test]
fn a_loss_in_halves_is_the_loss() {
    let losses = [
        (TaskLoss::Single(Loss { r_drop: 1.5, label_smoothing: 0.1, ..Loss::default() }), 2),
        (TaskLoss::Multi(BinaryLoss::default()), 3),
        (TaskLoss::Regression, 1),
    ];
    for (loss, outputs) in losses {
        let on = |device: &Device| {
            let model = model(
                "roberta",
                HeadSource::New,
                outputs,
                Some(Pooling::Mean),
                Precision::F32,
                &device.clone().autodiff(),
            );
            training(trainer_for(model, loss.clone()), outputs, true)
        };
        let (here, there) = (on(&Device::flex()), on(&device()));
        for (one, two) in here.losses.iter().zip(&there.losses) {
            assert!((one - two).abs() < 1e-4 * one.abs().max(1.0), "{loss:?}: {one} and {two}");
        }
    }
}

/// A network with random weights and this config but for some numbers.
fn of_sizes(family: &str, sizes: &[(&str, usize)], device: &Device) -> Classifier {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(fixture(family).join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, size) in sizes {
        config[*name] = (*size).into();
    }
    config["initializer_range"] = 0.2.into();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let config = ModelConfig::read(folder.path()).unwrap();
    let options =
        LoadOptions { weights: Weights::Random, rates: RATES, ..options(HeadSource::New) };
    load(folder.path(), &config, &options, &device.clone().autodiff()).unwrap().model
}

/// Sizes to which no GPU aligns rows or weights.
const ODD_SIZES: [(&str, usize); 3] =
    [("hidden_size", 15), ("num_attention_heads", 3), ("intermediate_size", 21)];

#[test]
fn a_training_of_a_network_of_odd_sizes_goes_as_on_the_cpu_with_frozen_layers_too() {
    for (family, frozen) in
        [("roberta", None), ("roberta", Some(Depth::Layer(0))), ("mpnet", None), ("bert", None)]
    {
        let on = |device: &Device| {
            let mut trainer = trainer_for(of_sizes(family, &ODD_SIZES, device), Loss::default());
            trainer.frozen = frozen;
            trainer.freeze();
            training(trainer, 0, true)
        };
        let (here, there) = (on(&Device::flex()), on(&device()));
        assert!(device_name() == "cpu" || there.recorded >= 2, "{family}: {}", there.recorded);
        for (step, (one, two)) in here.losses.iter().zip(&there.losses).enumerate() {
            let what = format!("{family}, {frozen:?}, step {step}: {one} and {two}");
            assert!((one - two).abs() < 1e-4 * one.abs().max(1.0), "{what}");
        }
    }
}

/// Of more than 512 tokens attention has no kernel of its own.
#[cfg(feature = "device")]
#[test]
fn recorded_steps_of_long_texts_compute_the_same_bits_as_launched_ones() {
    for family in ["mpnet", "deberta-v2", "modernbert"] {
        let run = |records: bool| {
            let model = of_sizes(family, &[("max_position_embeddings", 560)], &device());
            let mut trainer = trainer_for(model, Loss::default());
            let mut micro = micro_batches(1, records);
            let mut losses = Vec::new();
            for _ in 0..4 {
                let examples = Examples(vec![520], 0);
                let found = micro.step(&mut trainer, &[vec![0]], &examples, 1.0, |_| ());
                losses.extend(found.unwrap());
            }
            losses.extend(micro.unread.read().unwrap());
            let is_recorded = usize::from(records && device_name() != "cpu");
            assert_eq!(micro.graphs.refusals(), Vec::<&str>::new(), "{family}");
            assert_eq!(micro.graphs.recorded(), is_recorded, "{family}");
            let values = values(&mut trainer.model).into_iter().map(f32::to_bits);
            (losses, values.collect::<Vec<_>>())
        };
        assert!(run(true) == run(false), "{family}");
    }
}

/// A clone that shares the parameters makes the next update move them, and what has been recorded reads
/// them where they were.
#[cfg(feature = "device")]
#[test]
fn steps_are_recorded_anew_when_the_parameters_have_moved() {
    let run = |shares: bool| {
        let mut trainer = trainer("roberta");
        let mut micro = micro_batches(1, true);
        let examples = Examples(vec![5; 6], 0);
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

/// A loss that runs out of memory once, when it is asked for its numbers for the `at`th time.
#[cfg(feature = "device")]
struct Short {
    loss: Loss,
    asked: std::sync::atomic::AtomicUsize,
    at: usize,
}

#[cfg(feature = "device")]
impl Objective for Short {
    type Model = Classifier;
    type Part = MicroBatch;

    fn total_weight(&self, parts: &[MicroBatch]) -> f64 {
        self.loss.total_weight(parts)
    }

    fn of(
        &self,
        model: &Classifier,
        part: &MicroBatch,
        total_weight: f64,
        batch_examples: f64,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> Tensor<1> {
        self.loss.of(model, part, total_weight, batch_examples, noise)
    }

    fn halves(&self) -> Option<&dyn Halves<Classifier, MicroBatch>> {
        Some(self)
    }
}

#[cfg(feature = "device")]
impl Halves<Classifier, MicroBatch> for Short {
    fn numbers(
        &self,
        model: &Classifier,
        part: &MicroBatch,
        total_weight: f64,
        batch_examples: f64,
        noises: &[Noise],
    ) -> Option<Numbers> {
        let asked = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert!(asked != self.at, "CUDA_ERROR_OUT_OF_MEMORY");
        self.loss.numbers(model, part, total_weight, batch_examples, noises)
    }

    fn send(&self, model: &Classifier, numbers: &Numbers) -> Option<Inputs> {
        self.loss.send(model, numbers)
    }

    fn of_inputs(
        &self,
        model: &Classifier,
        part: &MicroBatch,
        inputs: &Inputs,
        noises: &[Noise],
    ) -> Tensor<1> {
        self.loss.of_inputs(model, part, inputs, noises)
    }
}

#[cfg(feature = "device")]
#[test]
fn a_step_that_runs_out_of_memory_is_repeated_without_recordings_and_with_the_same_result() {
    if device_name() == "cpu" {
        return;
    }
    let train = |at| {
        let model = with_dropout("roberta", &device().autodiff());
        let loss = Short { loss: Loss::default(), asked: 0.into(), at };
        training(trainer_for(model, loss), 0, true)
    };
    let (short, enough) = (train(20), train(usize::MAX));
    assert!(enough.recorded > 0);
    assert_eq!(short.recorded, 0);
    assert_eq!(short.losses, enough.losses);
    assert!(short.values == enough.values);
}
