//! Reads the tensors of a model folder by canonical name. The weights are in safetensors files or,
//! if there are none, in `pytorch_model.bin`; either may be split into shards with an index.
//! `pytorch-reader` interprets the pickle and runs no code.
//!
//! Canonical names lack the prefix of the family (`bert.`, `roberta.`) and use `LayerNorm.weight/bias`
//! for the old `gamma/beta`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::{bf16, f16};
use pytorch_reader::PytorchReader;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use crate::data::finite::first_not_finite;
use crate::family::Family;
use crate::stage::error::StageError;

/// The longest header that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_008;

/// All tensors in a model folder.
pub struct Checkpoint {
    tensors: BTreeMap<String, Tensor>,
}

/// A tensor whose values have not been read yet.
pub struct Tensor {
    /// The name in the file.
    pub stored_name: String,
    pub file: PathBuf,
    pub shape: Vec<usize>,
    values: Values,
}

enum Values {
    /// `length` bytes from `start` on.
    Safetensors {
        file: Arc<File>,
        start: u64,
        length: usize,
        dtype: Dtype,
    },
    Pytorch(pytorch_reader::Tensor),
}

impl Checkpoint {
    /// Opens the weights in `folder`. Values are read later, tensor by tensor.
    pub fn open(folder: &Path) -> Result<Checkpoint, StageError> {
        let mut tensors = BTreeMap::new();
        for file in weight_files(folder)? {
            let found = match file.extension().is_some_and(|extension| extension == "bin") {
                true => open_pytorch(&file)?,
                false => open_safetensors(&file)?,
            };
            for tensor in found {
                let name = canonical_name(&tensor.stored_name);
                if let Some(twin) = tensors.insert(name, tensor) {
                    let problem = format!("tensor `{}` is stored twice", twin.stored_name);
                    return Err(StageError::File { path: file, problem });
                }
            }
        }
        Ok(Checkpoint { tensors })
    }

    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

impl Tensor {
    /// The values in row-major order as f32.
    ///
    /// # Errors
    /// The file cannot be read, or a value is no floating-point number, NaN or infinite.
    pub fn read(&self) -> Result<Vec<f32>, StageError> {
        let values = self.read_any()?;
        let Some(at) = first_not_finite(&values) else { return Ok(values) };
        let problem = format!(
            "value {at} of tensor `{}` is {}: the file is damaged, or the training that wrote it \
             diverged",
            self.stored_name, values[at]
        );
        Err(StageError::File { path: self.file.clone(), problem })
    }

    fn read_any(&self) -> Result<Vec<f32>, StageError> {
        let unfit = |dtype: String| StageError::File {
            path: self.file.clone(),
            problem: format!("tensor `{}` is {dtype}, expected floating point", self.stored_name),
        };
        match &self.values {
            Values::Safetensors { file, start, length, dtype } => {
                let mut bytes = vec![0; *length];
                file.read_exact_at(&mut bytes, *start)
                    .map_err(StageError::io("reading", &self.file))?;
                match dtype {
                    Dtype::F32 => Ok(from_f32(&bytes)),
                    Dtype::F16 => Ok(from_f16(&bytes)),
                    Dtype::BF16 => Ok(from_bf16(&bytes)),
                    Dtype::F64 => Ok(from_f64(&bytes)),
                    other => Err(unfit(format!("{other:?}"))),
                }
            }
            Values::Pytorch(tensor) => {
                let bytes = tensor.read().map_err(StageError::io("reading", &self.file))?;
                match tensor.dtype() {
                    pytorch_reader::DType::F32 => Ok(from_f32(&bytes)),
                    pytorch_reader::DType::F16 => Ok(from_f16(&bytes)),
                    pytorch_reader::DType::BF16 => Ok(from_bf16(&bytes)),
                    pytorch_reader::DType::F64 => Ok(from_f64(&bytes)),
                    other => Err(unfit(format!("{other:?}"))),
                }
            }
        }
    }
}

/// The canonical name of a stored tensor.
fn canonical_name(stored: &str) -> String {
    let name = Family::without_prefix(stored);
    match name.strip_suffix("LayerNorm.gamma") {
        Some(start) => format!("{start}LayerNorm.weight"),
        None => match name.strip_suffix("LayerNorm.beta") {
            Some(start) => format!("{start}LayerNorm.bias"),
            None => name.to_owned(),
        },
    }
}

/// Whether `folder` holds weights in any layout, whole or broken.
pub fn has_weights(folder: &Path) -> bool {
    ["model.safetensors", "pytorch_model.bin"].iter().any(|name| {
        folder.join(name).exists() || folder.join(format!("{name}.index.json")).exists()
    })
}

/// The files that hold the weights. Safetensors files take precedence.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, StageError> {
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let whole = folder.join(name);
        if whole.is_file() {
            return Ok(vec![whole]);
        }
        let index = folder.join(format!("{name}.index.json"));
        if index.is_file() {
            return shards(folder, &index);
        }
    }
    Err(StageError::File {
        path: folder.to_owned(),
        problem: "no weights: expected model.safetensors, model.safetensors.index.json, \
                  pytorch_model.bin or pytorch_model.bin.index.json"
            .to_owned(),
    })
}

/// The shard files that an index names.
fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, StageError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(StageError::io("reading", index))?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|source| StageError::Json { path: index.to_owned(), source })?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    for name in &names {
        // A downloaded index must not refer to files outside of its folder.
        if Path::new(name).file_name().is_none_or(|file_name| file_name != name.as_str()) {
            let problem = format!("shard `{name}` is not a file name");
            return Err(StageError::File { path: index.to_owned(), problem });
        }
        if !folder.join(name).is_file() {
            let problem = format!("shard `{name}` is missing");
            return Err(StageError::File { path: index.to_owned(), problem });
        }
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// Reads the header. A mapped file would be no faster, and would end the process, such as a service
/// that loads a new model, if somebody overwrote it meanwhile.
fn open_safetensors(path: &Path) -> Result<Vec<Tensor>, StageError> {
    let file = File::open(path).map_err(StageError::io("opening", path))?;
    let (start, metadata) = safetensors_header(&file).map_err(|problem| StageError::File {
        path: path.to_owned(),
        problem: format!("not a safetensors file: {problem}"),
    })?;
    let file = Arc::new(file);
    let tensor = |(name, info): (String, &TensorInfo)| {
        let (from, to) = info.data_offsets;
        let values = Values::Safetensors {
            file: file.clone(),
            start: start + from as u64,
            length: to - from,
            dtype: info.dtype,
        };
        Tensor { stored_name: name, file: path.to_owned(), shape: info.shape.clone(), values }
    };
    Ok(metadata.tensors().into_iter().map(tensor).collect())
}

/// Where the data of a safetensors file begin, and what they are.
///
/// # Errors
/// The file is not whole, or it is something else: what is wrong.
fn safetensors_header(file: &File) -> Result<(u64, Metadata), String> {
    let read = |bytes: &mut [u8], at| file.read_exact_at(bytes, at).map_err(|it| it.to_string());
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let mut length = [0; 8];
    read(&mut length, 0)?;
    let start = u64::from_le_bytes(length).saturating_add(8);
    if start > size || start > LONGEST_HEADER {
        return Err(format!("its header ends at byte {start} of {size}"));
    }
    let mut header = vec![0; (start - 8) as usize];
    read(&mut header, 8)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| format!("its header: {error}"))?;
    match start + metadata.data_len() as u64 {
        expected if expected == size => Ok((start, metadata)),
        expected => Err(format!("it has {size} bytes, expected {expected}")),
    }
}

fn open_pytorch(path: &Path) -> Result<Vec<Tensor>, StageError> {
    let reader = PytorchReader::new(path).map_err(|problem| StageError::File {
        path: path.to_owned(),
        problem: format!("not a file of PyTorch tensors: {problem}"),
    })?;
    Ok(reader
        .into_tensors()
        .into_iter()
        .map(|(name, tensor)| Tensor {
            stored_name: name,
            file: path.to_owned(),
            shape: tensor.shape().to_vec(),
            values: Values::Pytorch(tensor),
        })
        .collect())
}

fn from_f32(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks::<4>().0.iter();
    values.map(|value| f32::from_le_bytes(*value)).collect()
}

fn from_f64(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks::<8>().0.iter();
    values.map(|value| f64::from_le_bytes(*value) as f32).collect()
}

fn from_f16(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks::<2>().0.iter();
    values.map(|value| f16::from_le_bytes(*value).to_f32()).collect()
}

fn from_bf16(bytes: &[u8]) -> Vec<f32> {
    let values = bytes.as_chunks::<2>().0.iter();
    values.map(|value| bf16::from_le_bytes(*value).to_f32()).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn a_file_that_is_cut_short_is_an_error_when_it_is_opened_and_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let values = [1.0_f32, 2.0, 3.0].map(f32::to_le_bytes).concat();
        let view = TensorView::new(Dtype::F32, vec![3], &values).unwrap();
        std::fs::write(&path, safetensors::serialize([("a", view)], None).unwrap()).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let tensor = checkpoint.get("a").unwrap();
        assert_eq!(tensor.read().unwrap(), [1.0, 2.0, 3.0]);

        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(path.metadata().unwrap().len() - 1).unwrap();
        assert!(matches!(tensor.read(), Err(StageError::Io { doing: "reading", .. })));
        for length in [0, 7, 8, 40] {
            file.set_len(length).unwrap();
            let error = Checkpoint::open(folder.path()).err().unwrap().to_string();
            assert!(error.contains("not a safetensors file"), "{error}");
        }
    }
}
