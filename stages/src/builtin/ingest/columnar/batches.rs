//! The record batches of a Parquet or an Arrow IPC file.

use std::fs::File;
use std::path::PathBuf;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::super::layout::DataFormat;
use super::messages::Messages;
use crate::data::data_file::DataFile;
use crate::data::data_file::kind::BinaryKind;
use crate::stage::error::StageError;
use crate::stage::panics::guarded;

/// How many rows of Parquet are decoded at once.
const ROWS: usize = 1024;

/// An open file of columns.
pub enum Batches {
    /// Of Parquet, before it is known which columns are read.
    Unread(PathBuf, Box<ParquetRecordBatchReaderBuilder<File>>),
    Parquet(ParquetBatches),
    Arrow(Box<Messages>, Vec<usize>),
}

/// Batches of some columns.
pub struct ParquetBatches {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    /// How many rows were read, how many there are, and how many bytes the file has.
    read: u64,
    rows: u64,
    bytes: u64,
}

impl Batches {
    /// # Errors
    /// The file is damaged.
    pub fn open(mut file: DataFile, format: DataFormat) -> Result<Batches, StageError> {
        if format == DataFormat::Arrow {
            let has_footer = file.binary_kind()? == Some(BinaryKind::ArrowFile);
            return Ok(Batches::Arrow(Box::new(Messages::open(file, has_footer)?), Vec::new()));
        }
        let path = file.name().to_owned();
        let file = file.into_file()?;
        match checked(|| ParquetRecordBatchReaderBuilder::try_new(file)) {
            Ok(builder) => Ok(Batches::Unread(path, Box::new(builder))),
            Err(problem) => Err(damaged(path, &problem)),
        }
    }

    pub fn schema(&self) -> SchemaRef {
        match self {
            Batches::Unread(_, builder) => builder.schema().clone(),
            Batches::Parquet(batches) => batches.batches.schema(),
            Batches::Arrow(messages, _) => messages.schema(),
        }
    }

    /// Lets batches have these columns only.
    pub fn keep(self, columns: &[usize]) -> Result<Batches, StageError> {
        let (path, builder) = match self {
            Batches::Unread(path, builder) => (path, builder),
            Batches::Arrow(messages, _) => return Ok(Batches::Arrow(messages, columns.to_vec())),
            parquet => return Ok(parquet),
        };
        let metadata = builder.metadata();
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
        let sizes = metadata.row_groups().iter().map(|group| group.compressed_size());
        let bytes = sizes.map(|size| u64::try_from(size).unwrap_or_default());
        let bytes = bytes.fold(0, u64::saturating_add);
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
        match checked(|| builder.with_batch_size(ROWS).with_projection(mask).build()) {
            Ok(batches) => {
                Ok(Batches::Parquet(ParquetBatches { path, batches, read: 0, rows, bytes }))
            }
            Err(problem) => Err(damaged(path, &problem)),
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn next(&mut self) -> Result<Option<RecordBatch>, StageError> {
        match self {
            Batches::Unread(..) => Ok(None),
            Batches::Parquet(batches) => batches.next(),
            Batches::Arrow(messages, columns) => {
                let Some(batch) = messages.next()? else { return Ok(None) };
                Ok(batch.project(columns).ok())
            }
        }
    }

    /// About how many bytes were read, and of how many.
    pub fn bytes(&self) -> (u64, u64) {
        match self {
            Batches::Unread(..) => (0, 0),
            Batches::Parquet(ParquetBatches { read, rows, bytes, .. }) => {
                ((*bytes as f64 * *read as f64 / (*rows).max(1) as f64) as u64, *bytes)
            }
            Batches::Arrow(messages, _) => messages.bytes(),
        }
    }
}

impl ParquetBatches {
    fn next(&mut self) -> Result<Option<RecordBatch>, StageError> {
        let batches = &mut self.batches;
        let next = guarded(|| batches.next().transpose());
        let next = next.and_then(|next| next.map_err(|error| error.to_string()));
        let batch = next.map_err(|problem| damaged(self.path.clone(), &problem))?;
        self.read += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        if batch.is_none() && self.read != self.rows {
            let (read, rows) = (self.read, self.rows);
            let problem = format!("it has {read} rows, but its end says {rows}");
            return Err(damaged(self.path.clone(), &problem));
        }
        Ok(batch)
    }
}

fn checked<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    guarded(read)?.map_err(|error| error.to_string())
}

fn damaged(path: PathBuf, problem: &str) -> StageError {
    // How the crate `parquet` 60.1.0 (`src/compression.rs`) names a compression that it was built without.
    let problem = match problem.rsplit_once("Disabled feature at compile time: ") {
        Some((_, name)) => format!(
            "its columns are compressed by {name}, which is not read: write them with zstd, gzip, \
             Snappy, LZ4, or without compression"
        ),
        None => format!("not a whole Parquet file: {problem}"),
    };
    StageError::File { path, problem }
}
