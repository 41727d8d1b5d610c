//! What `pipe doctor` says of the devices besides the CPU: all that are found, what they can do, and
//! whether a small product on each is what the CPU computes.

use std::panic::{set_hook, take_hook};

use burn::tensor::{Device, Tensor, TensorData};

use super::choice::choose;
use super::chosen::ChosenDevice;
#[cfg(feature = "device")]
use super::kernels;
use super::libdevice;
use crate::stage::error::StageError;
use crate::stage::panics::{causes, guarded};

/// A device that was found and tried.
pub struct Inspected {
    /// As in messages: `cuda:0 (NVIDIA H200)`.
    pub name: String,
    /// Facts about it, in words.
    pub details: Vec<String>,
    /// Why a stage on it would fail or compute something wrong.
    pub problems: Vec<String>,
}

/// Opens every device of every kind. A kind without devices is an error.
pub fn inspect() -> Vec<Result<Inspected, StageError>> {
    quietly(|| {
        let mut found: Vec<_> = KINDS.into_iter().flat_map(of_kind).collect();
        found.iter_mut().flatten().for_each(|it| it.details.retain(|detail| !detail.is_empty()));
        found
    })
}

/// Counts the devices of a kind, as far as this build knows the kind.
type Count = fn() -> Result<usize, String>;

#[cfg(feature = "cuda")]
const CUDA: Count = super::cuda::count;
#[cfg(not(feature = "cuda"))]
const CUDA: Count = || Ok(0);

#[cfg(feature = "vulkan")]
const VULKAN: Count = super::vulkan::count;
#[cfg(not(feature = "vulkan"))]
const VULKAN: Count = || Ok(0);

const KINDS: [(&str, Count); 2] = [("cuda", CUDA), ("vulkan", VULKAN)];

fn of_kind((kind, count): (&str, Count)) -> Vec<Result<Inspected, StageError>> {
    // Opening the first of none gives the error that says why there is none.
    let found = count().unwrap_or(0).max(1);
    let open = |index| choose(&format!("{kind}:{index}"));
    (0..found).map(|index| open(index).map(inspected)).collect()
}

fn inspected(chosen: ChosenDevice) -> Inspected {
    #[cfg(feature = "device")]
    let kept = kernels::are_kept_for(&chosen);
    let mut details = chosen.details;
    let mut problems = Vec::new();
    details.extend(chosen.abilities.memory.map(|bytes| format!("{:.1} GB", bytes as f64 / 1e9)));
    details.push(if chosen.abilities.bf16 { "bf16" } else { "no bf16" }.to_owned());
    if chosen.is_cuda {
        match libdevice::find() {
            Ok(path) => details.push(format!("libdevice in {}", path.display())),
            Err(error) => problems.push(error.to_string()),
        }
    }
    #[cfg(feature = "device")]
    details.push(if kept { "kernels are kept" } else { "no kernels kept yet" }.to_owned());
    match product_on(&chosen.device) {
        Ok(error) => details.push(format!("a product is off by {error:.0e} from the CPU's")),
        Err(problem) => problems.push(problem),
    }
    Inspected { name: chosen.name, details, problems }
}

/// The rows, the columns, and the length of the sums of the product.
const ROWS: usize = 33;
const COLUMNS: usize = 29;
const SUMS: usize = 47;

/// Products may be computed from factors in TF32, with a mantissa of 10 bits.
const TOLERANCE: f32 = 2e-3;

/// The largest difference between a product on the device and the one on the CPU, over the largest
/// number in it.
///
/// # Errors
/// The device computes none, or a wrong one: what happened.
pub fn product_on(device: &Device) -> Result<f32, String> {
    let found = guarded(|| product(device)).map_err(|why| {
        format!("a product did not end: the driver or its compiler failed: {why}")
    })?;
    let found = found.map_err(|error| format!("a product failed: {}", causes(&error)))?;
    let expected = product(&Device::flex()).map_err(|error| format!("on the CPU: {error}"))?;
    largest_difference(&found, &expected)
}

fn product(device: &Device) -> Result<Vec<f32>, String> {
    let factor = |dims: [usize; 2], period: usize| {
        let values = (0..dims[0] * dims[1]).map(|place| (place % period) as f32 - 3.0);
        Tensor::<2>::from_data(TensorData::new(values.collect::<Vec<f32>>(), dims), device)
    };
    let product = factor([ROWS, SUMS], 11).matmul(factor([SUMS, COLUMNS], 7));
    product.try_into_vec_as::<f32>().map_err(|error| error.to_string())
}

fn largest_difference(found: &[f32], expected: &[f32]) -> Result<f32, String> {
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |scale, value| scale.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(one, two)| (one - two).abs() / scale);
    // `max` of a float skips NaN, which is the worst difference.
    let worst =
        differences.fold(0.0, |worst, it| if it > worst || it.is_nan() { it } else { worst });
    if found.len() != expected.len() || worst.is_nan() || worst > TOLERANCE {
        return Err(format!(
            "a product is wrong: off by {worst:.0e} from the CPU's; look for a newer driver"
        ));
    }
    Ok(worst)
}

/// Calls `work` without printing the messages of panics, which it catches and reports itself.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let before = take_hook();
    set_hook(Box::new(|_| ()));
    let result = work();
    set_hook(before);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_on_a_sound_device_is_that_of_the_cpu() {
        assert_eq!(product_on(&Device::flex()), Ok(0.0));
        let values = product(&Device::flex()).unwrap();
        let cell = |row: usize, column: usize| -> f32 {
            let left = |sum: usize| ((row * SUMS + sum) % 11) as f32 - 3.0;
            let right = |sum: usize| ((sum * COLUMNS + column) % 7) as f32 - 3.0;
            (0..SUMS).map(|sum| left(sum) * right(sum)).sum()
        };
        assert_eq!(values.len(), ROWS * COLUMNS);
        assert_eq!(values[5 * COLUMNS + 17], cell(5, 17));
    }

    #[test]
    fn a_wrong_number_a_missing_one_and_nan_are_wrong_products() {
        let good = [100.0, -50.0, 0.0];
        assert_eq!(largest_difference(&[100.1, -50.0, 0.0], &good).map(|it| it < 2e-3), Ok(true));
        for wrong in [&[101.0, -50.0, 0.0][..], &[100.0, -50.0], &[100.0, f32::NAN, 0.0]] {
            let error = largest_difference(wrong, &good).unwrap_err();
            assert!(error.starts_with("a product is wrong"), "{error}");
        }
    }
}
