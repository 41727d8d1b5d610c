//! The header of a safetensors file: names, types and shapes of the tensors, not their values.
//!
//! The format is 8 bytes with the length of the header (little endian), the header as JSON, and
//! the bytes of the tensors: <https://github.com/huggingface/safetensors#format>.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ShowError;

/// The limit that the format sets.
const MAX_HEADER: u64 = 100_000_000;

/// What a safetensors file holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tensors {
    pub bytes: u64,
    pub metadata: BTreeMap<String, String>,
    /// The number of tensors.
    pub tensors: u64,
    /// The number of elements in all tensors.
    pub numbers: u64,
    /// The first tensors, in the order of the file.
    pub first: Vec<Tensor>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
    pub bytes: u64,
}

/// One tensor in the header.
#[derive(Deserialize)]
struct TensorHeader {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Whether a file of `bytes` bytes with this beginning must be safetensors.
pub(super) fn looks_like(head: &[u8], bytes: u64) -> bool {
    let Some((length, rest)) = head.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    (2..=MAX_HEADER).contains(&length) && length <= bytes && rest.first() == Some(&b'{')
}

/// Reads the header. The length of the file must match it.
pub(super) fn read(
    path: &Path,
    mut file: File,
    bytes: u64,
    rows: usize,
) -> Result<Tensors, ShowError> {
    let broken = |problem: String| ShowError::Safetensors { path: path.to_owned(), problem };
    let mut length = [0; 8];
    file.seek(SeekFrom::Start(0)).map_err(ShowError::io("reading", path))?;
    file.read_exact(&mut length).map_err(ShowError::io("reading", path))?;
    let length = u64::from_le_bytes(length);
    let data = bytes
        .checked_sub(8 + length)
        .ok_or_else(|| broken(format!("it ends within its header of {length} bytes")))?;
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(ShowError::io("reading", path))?;
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(&header)
        .map_err(|error| broken(format!("its header is not a JSON object: {error}")))?;
    let metadata = match header.remove("__metadata__") {
        Some(metadata) => serde_json::from_value(metadata)
            .map_err(|error| broken(format!("its metadata are not strings: {error}")))?,
        None => BTreeMap::new(),
    };
    let mut entries = Vec::with_capacity(header.len());
    for (name, entry) in header {
        let entry: TensorHeader = serde_json::from_value(entry)
            .map_err(|error| broken(format!("tensor `{name}`: {error}")))?;
        entries.push((name, entry));
    }
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut at = 0;
    let mut numbers = 0u64;
    let mut first = Vec::new();
    let tensors = entries.len() as u64;
    for (name, TensorHeader { dtype, shape, data_offsets: (start, end) }) in entries {
        if start != at || end < start {
            return Err(broken(format!("tensor `{name}` is at {start}..{end}, expected at {at}")));
        }
        at = end;
        let count = shape.iter().try_fold(1u64, |count, length| count.checked_mul(*length));
        let bits = count.and_then(|count| count.checked_mul(bits_of(&dtype)?));
        if bits_of(&dtype).is_some() && bits.map(|bits| bits.div_ceil(8)) != Some(end - start) {
            let bytes = end - start;
            return Err(broken(format!("tensor `{name}`, {dtype} {shape:?}, has {bytes} bytes")));
        }
        numbers = numbers.saturating_add(count.unwrap_or(u64::MAX));
        if first.len() < rows {
            first.push(Tensor { name, dtype, shape, bytes: end - start });
        }
    }
    if at != data {
        return Err(broken(format!("its tensors take {at} bytes, the file has {data}")));
    }
    Ok(Tensors { bytes, metadata, tensors, numbers, first })
}

/// The bits of one element; `None` for a type that this version does not know.
fn bits_of(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E4M3" | "F8_E5M2" | "F8_E8M0" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}
