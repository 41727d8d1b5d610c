//! The choice of the device that a stage's model runs on.

use burn::tensor::Device;

use crate::model::accelerator;
use crate::model::accelerator::need::Work;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;

/// The manifest's device, after checking that it can do `work`, reporting its name, and any advice
/// about the precision on it.
///
/// # Errors
/// The device is not available, or lacks something that `work` needs.
pub fn open_device(context: &Context, work: &Work) -> Result<Device, StageError> {
    let chosen = accelerator::open(&context.manifest.device, work)?;
    context.emit(Event::Device { name: chosen.name });
    if let Some(message) = work.precision.advice(&chosen.device) {
        context.emit(Event::Note { message });
    }
    Ok(chosen.device)
}
