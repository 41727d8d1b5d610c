//! stub
use crate::pipeline::Input;
use std::path::{Path, PathBuf};
#[derive(Debug, thiserror::Error)]
#[error("no")]
pub struct SourceError;
pub fn locate(_i: &Input, _s: &Path) -> Result<Option<PathBuf>, SourceError> { Ok(None) }
pub fn fetch(_i: &Input, _s: &Path, _o: bool) -> Result<PathBuf, SourceError> { Err(SourceError) }
