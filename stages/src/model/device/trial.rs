//! What one of cubek's kernels computes for a matrix product, and how long it takes.

use std::time::Instant;

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::full_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::bytes::Bytes;
use cubecl::future::block_on;
use cubecl::prelude::InputScalar;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;
use serde::{Deserialize, Serialize};

use super::format::element;
use super::graph::record;
use super::{contiguous, empty, is_turned, transposed};
use crate::data::random::Random;
use crate::model::precision::Precision;

/// How many launches are timed together.
const LAUNCHES: usize = 10;

/// How often they are timed. The shortest time counts.
const TIMINGS: usize = 3;

/// What decides how fast the kernels of a product are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sizes {
    pub rows: usize,
    pub inner: usize,
    pub columns: usize,
    /// Whether the storage of the left and of the right factor is that of its transpose.
    pub turned: [bool; 2],
    pub precision: Precision,
}

impl Sizes {
    /// Of the product of `[m, k]` and `[k, n]`.
    pub(super) fn of(left: &CubeTensor, right: &CubeTensor, precision: Precision) -> Sizes {
        let (rows, inner) = (left.meta.shape()[0], left.meta.shape()[1]);
        let columns = right.meta.shape()[1];
        Sizes { rows, inner, columns, turned: [left, right].map(is_turned), precision }
    }
}

/// A product of random factors.
pub struct Trial {
    left: CubeTensor,
    right: CubeTensor,
    output: CubeTensor,
}

impl Trial {
    /// On the device of `beside`.
    pub fn new(beside: &CubeTensor, sizes: Sizes) -> Trial {
        let Sizes { rows, inner, columns, turned, precision } = sizes;
        let factor = |nth, shape, is_turned| random(beside, precision, nth, shape, is_turned);
        let left = factor(0, [rows, inner], turned[0]);
        let right = factor(1, [inner, columns], turned[1]);
        let output = empty(&left, [rows, columns], DType::F32);
        Trial { left, right, output }
    }

    /// What a kernel computes: the f32 of the product, in row-major order. What it leaves out is NaN.
    ///
    /// # Errors
    /// cubek or the device refuses it: why.
    ///
    /// # Panics
    /// cubek panics about some products that a kernel is not for.
    pub fn computed(&self, way: &Strategy) -> Result<Bytes, String> {
        let (client, device) = (self.output.client.clone(), self.output.device.clone());
        let nothing = InputScalar::new(f32::NAN, element(DType::F32));
        let shape = self.output.shape();
        let output = contiguous(full_device_dtype(client, shape, device, nothing, DType::F32));
        launch(way, &self.left, &self.right, &output)?;
        output.client.read_one(output.handle.clone()).map_err(|error| error.to_string())
    }

    /// The seconds of one launch of a kernel, recorded with others.
    ///
    /// # Errors
    /// As for [`computed`](Self::computed), as are panics.
    pub fn seconds(&self, way: &Strategy) -> Result<f64, String> {
        let Trial { left, right, output } = self;
        let client = &output.client;
        let wait = || block_on(client.sync()).map_err(|error| error.to_string());
        let launches = || (0..LAUNCHES).try_for_each(|_| launch(way, left, right, output));
        let (recording, launched) = record(client, launches)?;
        launched?;
        wait()?;
        let mut least = f64::INFINITY;
        for _ in 0..TIMINGS {
            let began = Instant::now();
            // SAFETY: the tensors that it reads and writes live and stay where they are.
            unsafe { recording.repeat() };
            wait()?;
            least = least.min(began.elapsed().as_secs_f64());
        }
        Ok(least / LAUNCHES as f64)
    }
}

/// Launches a kernel that writes `[m, k]` times `[k, n]` into `output`, in f32.
pub(super) fn launch(
    way: &Strategy,
    left: &CubeTensor,
    right: &CubeTensor,
    output: &CubeTensor,
) -> Result<(), String> {
    let factors = element(left.dtype);
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: factors,
        rhs: factors,
        out: element(DType::F32),
    });
    let [left, right] = [left, right].map(|it| InputBinding::new(it.clone().binding(), factors));
    let launched =
        launch_ref(way, &output.client, left, right, output.clone().binding(), &mut types);
    launched.map_err(|error| format!("{error:?}"))
}

/// The first or the second factor, of numbers between 1/128 and 2 in size: their products have so many
/// sizes that sums of them depend on the order of the summands, in bf16 as well.
fn random(
    beside: &CubeTensor,
    precision: Precision,
    nth: u64,
    shape: [usize; 2],
    is_turned: bool,
) -> CubeTensor {
    let mut random = Random::new(0, "factor", nth, 0);
    let mut next = || 0x3c00_0000 | random.next_u32() & 0x83ff_ffff;
    let count = shape[0] * shape[1];
    let (dtype, bytes): (_, Vec<u8>) = match precision {
        // The upper half of an f32.
        Precision::Bf16 => {
            let values = (0..count).flat_map(|_| ((next() >> 16) as u16).to_ne_bytes());
            (DType::BF16, values.collect())
        }
        _ => (DType::F32, (0..count).flat_map(|_| next().to_ne_bytes()).collect()),
    };
    let (client, device) = (beside.client.clone(), beside.device.clone());
    let handle = client.create_from_slice(&bytes);
    let stored = if is_turned { [shape[1], shape[0]] } else { shape };
    let stored = CubeTensor::new_contiguous(client, device, Shape::from(stored), handle, dtype);
    if is_turned { transposed(&stored) } else { stored }
}
