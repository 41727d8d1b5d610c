//! `pipe export [MODEL]`: writes a trained model in a format that other programs read.

pub mod error;
mod hub;

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use stages::StageError;
use stages::builtin::export::{OnnxFile, companions, onnx_file};
use stages::model::config::ModelConfig;
use stages::onnx::file::is_our_data;
use stages::onnx::{OPSET, Storage, is_ours};

use self::error::ExportError;
use crate::cli::classify::found_model::{FoundModel, find_model};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::scratch::{place_beside, remove_left_beside, write_beside};
use crate::files::{disk, regular};
use crate::text::figures::bytes;

#[derive(Debug, Args)]
pub struct ExportOptions {
    /// The model: `stage:output` or a folder, which needs no pipeline. Default: the only model of
    /// the pipeline
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Write the classifier as a graph in the format of ONNX to this file, with the tokenizer and
    /// `config.json` beside it, or in `DIR` if the file is `DIR/onnx/NAME`
    #[arg(long, value_name = "FILE", required_unless_present = "hub")]
    onnx: Option<PathBuf>,
    /// Write a folder for the Hugging Face hub: weights, tokenizer, and a model card from the record of
    /// the model
    #[arg(long, value_name = "DIR")]
    hub: Option<PathBuf>,
    /// Store weights in half precision, and compute in f32
    #[arg(long, requires = "onnx", conflicts_with = "int8")]
    f16: bool,
    /// Store weights in 8 bits, and compute with integers
    #[arg(long, requires = "onnx")]
    int8: bool,
    /// Overwrite other files than graphs of `pipe export`, such as the `config.json` of an earlier model
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    overrides: OverrideOptions,
}

pub fn execute(
    options: &ExportOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let overrides = options.overrides.overrides();
    let found = find_model(options.model.as_deref(), globals, &overrides, console)?;
    let config = ModelConfig::read(&found.folder.path()).map_err(failed)?;
    // First, so that a graph can go into the same folder.
    let upload = match &options.hub {
        Some(folder) => Some(hub::export(&found, &config, folder, console)?),
        None => None,
    };
    if let Some(file) = &options.onnx {
        export_graph(&found, &config, file, options, console)?;
    }
    if let Some(command) = upload {
        console.note("this uploads it:");
        console.data(&command)?;
    }
    Ok(Exit::Done)
}

fn failed(error: StageError) -> ExportError {
    ExportError::Model(Box::new(error))
}

/// Writes the graph, with the files that go with it.
fn export_graph(
    found: &FoundModel,
    config: &ModelConfig,
    file: &Path,
    options: &ExportOptions,
    console: &Console,
) -> Result<(), Error> {
    let folder = found.folder.path();
    let beside = new_companions(&folder, file, options.force)?;
    check_target(file, options.force, is_ours)?;
    let data_path = data_of(file)?;
    let (storage, kind) = match (options.f16, options.int8) {
        (true, _) => (Storage::F16, "f16"),
        (_, true) => (Storage::Int8, "int8"),
        _ => (Storage::F32, "f32"),
    };
    let name = data_path.file_name().and_then(OsStr::to_str);
    let OnnxFile { files, notes } =
        onnx_file(&folder, config, &found.predict, storage, name.unwrap_or_default())
            .map_err(failed)?;
    if files.data.is_some() {
        check_target(&data_path, options.force, is_our_data)?;
        if name.is_none() {
            return Err(ExportError::NotUtf8 { path: file.to_owned() }.into());
        }
    }
    let is_left = files.data.is_none() && data_path.is_file() && begins(&data_path, is_our_data)?;
    let graph = target(file)?;
    [&graph, &data_path].into_iter().for_each(|path| remove_left_beside(path));
    for (path, content) in &beside {
        write(path, content)?;
    }
    if let Some(bytes) = &files.data {
        replace_data(&data_path, bytes, &graph)?;
    }
    // At the end: a folder with a graph has all of its files.
    write_beside(&graph, &files.graph)?;
    let size = bytes(files.graph.len() as u64);
    console.note(&format!("wrote `{}`: {size}, {kind}, opset {OPSET}", file.display()));
    let data = data_path.display();
    match &files.data {
        Some(content) => {
            let size = bytes(content.len() as u64);
            console.note(&format!("wrote `{data}`, its parameters: {size}"));
        }
        None if is_left => {
            disk::remove_file(&data_path).map_err(FileError::at("removing", &data_path))?;
            console.note(&format!("removed `{data}`, the parameters of the graph before"));
        }
        None => {}
    }
    for (path, _) in &beside {
        console.note(&format!("wrote `{}`", path.display()));
    }
    notes.iter().for_each(|note| console.warning(note));
    Ok(())
}

/// The folder of the files that go with a graph, as `optimum` and transformers.js lay them out.
fn folder_of(file: &Path) -> &Path {
    let parent = file.parent().unwrap_or(Path::new(""));
    match parent.file_name().is_some_and(|name| name == "onnx") {
        true => parent.parent().unwrap_or(parent),
        false => parent,
    }
}

/// The files of the model that are not beside the graph yet, with their bytes.
fn new_companions(
    model: &Path,
    file: &Path,
    overwrite: bool,
) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let folder = folder_of(file);
    let (mut new, mut foreign) = (Vec::new(), Vec::new());
    for source in companions(model) {
        let Some(name) = source.file_name() else { continue };
        let path = folder.join(name);
        if path == file {
            return Err(ExportError::Taken { path }.into());
        }
        let content = regular::read(&source).map_err(FileError::at("reading", &source))?;
        if path.symlink_metadata().is_ok() {
            if !path.is_file() {
                return Err(ExportError::NotAFile { path }.into());
            }
            let there = regular::read(&path).map_err(FileError::at("reading", &path))?;
            if there == content {
                continue;
            }
            foreign.push(path.clone());
        }
        new.push((path, content));
    }
    match foreign.is_empty() || overwrite {
        true => Ok(new),
        false => Err(ExportError::Foreign { paths: foreign }.into()),
    }
}

/// The file for what a graph has no room for, by the name that `optimum` and transformers.js expect.
fn data_of(file: &Path) -> Result<PathBuf, Error> {
    let Some(name) = file.file_name() else {
        return Err(ExportError::NotAFile { path: file.to_owned() }.into());
    };
    let mut name = name.to_owned();
    name.push("_data");
    Ok(file.with_file_name(name))
}

/// Refuses to replace what `pipe export` did not write.
fn check_target(
    file: &Path,
    overwrite: bool,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<(), Error> {
    let path = file.to_owned();
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    if !file.is_file() {
        return Err(ExportError::NotAFile { path }.into());
    }
    match overwrite || begins(file, is_ours)? {
        true => Ok(()),
        false => Err(ExportError::Foreign { paths: vec![path] }.into()),
    }
}

/// Whether the file begins like one that `pipe export` has written.
fn begins(file: &Path, is_ours: impl Fn(&[u8]) -> bool) -> Result<bool, Error> {
    let mut start = Vec::new();
    let read = regular::open(file).and_then(|it| it.take(64).read_to_end(&mut start));
    read.map_err(FileError::at("reading", file))?;
    Ok(is_ours(&start))
}

/// Writes the parameters of `graph`, whose file is written next. An earlier graph is removed first: it would
/// read these as its own.
fn replace_data(path: &Path, content: &[u8], graph: &Path) -> Result<(), Error> {
    let target = target(path)?;
    let placed = place_beside(&target, content, |from| {
        if graph.is_file() {
            disk::remove_file(graph)?;
        }
        disk::rename(from, &target)
    });
    Ok(placed?)
}

/// Writes a file in full or not at all.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    Ok(write_beside(&target(path)?, content)?)
}

/// The file to replace, in a folder that may have to be made. A symbolic link stays; its target is replaced.
fn target(path: &Path) -> Result<PathBuf, Error> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        disk::create_folders(folder).map_err(FileError::at("making the folder", folder))?;
    }
    Ok(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_graph_lies_beside_the_parameters_of_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let graph = folder.path().join("onnx/model.onnx");
        let data = data_of(&graph).unwrap();
        assert_eq!(data, folder.path().join("onnx/model.onnx_data"));
        replace_data(&data, b"first", &graph).unwrap();
        write(&graph, b"graph").unwrap();
        replace_data(&data, b"second", &graph).unwrap();
        assert_eq!(std::fs::read(&data).unwrap(), b"second");
        assert!(!graph.exists());
        assert_eq!(std::fs::read_dir(data.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_graph_in_a_folder_called_onnx_has_its_tokenizer_in_the_folder_above() {
        for (file, folder) in [
            ("out/onnx/model.onnx", "out"),
            ("onnx/model.onnx", ""),
            ("out/model.onnx", "out"),
            ("model.onnx", ""),
            ("/onnx/model.onnx", "/"),
        ] {
            assert_eq!(folder_of(Path::new(file)), Path::new(folder), "{file}");
        }
    }
}
