//! The choice of the device that a stage's model runs on.

use burn::tensor::Device;

use crate::model::accelerator;
use crate::model::precision::Precision;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;

/// The manifest's device, after reporting its name and any advice about this precision on it.
///
/// # Errors
/// The device is not available.
pub fn open_device(context: &Context, precision: Precision) -> Result<Device, StageError> {
    let chosen = accelerator::choose(&context.manifest.device)?;
    context.emit(Event::Device { name: chosen.name });
    if let Some(message) = precision.advice(&chosen.device) {
        context.emit(Event::Note { message });
    }
    Ok(chosen.device)
}
