//! A graph as the bytes of a file, or of two: a message of protobuf holds 2 GiB, so the elements of a larger
//! graph are in a second file beside it ("external data" in the specification of ONNX).

use prost::Message;

use super::proto::{DataLocation, ModelProto, StringStringEntryProto, TensorProto};

/// The most bytes of a message.
pub const LARGEST: usize = i32::MAX as usize;

/// Where the elements of a tensor may begin in the second file, so that they can be mapped into memory.
const PAGE: usize = 4096;

/// What the second file begins with.
const MARK: &[u8] = b"elements of tensors, written by pipe\n";

/// Tensors with fewer bytes stay in the graph.
const SMALLEST: usize = 1024;

/// The bytes of the files.
pub struct Files {
    pub graph: Vec<u8>,
    /// Of the second file; `None` if the graph holds everything.
    pub data: Option<Vec<u8>>,
}

/// Encodes a graph. If it has more than `largest` bytes, the elements of its tensors go into a second file,
/// which must be called `data` and be beside it.
pub fn files(mut model: ModelProto, largest: usize, data: &str) -> Files {
    if model.encoded_len() <= largest {
        return Files { graph: model.encode_to_vec(), data: None };
    }
    let mut bytes = MARK.to_vec();
    let tensors = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    for tensor in tensors.filter(|tensor| tensor.raw_data.len() >= SMALLEST) {
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        move_elements(tensor, &mut bytes, data);
    }
    Files { graph: model.encode_to_vec(), data: Some(bytes) }
}

fn move_elements(tensor: &mut TensorProto, bytes: &mut Vec<u8>, data: &str) {
    let elements = std::mem::take(&mut tensor.raw_data);
    let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    tensor.data_location = DataLocation::External.into();
    tensor.external_data = vec![
        entry("location", data.to_owned()),
        entry("offset", bytes.len().to_string()),
        entry("length", elements.len().to_string()),
    ];
    bytes.extend(elements);
}

/// Whether a second file that begins with these bytes was written here.
pub fn is_our_data(start: &[u8]) -> bool {
    start.starts_with(MARK)
}
