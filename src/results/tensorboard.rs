//! Writes runs of the log as event files of TensorBoard: a folder for each run, with the metrics by step
//! and the final ones. The format is that of `tf.summary`: records with masked CRC-32C, each a protocol
//! buffer `Event`.

use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch;
use crate::results::run_log::LoggedRun;
use crate::store::Store;

/// Writes the events of a run into `folder/<id>`. What an earlier call wrote there is replaced.
pub fn write(run: &LoggedRun, store: &Store, folder: &Path) -> Result<(), FileError> {
    let folder = folder.join(&run.id);
    disk::create_folders(&folder).map_err(FileError::at("creating", &folder))?;
    let began = run.began().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let seconds = began.unwrap_or_default().as_secs_f64();
    // TensorBoard reads the files of a folder in the order of this number.
    let file = folder.join(format!("events.out.tfevents.{:010}.pipe", seconds as u64));
    scratch::write_beside(&file, &events(run, store, seconds))
}

fn events(run: &LoggedRun, store: &Store, began: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    add_record(&event(began, 0, |event| text(event, 3, "brain.Event:2")), &mut bytes);
    for stage in &run.stages {
        let record = stage.key.and_then(|key| store.record(key));
        for row in record.iter().flat_map(|record| &record.history) {
            add_scalars(&stage.stage, row.values.iter(), (began, row.step), &mut bytes);
        }
        add_scalars(&stage.stage, stage.metrics.iter(), (began, 0), &mut bytes);
    }
    bytes
}

fn add_scalars<'a>(
    stage: &str,
    values: impl Iterator<Item = (&'a String, &'a f64)>,
    (time, step): (f64, u64),
    bytes: &mut Vec<u8>,
) {
    let mut summary = Vec::new();
    for (name, value) in values {
        let mut scalar = Vec::new();
        text(&mut scalar, 1, &format!("{stage}/{name}"));
        // Field 2, a 32-bit number.
        scalar.push(2 << 3 | 5);
        scalar.extend((*value as f32).to_le_bytes());
        message(&mut summary, 1, &scalar);
    }
    if !summary.is_empty() {
        add_record(&event(time, step, |event| message(event, 5, &summary)), bytes);
    }
}

/// An `Event` with its time, its step, and one more field.
fn event(time: f64, step: u64, add: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // Field 1, a 64-bit number; field 2, a variable one.
    let mut event = vec![1 << 3 | 1];
    event.extend(time.to_le_bytes());
    event.push(2 << 3);
    variable(&mut event, step);
    add(&mut event);
    event
}

fn text(into: &mut Vec<u8>, field: u8, text: &str) {
    message(into, field, text.as_bytes());
}

fn message(into: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    into.push(field << 3 | 2);
    variable(into, bytes.len() as u64);
    into.extend(bytes);
}

/// Seven bits a byte, the lowest first.
fn variable(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn add_record(event: &[u8], into: &mut Vec<u8>) {
    let length = (event.len() as u64).to_le_bytes();
    into.extend(length);
    into.extend(masked(crc32c(&length)).to_le_bytes());
    into.extend(event);
    into.extend(masked(crc32c(event)).to_le_bytes());
}

/// A checksum of bytes that hold a checksum is masked.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The CRC of Castagnoli's polynomial, bit by bit: the files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::{crc32c, masked};

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(0), 0xa282_ead8);
    }
}
