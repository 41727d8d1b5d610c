//! Safetensors files. They are written as a stream, with the same bytes on every run, and read
//! through a memory map with every access checked. `tokenize` stores token ids in them, training
//! its checkpoints and models.
//!
//! Tensors are ordered as by the format's own library, by decreasing element size and then by name,
//! so that every tensor is aligned to its elements. The keys of the header are sorted, and the
//! header is padded so that the data starts at a multiple of 8 bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};
pub use safetensors::Dtype;
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;

use crate::stage::error::StageError;

#[cfg(target_endian = "big")]
compile_error!("safetensors files are little-endian and are mapped as they are");

/// A Rust type for the elements of a tensor.
pub trait Element: bytemuck::Pod {
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {
        $(impl Element for $rust { const DTYPE: Dtype = Dtype::$dtype; })*
    };
}
elements!(u8 => U8, i32 => I32, u32 => U32, i64 => I64, u64 => U64, f32 => F32, f64 => F64);

/// The name, element type and shape of a tensor to write.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

impl TensorSpec {
    pub fn new<T: Element>(name: &str, shape: &[usize]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype: T::DTYPE, shape: shape.to_vec() }
    }

    /// The size of the data in bytes. A size that overflows cannot occur: no memory or disk holds
    /// it.
    fn bytes(&self) -> u64 {
        let elements: u64 = self.shape.iter().map(|size| *size as u64).product();
        elements * self.dtype.bitsize() as u64 / 8
    }
}

/// Writes a safetensors file. Calls `fill` once for each tensor, in the order of the file, to write
/// its elements (little-endian, row-major). The file appears under its name only when it is
/// complete.
///
/// # Errors
/// An I/O error with the path; `fill` wrote a number of bytes that does not match the shape.
pub fn write_tensors(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    mut specs: Vec<TensorSpec>,
    mut fill: impl FnMut(&TensorSpec, &mut dyn Write) -> io::Result<()>,
) -> Result<(), StageError> {
    specs.sort_by(|a, b| {
        b.dtype.bitsize().cmp(&a.dtype.bitsize()).then_with(|| a.name.cmp(&b.name))
    });
    let partial = PartialFile::new(path);
    let file = File::create(&partial.path).map_err(StageError::io("creating", &partial.path))?;
    let mut out = CountedWriter { inner: BufWriter::with_capacity(1 << 20, file), bytes: 0 };
    let writing = |source| StageError::Io { doing: "writing", path: path.to_owned(), source };
    let header = header(metadata, &specs).map_err(writing)?;
    out.write_all(&header).map_err(writing)?;
    for spec in &specs {
        let start = out.bytes;
        fill(spec, &mut out).map_err(writing)?;
        let written = out.bytes - start;
        if written != spec.bytes() {
            return Err(StageError::File {
                path: path.to_owned(),
                problem: format!(
                    "tensor `{}` of shape {:?} takes {} bytes, got {written}",
                    spec.name,
                    spec.shape,
                    spec.bytes()
                ),
            });
        }
    }
    out.inner.into_inner().map_err(|error| writing(error.into_error()))?;
    partial.keep(path)
}

/// An entry of the header. It is not a `serde_json::Value`, whose order of keys depends on the
/// features of the build.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Metadata(&'a BTreeMap<String, String>),
    Tensor(TensorInfo),
}

fn header(metadata: &BTreeMap<String, String>, specs: &[TensorSpec]) -> io::Result<Vec<u8>> {
    let mut entries: BTreeMap<&str, Entry> = BTreeMap::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__", Entry::Metadata(metadata));
    }
    let mut offset = 0;
    for spec in specs {
        let end = offset + spec.bytes();
        let data_offsets = (offset as usize, end as usize);
        let info = TensorInfo { dtype: spec.dtype, shape: spec.shape.clone(), data_offsets };
        entries.insert(&spec.name, Entry::Tensor(info));
        offset = end;
    }
    let mut text = serde_json::to_vec(&entries)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    Ok(header)
}

/// The incomplete file, next to its final name. Removed when dropped before [`PartialFile::keep`].
struct PartialFile {
    path: PathBuf,
}

impl PartialFile {
    fn new(path: &Path) -> PartialFile {
        let mut name = path.as_os_str().to_owned();
        name.push(".partial");
        PartialFile { path: name.into() }
    }

    fn keep(self, path: &Path) -> Result<(), StageError> {
        fs::rename(&self.path, path).map_err(StageError::io("renaming to", path))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // After `keep` there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// Counts the bytes written to `inner`.
struct CountedWriter<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for CountedWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A one-dimensional tensor whose length is not known yet, in an unnamed temporary file that
/// disappears with the process.
pub struct Spool<T> {
    file: BufWriter<File>,
    folder: PathBuf,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Spool<T> {
    /// An empty spool on the file system of `folder`.
    pub fn new(folder: &Path) -> Result<Spool<T>, StageError> {
        let file = tempfile::tempfile_in(folder)
            .map_err(StageError::io("creating a temporary file in", folder))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        Ok(Spool { file, folder: folder.to_owned(), len: 0, element: PhantomData })
    }

    /// Appends elements.
    pub fn extend(&mut self, elements: &[T]) -> Result<(), StageError> {
        self.file
            .write_all(bytemuck::cast_slice(elements))
            .map_err(StageError::io("writing a temporary file in", &self.folder))?;
        self.len += elements.len();
        Ok(())
    }

    /// How many elements it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The specification of the tensor as it is now.
    pub fn spec(&self, name: &str) -> TensorSpec {
        TensorSpec::new::<T>(name, &[self.len])
    }

    /// Copies everything to `out`, for [`write_tensors`].
    pub fn copy_to(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.rewind()?;
        io::copy(&mut BufReader::with_capacity(1 << 18, &*file), out).map(drop)
    }
}

/// A safetensors file that is mapped into memory. No process may change the file while it is
/// mapped, see [`TensorFile::open`].
pub struct TensorFile {
    path: PathBuf,
    map: Mmap,
    data_start: usize,
    metadata: Metadata,
}

/// A tensor of a [`TensorFile`] whose type has been checked; [`TensorFile::slice`] gives its
/// elements.
#[derive(Clone, Debug)]
pub struct Handle<T> {
    bytes: Range<usize>,
    element: PhantomData<T>,
}

impl TensorFile {
    /// Maps a file and checks its header against its size.
    ///
    /// Another process must neither write nor truncate the file while it is mapped. Objects of the
    /// store are read-only, so the inputs of a stage meet this condition. A file of the user, which
    /// the engine maps to compare or show it, meets it only as long as nobody touches the file: a
    /// truncation ends the process with SIGBUS at the next access, and a write changes elements
    /// that Rust assumes to be constant, which is undefined behaviour.
    ///
    /// # Errors
    /// The file cannot be mapped or is not a complete safetensors file.
    pub fn open(path: &Path) -> Result<TensorFile, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let size = file.metadata().map_err(StageError::io("reading", path))?.len();
        let problem = |problem: String| StageError::File { path: path.to_owned(), problem };
        if size < 8 {
            return Err(problem(format!("{size} bytes are too few for a safetensors file")));
        }
        // SAFETY: this process only reads the map. That no other process changes the file is the
        // caller's duty, documented above; nothing enforces it for files outside the store. The map
        // is never read past `size`, and every bit pattern is valid for every `Element`.
        let map = unsafe { Mmap::map(&file) }.map_err(StageError::io("mapping", path))?;
        let (header_bytes, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
            problem(format!("not a complete safetensors file of {size} bytes: {error}"))
        })?;
        Ok(TensorFile { path: path.to_owned(), map, data_start: 8 + header_bytes, metadata })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.metadata.offset_keys();
        names.sort();
        names
    }

    /// The type, shape and position of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// An entry of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Checks that a tensor exists, has elements of type `T`, and has `shape` if one is given.
    pub fn handle<T: Element>(
        &self,
        name: &str,
        shape: Option<&[usize]>,
    ) -> Result<Handle<T>, StageError> {
        let problem = |what: String| self.problem(format!("tensor `{name}` {what}"));
        let info = self.info(name).ok_or_else(|| problem("is missing".to_owned()))?;
        if info.dtype != T::DTYPE {
            return Err(problem(format!("holds {}, expected {}", info.dtype, T::DTYPE)));
        }
        if let Some(shape) = shape.filter(|shape| *shape != info.shape) {
            return Err(problem(format!("has shape {:?}, expected {shape:?}", info.shape)));
        }
        let (start, end) = info.data_offsets;
        let bytes = self.data_start + start..self.data_start + end;
        if bytemuck::try_cast_slice::<u8, T>(&self.map[bytes.clone()]).is_err() {
            return Err(problem(format!("is not aligned to its {} elements", T::DTYPE)));
        }
        Ok(Handle { bytes, element: PhantomData })
    }

    /// The bytes of a tensor of any type, as they are in the file.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let (start, end) = self.info(name)?.data_offsets;
        self.map.get(self.data_start + start..self.data_start + end)
    }

    /// The elements of a checked tensor of this file.
    pub fn slice<T: Element>(&self, handle: &Handle<T>) -> &[T] {
        bytemuck::cast_slice(&self.map[handle.bytes.clone()])
    }

    /// The elements of a tensor: [`TensorFile::handle`] and then [`TensorFile::slice`].
    pub fn elements<T: Element>(
        &self,
        name: &str,
        shape: Option<&[usize]>,
    ) -> Result<&[T], StageError> {
        Ok(self.slice(&self.handle::<T>(name, shape)?))
    }

    /// Lets go of what was read of a large file so far, so that reading all of it takes no more memory
    /// than reading a part. What is needed again is read again.
    pub fn let_go(&self) {
        /// The bytes of a file that may stay in memory.
        const SMALL: usize = 32 << 20;
        if self.map.len() > SMALL {
            // SAFETY: the map is shared, of a file, and never written, so the pages are read from the
            // file again with what they had. A refusal only costs memory.
            let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
        }
    }

    /// An error about this file.
    pub fn problem(&self, problem: String) -> StageError {
        StageError::File { path: self.path.clone(), problem }
    }
}
