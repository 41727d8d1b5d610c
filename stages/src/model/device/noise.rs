//! Dropout masks, computed where they are used: the same elements as [`Mask::apply`] on the host.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::upload;
use crate::model::noise::Mask;

/// A mask as the kernels take it, or none.
#[derive(Clone, Debug)]
pub(super) struct DeviceMask {
    /// Two keys per row; any tensor if nothing is dropped.
    keys: CubeTensor,
    threshold: u32,
    kept: f32,
    pub(super) drops: bool,
}

/// The numbers of a mask that are the same for all elements.
#[derive(CubeLaunch, CubeType)]
pub(super) struct MaskArgs {
    /// Elements whose bits are below are dropped.
    pub(super) threshold: u32,
    /// The value of the others.
    pub(super) kept: f32,
}

impl DeviceMask {
    /// The mask on the device of `other`.
    pub(super) fn new(mask: Option<&Mask>, other: &CubeTensor) -> DeviceMask {
        match mask {
            Some(mask) => DeviceMask {
                keys: upload(other, &mask.keys()),
                threshold: mask.threshold(),
                kept: mask.kept(),
                drops: true,
            },
            None => DeviceMask { keys: other.clone(), threshold: 0, kept: 1.0, drops: false },
        }
    }

    pub(super) fn keys(&self) -> BufferArg {
        self.keys.clone().into_buffer_arg()
    }

    pub(super) fn args(&self) -> MaskArgsLaunch {
        MaskArgsLaunch::new(self.threshold, self.kept)
    }
}

/// The element at `index` of the mask of a row with the keys `low` and `high`: 0 or the value of what is kept.
#[cube]
pub(super) fn mask_element(index: u32, low: u32, high: u32, mask: &MaskArgs) -> f32 {
    let mixed = mix(mix(index + low) ^ high);
    let mut element = mask.kept;
    if mixed < mask.threshold {
        element = 0.0;
    }
    element
}

/// `lowbias32`.
#[cube]
fn mix(bits: u32) -> u32 {
    let mut mixed = bits ^ (bits >> 16);
    mixed = mixed * 0x7feb_352du32;
    mixed = mixed ^ (mixed >> 15);
    mixed = mixed * 0x846c_a68bu32;
    mixed ^ (mixed >> 16)
}
