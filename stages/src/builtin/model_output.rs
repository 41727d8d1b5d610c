//! The parts of their outputs that `pretrain` and `finetune` write alike.

use std::path::Path;

use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::output::OutputFile;
use crate::text;

/// Writes the output `metrics`, one line for each row.
pub fn write_metrics(context: &Context, lines: &[String]) -> Result<(), StageError> {
    let mut file = OutputFile::create(context.output("metrics")?)?;
    lines.iter().try_for_each(|line| file.write_line(line.as_bytes()))?;
    file.finish()
}

/// Creates the folder of the output `model`.
pub fn create_folder<'a>(context: &'a Context) -> Result<&'a Path, StageError> {
    let folder = context.output("model")?;
    std::fs::create_dir_all(folder).map_err(StageError::io("creating", folder))?;
    Ok(folder)
}

/// Copies the tokenizer's files from one model folder to another.
pub fn copy_tokenizer(from: &Path, to: &Path) -> Result<(), StageError> {
    for file in text::tokenizer_files(from) {
        let Some(name) = file.file_name() else { continue };
        std::fs::copy(&file, to.join(name)).map_err(StageError::io("copying", &file))?;
    }
    Ok(())
}
