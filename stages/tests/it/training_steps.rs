//! Training steps on `$PIPE_TEST_DEVICE`: what a GPU changes in place, what is read from it and when,
//! and what a checkpoint takes from one device to another.

#![cfg(feature = "model")]

use burn::tensor::Device;
use stages::model::batch::Batch;
use stages::model::classifier::Classifier;
use stages::model::cpu::as_elsewhere;
use stages::model::parameters::Network;
use stages::train::checkpoint::{self, Position};
use stages::train::gradient::Gradient;
use stages::train::loss::MicroBatch;
use stages::train::memory::ActivationBudget;
use stages::train::micro::{MicroBatches, Rows};
use stages::train::order::ModelShape;
use stages::train::step::Trainer;

use crate::reference::{Expected, ten_losses, trainer, trainer_on, whole_batch};

/// The examples of `expected.safetensors`.
struct Examples {
    sequences: Vec<Vec<i32>>,
    classes: Vec<i32>,
}

impl Examples {
    fn of(family: &str) -> Examples {
        let expected = Expected::read(family);
        let whole = expected.batch("right");
        let rows = whole.ids.chunks(whole.width).zip(whole.mask.chunks(whole.width));
        let sequences = rows
            .map(|(ids, real)| ids[..real.iter().filter(|real| **real).count()].to_vec())
            .collect();
        Examples { sequences, classes: expected.ints("classes") }
    }
}

impl Rows<MicroBatch> for Examples {
    fn length(&self, row: usize) -> usize {
        self.sequences[row].len()
    }

    fn part(&self, rows: &[usize], first_row: usize) -> MicroBatch {
        let sequences = rows.iter().map(|row| (&self.sequences[*row][..], None));
        MicroBatch {
            batch: Batch::new(sequences, 1),
            classes: rows.iter().map(|row| self.classes[*row]).collect(),
            weights: Vec::new(),
            first_row,
        }
    }
}

fn micro_batches(reads_at_once: bool) -> MicroBatches {
    let shape = ModelShape { layers: 2, hidden: 16, intermediate: 32, heads: 2, head_floats: 0 };
    let mut micro =
        MicroBatches::new(None, shape, 1, ActivationBudget { bytes: 1 << 30 }, reads_at_once);
    micro.lanes = 1;
    micro
}

/// The losses that each of 40 steps on batches of several sizes makes known, and those at the end.
fn losses_by_step(reads_at_once: bool) -> Vec<Vec<f64>> {
    let (mut trainer, examples) = (trainer("roberta"), Examples::of("roberta"));
    trainer.schedule.total_steps = 40;
    let mut micro = micro_batches(reads_at_once);
    let step = |step: usize| {
        let rows: Vec<usize> = (0..6).skip(step % 3).step_by(1 + step % 2).collect();
        let weight = rows.len() as f64;
        micro.step(&mut trainer, &[rows], &examples, weight, |message| panic!("{message}")).unwrap()
    };
    let mut losses: Vec<Vec<f64>> = (0..40).map(step).collect();
    losses.push(micro.unread.read().unwrap());
    losses
}

#[test]
fn losses_that_are_read_together_are_those_that_are_read_one_by_one() {
    let both = || [losses_by_step(true), losses_by_step(false)];
    for [at_once, later] in [both(), as_elsewhere(both)] {
        let counts = |losses: &[Vec<f64>]| losses.iter().map(Vec::len).collect::<Vec<_>>();
        let of_steps = |step| if [16, 32].contains(&step) { 16 } else { 0 };
        let expected: Vec<usize> = (1..=40).map(of_steps).chain([8]).collect();
        assert_eq!(counts(&later), expected);
        assert_eq!(counts(&at_once)[..40], [1; 40]);
        assert_eq!(later.concat(), at_once.concat());
    }
}

#[test]
fn a_step_that_diverges_is_found_within_sixteen_steps_and_named() {
    // On the CPU the update would find it first.
    as_elsewhere(a_step_that_diverges_is_found_and_named);
}

fn a_step_that_diverges_is_found_and_named() {
    let (mut trainer, examples) = (trainer("roberta"), Examples::of("roberta"));
    let mut micro = micro_batches(false);
    for step in 1..=30 {
        if step == 20 {
            let (_, bias) = trainer.model.parameters().pop().unwrap();
            let count = bias.count();
            bias.replace(&vec![f32::NAN; count]);
        }
        let rows = vec![(0..6).collect()];
        let failure = match micro.step(&mut trainer, &rows, &examples, 6.0, |_| ()) {
            Ok(_) => continue,
            Err(failure) => failure.to_string(),
        };
        assert!(failure.contains("step 20: the loss"), "{failure}");
        return;
    }
    // The read before a checkpoint and at the end of an epoch finds it too.
    let failure = micro.unread.read().unwrap_err().to_string();
    assert!(failure.contains("step 20: the loss"), "{failure}");
}

#[test]
fn an_update_to_a_value_that_is_not_finite_is_found_at_its_step() {
    let (mut trainer, examples) = (trainer("roberta"), Examples::of("roberta"));
    // The gradient of a position that no example reaches is 0, and 0 / 0 is NaN. No loss depends on
    // such a position.
    trainer.optimizer.epsilon = 0.0;
    let mut micro = micro_batches(false);
    let mut step = || micro.step(&mut trainer, &[vec![0, 1]], &examples, 2.0, |_| ());
    let failure = step().and_then(|_| micro.unread.read()).unwrap_err().to_string();
    assert!(failure.contains("step 1: a value of "), "{failure}");
    assert!(failure.contains("after the update is NaN"), "{failure}");
}

/// All values, in the layout of the tensors.
fn values(model: &Classifier) -> Vec<f32> {
    let mut model = model.clone();
    let parameters = model.parameters();
    let each = parameters.iter().map(|(_, parameter)| parameter.values("".as_ref()).unwrap());
    each.flatten().collect()
}

fn step(trainer: &mut Trainer, expected: &Expected) {
    trainer.step(&[whole_batch(expected)], 1).unwrap();
}

#[test]
fn later_steps_leave_the_best_model_so_far_as_it_was() {
    let (mut trainer, expected) = (trainer("roberta"), Expected::read("roberta"));
    step(&mut trainer, &expected);
    let best = trainer.model.frozen();
    let before = values(&best);
    for _ in 0..3 {
        step(&mut trainer, &expected);
    }
    assert_ne!(values(&trainer.model), before, "nothing was trained");
    assert_eq!(values(&best), before);
}

/// On the CPU they are an error; on a GPU the norm that comes back says that it was not accepted.
#[test]
fn gradients_whose_norm_is_not_finite_change_nothing() {
    let expected = Expected::read("roberta");
    let [mut disturbed, mut undisturbed] = [trainer("roberta"), trainer("roberta")];
    for trainer in [&mut disturbed, &mut undisturbed] {
        step(trainer, &expected);
    }
    for wrong in [f32::NAN, f32::INFINITY] {
        let (_, mut gradients) = disturbed.gradients(&[whole_batch(&expected)], 1);
        let last = gradients.iter_mut().flatten().last().unwrap();
        let Gradient::Vector(gradient) = last else { panic!("the last one is not a bias") };
        *gradient = gradient.full_like(wrong);
        let norm = match disturbed.apply(gradients) {
            Err(_) => continue,
            Ok(norm) => norm.expect("the CPU accepted the gradients").try_into_vec_as::<f32>(),
        };
        assert_eq!(norm.unwrap()[2], 1.0, "{wrong}");
        disturbed.moments.steps -= 1;
        assert_eq!(values(&disturbed.model), values(&undisturbed.model), "{wrong}");
    }
    for trainer in [&mut disturbed, &mut undisturbed] {
        step(trainer, &expected);
    }
    // So the moments had not changed either.
    assert_eq!(values(&disturbed.model), values(&undisturbed.model));
}

#[test]
fn a_checkpoint_goes_from_one_device_to_another_and_back() {
    let expected = Expected::read("roberta");
    let mut trained = trainer("roberta");
    for _ in 0..3 {
        step(&mut trained, &expected);
    }
    let position = Position { steps: 3, ..Position::default() };
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let file = |nth: usize| {
        std::fs::read(folders[nth].path().join("step-000000000003.safetensors")).unwrap()
    };
    checkpoint::save(folders[0].path(), &mut trained, &position, None).unwrap();
    let mut resumed = trainer("roberta");
    for (nth, other) in
        [trainer_on("roberta", &Device::flex()), trainer("roberta")].iter_mut().enumerate()
    {
        let restored = checkpoint::restore(folders[nth].path(), other, |error| panic!("{error}"));
        assert_eq!(restored.unwrap().unwrap().0, position);
        checkpoint::save(folders[nth + 1].path(), other, &position, None).unwrap();
        assert!(file(nth + 1) == file(0), "the checkpoint changed on its way");
    }
    checkpoint::restore(folders[2].path(), &mut resumed, |error| panic!("{error}")).unwrap();
    assert_eq!(ten_losses(&mut resumed, &expected), ten_losses(&mut trained, &expected));
    assert_eq!(values(&resumed.model), values(&trained.model));
}
