//! Training checkpoints: parameters, moments and position on disk. A resumed run ends with the same
//! bytes as an uninterrupted one.
//!
//! Checkpoints are in the state folder of the stage. The folder belongs to one key, or to a key
//! that differs only in a smaller number of epochs, so its checkpoints always fit. Each is written
//! to a temporary file, synced and renamed; the last two are kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::objective::Objective;
use super::optimizer::Moment;
use super::step::Trainer;
use crate::data::finite::first_not_finite;
use crate::data::tensors::{TensorFile, TensorSpec, write_tensors};
use crate::model::parameters::{Network, read};
use crate::stage::error::StageError;

/// The progress of a training. Floating-point sums are stored as bits, so writing them loses
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Optimiser steps taken.
    pub steps: u64,
    /// The current epoch, from 0.
    pub epoch: u64,
    /// The next batch of the epoch.
    pub batch: usize,
    /// The sum of the losses of the epoch so far, each times its number of examples.
    pub loss_sum_bits: u64,
    /// The lines of `metrics.jsonl` of finished epochs.
    pub metrics: Vec<String>,
    /// The best validation metric so far, if the best epoch is kept.
    pub best_bits: Option<u64>,
    /// Epochs since the best one.
    pub epochs_since_best: u64,
    /// The activation budget. Resuming with another budget would change the last bits.
    pub activation_bytes: u64,
    /// How often memory had run out when the budget was chosen.
    pub memory_failures: u32,
}

impl Position {
    /// Adds losses of the epoch, each times its number of examples, in the order of their steps.
    pub fn add_losses(&mut self, losses: &[f64]) {
        let so_far = f64::from_bits(self.loss_sum_bits);
        self.loss_sum_bits = losses.iter().fold(so_far, |sum, loss| sum + loss).to_bits();
    }
}

/// Writes a checkpoint into `folder` and removes all but the last two.
pub fn save<O: Objective>(
    folder: &Path,
    trainer: &mut Trainer<O>,
    position: &Position,
    best: Option<&O::Model>,
) -> Result<(), StageError> {
    let mut tensors = BTreeMap::new();
    values_of(&mut trainer.model, "parameter", folder, &mut tensors)?;
    if let Some(best) = best {
        values_of(&mut best.clone(), "best", folder, &mut tensors)?;
    }
    for (index, moment) in trainer.moments.of.iter().enumerate() {
        let (first, second) = match moment {
            Moment::None => continue,
            Moment::Host { first, second, .. } => (first.clone(), second.clone()),
            Moment::Device(both) => (read(&both.0, folder)?, read(&both.1, folder)?),
        };
        tensors.insert(format!("first.{index}"), first);
        tensors.insert(format!("second.{index}"), second);
    }
    let position_text = serde_json::to_string(position)
        .map_err(|source| StageError::Json { path: folder.to_owned(), source })?;
    let check = check_sum(&position_text, tensors.values().map(Vec::as_slice));
    let metadata = [("position".to_owned(), position_text), ("blake3".to_owned(), check)].into();
    let specs = tensors
        .iter()
        .map(|(name, values)| TensorSpec::new::<f32>(name, &[values.len()]))
        .collect();
    let unsynced = folder.join("unsynced.safetensors");
    write_tensors(&unsynced, &metadata, specs, |spec, out| {
        out.write_all(bytemuck::cast_slice(&tensors[&spec.name]))
    })?;
    // Sync before renaming, so that a file with the name of a checkpoint is complete.
    File::open(&unsynced)
        .and_then(|file| file.sync_all())
        .map_err(StageError::io("syncing", &unsynced))?;
    let path = folder.join(format!("step-{:012}.safetensors", position.steps));
    fs::rename(&unsynced, &path).map_err(StageError::io("renaming", &unsynced))?;
    for old in checkpoints(folder)?.iter().rev().skip(2) {
        fs::remove_file(old).map_err(StageError::io("removing", old))?;
    }
    Ok(())
}

/// The position of a training, and its best model so far.
pub type Restored<O> = (Position, Option<<O as Objective>::Model>);

/// Restores `trainer` from the newest readable checkpoint in `folder`, and returns the position and
/// the best model so far; `None` if there is no checkpoint. Calls `unread` for each unreadable one.
pub fn restore<O: Objective>(
    folder: &Path,
    trainer: &mut Trainer<O>,
    mut unread: impl FnMut(StageError),
) -> Result<Option<Restored<O>>, StageError> {
    for path in checkpoints(folder)?.iter().rev() {
        match restore_from(path, trainer) {
            Ok(restored) => return Ok(Some(restored)),
            Err(error) => unread(error),
        }
    }
    Ok(None)
}

fn restore_from<O: Objective>(
    path: &Path,
    trainer: &mut Trainer<O>,
) -> Result<Restored<O>, StageError> {
    let file = TensorFile::open(path)?;
    let position_text = file.metadata("position").unwrap_or_default();
    let names = file.names();
    let values = names.iter().map(|name| file.elements::<f32>(name, None));
    let found = check_sum(position_text, values.collect::<Result<Vec<_>, _>>()?.into_iter());
    if file.metadata("blake3") != Some(found.as_str()) {
        let problem = "the checkpoint is damaged: its checksum does not match".to_owned();
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    let position: Position = serde_json::from_str(position_text)
        .map_err(|source| StageError::Json { path: path.to_owned(), source })?;
    // Read everything before replacing anything, so that half a checkpoint changes nothing.
    let mut model = trainer.model.clone();
    let mut moments = Vec::new();
    let device = model.parameters().first().map(|(_, parameter)| parameter.device());
    for (index, (name, parameter)) in model.parameters().into_iter().enumerate() {
        let count = parameter.count();
        let values = file.elements::<f32>(&format!("parameter.{index}"), Some(&[count]))?;
        if let Some(at) = first_not_finite(values) {
            let problem = format!("`{name}` holds {}: the training diverged", values[at]);
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        // A moment has the storage of its parameter.
        let of_parameter = parameter.companion();
        parameter.replace(values);
        let name = format!("first.{index}");
        if file.info(&name).is_none() {
            moments.push(Moment::None);
            continue;
        }
        let first = file.elements::<f32>(&name, Some(&[count]))?.to_vec();
        let second = file.elements::<f32>(&format!("second.{index}"), Some(&[count]))?.to_vec();
        moments.push(match &device {
            Some(device) if !is_cpu(device) => {
                Moment::Device(Box::new((of_parameter(&first), of_parameter(&second))))
            }
            _ => Moment::Host { first, second, rows: Vec::new() },
        });
    }
    let best = match position.best_bits {
        Some(_) if file.info("best.0").is_some() => {
            let mut best = model.frozen();
            for (index, (_, parameter)) in best.parameters().into_iter().enumerate() {
                let count = parameter.count();
                let values = file.elements::<f32>(&format!("best.{index}"), Some(&[count]))?;
                parameter.replace(values);
            }
            Some(best)
        }
        _ => None,
    };
    trainer.model = model;
    trainer.moments.steps = position.steps;
    trainer.moments.of = moments;
    Ok((position, best))
}

/// BLAKE3 of the position and of all tensors in the order of their names.
fn check_sum<'a>(position: &str, tensors: impl Iterator<Item = &'a [f32]>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(position.as_bytes());
    for values in tensors {
        hasher.update_rayon(bytemuck::cast_slice(values));
    }
    hasher.finalize().to_hex().to_string()
}

/// The checkpoints of a folder, oldest first.
fn checkpoints(folder: &Path) -> Result<Vec<PathBuf>, StageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StageError::io("reading", folder)(error)),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_checkpoint = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("step-"))
    };
    let mut found: Vec<PathBuf> = paths.filter(is_checkpoint).collect();
    found.sort();
    Ok(found)
}

fn values_of(
    model: &mut impl Network,
    kind: &str,
    folder: &Path,
    into: &mut BTreeMap<String, Vec<f32>>,
) -> Result<(), StageError> {
    for (index, (_, parameter)) in model.parameters().into_iter().enumerate() {
        into.insert(format!("{kind}.{index}"), parameter.values(folder)?);
    }
    Ok(())
}

fn is_cpu(device: &burn::tensor::Device) -> bool {
    *device == burn::tensor::Device::flex()
}
