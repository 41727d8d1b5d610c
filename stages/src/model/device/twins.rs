//! Results of norms in the format of factors, beside f32: a residual sum reads them in f32, and the
//! next product as factors.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::format::factor_type;
use super::like;
use super::place::Place;
use crate::model::precision::Precision;

/// The twin of the latest result of a norm in a pass.
#[derive(Clone, Debug, Default)]
pub struct Twins(Arc<Mutex<Option<(Place, CubeTensor)>>>);

impl Twins {
    /// Room for the twin of a result, if factors of this precision are not f32.
    pub(super) fn room_for(result: &CubeTensor, precision: Precision) -> Option<CubeTensor> {
        let format = factor_type(precision);
        (format != DType::F32).then(|| like(result, format))
    }

    /// Keeps the twin of a result in the place of the one before.
    pub(super) fn keep(&self, result: &CubeTensor, twin: Option<CubeTensor>) {
        let twin = twin.map(|twin| (Place::of(result), twin));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = twin;
    }

    /// For when the latest result may have been changed in place.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The twin of a tensor, if it is where the latest result was. That must not have been changed in place
    /// since: see [`forget`](Self::forget).
    pub(super) fn of(&self, tensor: &CubeTensor) -> Option<CubeTensor> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, twin) = latest.as_ref()?;
        (*place == Place::of(tensor)).then(|| twin.clone())
    }
}

/// A twin as a kernel takes it: none, or one.
pub(super) fn argument<F: Float>(twin: Option<&CubeTensor>) -> SequenceArg<Box<[F]>> {
    let mut all = SequenceArg::new();
    if let Some(twin) = twin {
        all.push(twin.clone().into_buffer_arg());
    }
    all
}

/// Writes an element of a twin, if there is one.
#[cube]
pub(super) fn write_twin<F: Float>(
    twins: &mut Sequence<Box<[F]>>,
    at: usize,
    value: f32,
    #[comptime] has_twin: bool,
) {
    if comptime!(has_twin) {
        let twin = twins.index_mut(0);
        twin[at] = F::cast_from(value);
    }
}
