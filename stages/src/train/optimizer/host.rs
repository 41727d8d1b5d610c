//! AdamW on the CPU: one parallel pass reads each gradient and updates parameter and moments in
//! place.

use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::moments::Moment;
use super::scalars::Scalars;
use crate::data::finite::is_not_finite;
use crate::model::cpu::CHUNK;
use crate::model::cpu::vector::vectorised;
use crate::model::parameters::leaf;

/// Sums each chunk in f64, then the chunks in order, so threads do not change the result.
pub(super) fn sum_of_squares(values: &[f32]) -> f64 {
    if values.len() <= CHUNK {
        return chunk_of_squares(values);
    }
    let chunks: Vec<f64> = values.par_chunks(CHUNK).map(chunk_of_squares).collect();
    chunks.iter().sum()
}

vectorised! {
    fn chunk_of_squares(chunk: &[f32]) -> f64 {
        // Eight lanes, so that the compiler can use vector instructions.
        let mut lanes = [0.0f64; 8];
        let (blocks, rest) = chunk.as_chunks::<8>();
        for block in blocks {
            for (lane, value) in lanes.iter_mut().zip(block) {
                *lane += f64::from(*value) * f64::from(*value);
            }
        }
        let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        lanes.iter().sum::<f64>() + rest
    }
}

/// Updates a parameter and its moments in place. Returns whether the new values are finite.
pub(super) fn update<const D: usize>(
    parameter: &mut Tensor<D>,
    gradient: &[f32],
    moment: &mut Moment,
    scalars: Scalars,
) -> bool {
    let (first, second, rows) = moment.on_host(gradient.len());
    // Every row may have moments now.
    rows.clear();
    in_place(parameter, |values| {
        values
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .map(|((values, gradient), (first, second))| {
                update_values(values, gradient, first, second, scalars)
            })
            .reduce(|| true, |one, two| one & two)
    })
}

/// [`update`] for a table of which only some rows have a gradient, without weight decay. Rows that
/// never had a gradient are skipped and stay bit-identical.
pub(super) fn update_rows(
    parameter: &mut Tensor<2>,
    (gradient, with_gradient): (&[f32], &[usize]),
    moment: &mut Moment,
    scalars: Scalars,
) -> bool {
    let [entries, width] = parameter.dims();
    let (first, second, rows) = moment.on_host(gradient.len());
    if rows.len() != entries {
        let all_zero = |row: usize| {
            let cells = row * width..(row + 1) * width;
            [&first[cells.clone()], &second[cells]].into_iter().flatten().all(|it| *it == 0.0)
        };
        *rows = (0..entries).into_par_iter().map(|row| !all_zero(row)).collect();
    }
    with_gradient.iter().for_each(|row| rows[*row] = true);
    let task = (CHUNK / width.max(1)).max(1);
    let cells = (task * width).max(1);
    in_place(parameter, |values| {
        values
            .par_chunks_mut(cells)
            .zip(gradient.par_chunks(cells))
            .zip(first.par_chunks_mut(cells).zip(second.par_chunks_mut(cells)))
            .zip(rows.par_chunks(task))
            .map(|(((values, gradient), (first, second)), rows)| {
                let mut is_finite = true;
                for (row, _) in rows.iter().enumerate().filter(|(_, has_moments)| **has_moments) {
                    let cells = row * width..(row + 1) * width;
                    let (values, gradient) = (&mut values[cells.clone()], &gradient[cells.clone()]);
                    let (first, second) = (&mut first[cells.clone()], &mut second[cells]);
                    is_finite &= update_values(values, gradient, first, second, scalars);
                }
                is_finite
            })
            .reduce(|| true, |one, two| one & two)
    })
}

/// Changes the values of a parameter on the CPU, without a copy.
fn in_place<T, const D: usize>(
    parameter: &mut Tensor<D>,
    change: impl FnOnce(&mut [f32]) -> T,
) -> T {
    // Taking the tensor out leaves one owner of its storage, so it can change in place.
    let empty = Tensor::<D>::zeros([0; D], &parameter.device().inner());
    let taken = std::mem::replace(parameter, empty).inner();
    let Ok(mut values) = taken.try_into_primitive::<Flex>() else {
        unreachable!("gradients on the host belong to parameters on the host")
    };
    let result = change(values.storage_mut::<f32>());
    *parameter = leaf(Tensor::from_inner(Tensor::<D>::from_primitive::<Flex>(values)));
    result
}

vectorised! {
    fn update_values(
        values: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        scalars: Scalars,
    ) -> bool {
        let mut not_finite = false;
        for (((value, gradient), first), second) in
            values.iter_mut().zip(gradient).zip(first).zip(second)
        {
            let gradient = gradient * scalars.clip;
            *first = scalars.beta1 * *first + (1.0 - scalars.beta1) * gradient;
            *second = scalars.beta2 * *second + (1.0 - scalars.beta2) * gradient * gradient;
            let denominator = second.sqrt() * scalars.second_scale + scalars.epsilon;
            *value = *value * scalars.keep - scalars.rate * *first / denominator;
            not_finite |= is_not_finite(*value);
        }
        !not_finite
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::AdamW;
    use super::super::moments::Moments;
    use super::*;
    use crate::data::random::Random;
    use crate::model::parameters::{Network, Parameter};
    use crate::train::gradient::Gradient;

    /// A network with a single table.
    #[derive(Clone)]
    struct Words(Tensor<2>);

    impl Network for Words {
        fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
            vec![("embeddings.word_embeddings.weight".to_owned(), Parameter::Table(&mut self.0))]
        }
    }

    const SIZES: [usize; 2] = [700, 96];

    fn numbers(name: &str) -> Vec<f32> {
        let mut values = vec![0.0; SIZES[0] * SIZES[1]];
        Random::new(7, name, 0, 0).fill_uniform(&mut values);
        values
    }

    /// The table's bits after ten steps in each of which a few rows have a gradient.
    fn trained(optimizer: AdamW, by_rows: bool, resumed_at: Option<u64>) -> Vec<u32> {
        let device = Device::flex();
        let tensor = |values| Tensor::<2>::from_data(TensorData::new(values, SIZES), &device);
        let mut model = Words(tensor(numbers("words")));
        let mut moments = Moments::default();
        for step in 0..10 {
            if resumed_at == Some(step)
                && let Moment::Host { rows, .. } = &mut moments.of[0]
            {
                rows.clear();
            }
            let rows: Vec<usize> = (0..SIZES[0]).filter(|row| row % 97 == step as usize).collect();
            let mut values = numbers(&step.to_string());
            for (row, values) in values.chunks_mut(SIZES[1]).enumerate() {
                if !rows.contains(&row) {
                    values.fill(0.0);
                }
            }
            let gradient = match by_rows {
                true => Gradient::Table { whole: tensor(values), rows },
                false => Gradient::Matrix(tensor(values)),
            };
            optimizer.step(&mut model, vec![Some(gradient)], &mut moments, 0.01).unwrap();
        }
        let values = model.0.try_to_vec_as::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let optimizer = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: 0.0,
            layer_decay: 1.0,
            layers: 2,
        };
        let device = Device::flex();
        let tensor = |values| Tensor::<2>::from_data(TensorData::new(values, SIZES), &device);
        // The square of the last one overflows in 32 bits.
        for (wrong, what) in [(f32::NAN, "the gradient of `emb"), (1e20, "the norm of the grad")] {
            let mut gradient = vec![0.0; SIZES[0] * SIZES[1]];
            gradient[96 * 650 + 3] = wrong;
            let sparse = Gradient::Table { whole: tensor(gradient.clone()), rows: vec![0, 650] };
            for gradient in [Gradient::Matrix(tensor(gradient)), sparse] {
                let (mut model, mut moments) =
                    (Words(tensor(numbers("words"))), Moments::default());
                let failure = optimizer.step(&mut model, vec![Some(gradient)], &mut moments, 0.01);
                let message = failure.unwrap_err().to_string();
                assert!(message.contains(&format!("step 1: {what}")), "{message}");
                assert_eq!(model.0.try_to_vec_as::<f32>().unwrap(), numbers("words"));
                assert_eq!(moments.steps, 0);
            }
        }
    }

    #[test]
    fn rows_without_a_gradient_are_left_out_without_changing_a_bit() {
        let plain = AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: 0.0,
            layer_decay: 1.0,
            layers: 2,
        };
        let decaying = AdamW { weight_decay: 0.01, ..plain };
        for optimizer in [plain, decaying] {
            let whole = trained(optimizer, false, None);
            assert_ne!(whole, numbers("words").into_iter().map(f32::to_bits).collect::<Vec<_>>());
            assert_eq!(trained(optimizer, true, None), whole);
            assert_eq!(trained(optimizer, true, Some(5)), whole);
        }
    }
}
