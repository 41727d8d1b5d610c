//! `pipe job --from SPEC NAME PARCEL`, hidden: what a node does for a stage whose store it does not
//! see. It builds the stage's folder from the files in the remote, runs the stage as everywhere
//! else ([`super::on_node`]), and uploads the result to the remote.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::executor::ExecutorError;
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFile, JobFolder, Submission};
use crate::executor::slurm::on_node::{self, OnNode};
use crate::executor::slurm::parcel::{Homeward, Outward, copy_files, link_files, note, tree};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::files::tree::{FoundFiles, Tree, files_below};
use crate::files::unique;
use crate::remote::{Remote, Trouble};
use crate::store::Store;
use crate::store::key::Key;

/// What the node was told to do.
pub struct ByRemote<'a> {
    pub remote: &'a Remote,
    /// The submission's name.
    pub name: &'a str,
    /// The parcel's name, which begins with the stage's key.
    pub parcel: &'a str,
}

/// Runs the stage. An error means that the remote could not be used; how the stage ended is stored
/// in the remote.
pub fn execute(what: &ByRemote, binary: &Path) -> Result<(), ExecutorError> {
    let base = temporary_folder().join(format!("pipe-{}-{}", what.parcel, unique::random()));
    disk::create_folders(&base).map_err(FileError::at("making the folder", &base))?;
    let done = execute_in(what, &base, binary);
    let _ = disk::remove_folders(&base);
    done
}

/// The temporary folder of this node, or of this job if the cluster provides one.
fn temporary_folder() -> PathBuf {
    let given = ["SLURM_TMPDIR", "TMPDIR"].into_iter().find_map(std::env::var_os);
    let given = given.filter(|folder| !folder.is_empty());
    let folder = given.map_or_else(std::env::temp_dir, PathBuf::from);
    // The stage runs in another folder.
    std::path::absolute(&folder).unwrap_or(folder)
}

fn execute_in(what: &ByRemote, base: &Path, binary: &Path) -> Result<(), ExecutorError> {
    let store = Store::new(&base.join("store"));
    store.prepare()?;
    let folder = JobFolder(base.join("job"));
    let trouble = |trouble: Trouble| SlurmError::ByRemote {
        remote: what.remote.name().to_owned(),
        problem: trouble.to_string(),
    };
    let Some(key) = what.parcel.split('-').next().and_then(|key| key.parse::<Key>().ok()) else {
        return Err(trouble(Trouble::Damaged { name: what.parcel.to_owned() }).into());
    };
    let Unpacked { job, known_as } = match unpack(what, key, base, &folder, &store) {
        Ok(Some(unpacked)) => unpacked,
        // The parcel was given up, or the name means another remote on this node.
        Ok(None) => return Err(trouble(Trouble::Absent { name: what.parcel.to_owned() }).into()),
        Err(problem) => {
            let refused = Homeward::Refused(problem.to_string());
            return Ok(what
                .remote
                .write_note(&note(what.parcel, "result"), key, &refused)
                .map_err(trouble)?);
        }
    };
    let state = store.state_folder(key);
    let send_state = || -> Result<(), Trouble> {
        if !state.is_dir() {
            return Ok(());
        }
        let sent = what.remote.send_files(&state, &store)?;
        what.remote.write_note(&note(what.parcel, "state"), key, &sent.to_text())
    };
    let path = folder.0.clone();
    let on_node = OnNode { name: what.name.to_owned(), path, to_stdout: false };
    // Before asking for another turn: nothing is certain after that.
    on_node::execute_with(&on_node, binary, &|| drop(send_state()))?;
    let Some(result) = folder.result() else { return Ok(()) };
    if !result.status.is_success() {
        // If this fails, a training has to start over; that is slower, not wrong.
        let _ = send_state();
    }
    for said in [&job.log, &folder.events_file()] {
        rename_in(said, &known_as)?;
    }
    let outputs = folder.0.join("out");
    // What the engine would refuse must not get lost on the way to it.
    if let Err(problem) = files_below(&outputs).and_then(FoundFiles::without_dangling) {
        let refused = Homeward::Refused(problem.to_string());
        what.remote.write_note(&note(what.parcel, "result"), key, &refused).map_err(trouble)?;
        return Ok(());
    }
    let mut files = Tree::default();
    let mut add = |from: &Path, to: &str| -> Result<(), Trouble> {
        let sent = what.remote.send_files(from, &store)?;
        // A single file has the empty path below itself.
        let named = |relative: String| match relative.as_str() {
            "" => to.to_owned(),
            _ => format!("{to}/{relative}"),
        };
        files.files.extend(sent.files.into_iter().map(|(relative, file)| (named(relative), file)));
        files.empty_folders.extend(sent.empty_folders.into_iter().map(named));
        Ok(())
    };
    let sends = [(outputs.as_path(), "out"), (job.log.as_path(), "log")];
    let events = folder.events_file();
    for (from, to) in sends.into_iter().chain([(events.as_path(), "events.jsonl")]) {
        if from.exists() {
            add(from, to).map_err(trouble)?;
        }
    }
    let home = Homeward::Ended { result, files: files.to_text() };
    what.remote.write_note(&note(what.parcel, "result"), key, &home).map_err(trouble)?;
    Ok(())
}

struct Unpacked {
    /// The process to start.
    job: JobFile,
    /// Paths on this node, each with the name that the engine uses for it.
    known_as: Vec<(String, String)>,
}

/// Builds the stage's folder. `None` if the remote does not have the parcel.
fn unpack(
    what: &ByRemote,
    key: Key,
    base: &Path,
    folder: &JobFolder,
    store: &Store,
) -> Result<Option<Unpacked>, Trouble> {
    let Some(sent) = what.remote.read_note::<Outward>(what.parcel, key)? else { return Ok(None) };
    // A result of an earlier start of this job, which was requeued.
    what.remote.remove_note(&note(what.parcel, "result"))?;
    let scratch = Scratch::new(&store.scratch_folder())?;
    let mut files = tree(&sent.files, what.parcel)?;
    what.remote.fetch_files(&files, store, &scratch)?;
    let state = match what.remote.read_note::<String>(&note(what.parcel, "state"), key)? {
        Some(newer) => newer,
        None => sent.state.clone(),
    };
    let state = tree(&state, what.parcel)?;
    what.remote.fetch_files(&state, store, &scratch)?;
    let state_folder = store.state_folder(key);
    disk::create_folders(&state_folder)
        .map_err(FileError::at("making the folder", &state_folder))?;
    copy_files(&state, &state_folder, store)?;

    for made in [folder.0.clone(), folder.0.join("in"), folder.0.join("out")] {
        disk::create_folders(&made).map_err(FileError::at("making the folder", &made))?;
    }
    // The folder and the store lie elsewhere on this node.
    let moved = [(sent.folder.as_path(), folder.0.as_path()), (sent.store.as_path(), store.root())];
    let mut texts = files.clone();
    files.files.retain(|relative, _| relative.starts_with("in/"));
    files.empty_folders.retain(|relative| relative.starts_with("in/"));
    texts.files.retain(|relative, _| matches!(relative.as_str(), "stage.json" | "job.json"));
    link_files(&files, &folder.0, store)?;
    for (relative, file) in &texts.files {
        let object = store.object(file.content());
        let text = std::fs::read(&object).map_err(FileError::at("reading", &object))?;
        let damaged = |_| Trouble::Damaged { name: relative.clone() };
        let mut value: Value = serde_json::from_slice(&text).map_err(damaged)?;
        relocate(&mut value, &moved);
        let path = folder.0.join(relative);
        let text = serde_json::to_vec(&value).map_err(damaged)?;
        disk::write_new(&path, &text).map_err(FileError::at("writing", &path))?;
    }
    let job = folder.job().map_err(FileError::at("reading", &folder.job_file()))?;
    let Some(mut job) = job else {
        return Err(Trouble::Damaged { name: what.parcel.to_owned() });
    };
    // The project is not visible here either.
    job.working_folder = base.join("work");
    for made in job.log.parent().into_iter().chain([job.working_folder.as_path()]) {
        disk::create_folders(made).map_err(FileError::at("making the folder", made))?;
    }
    folder.write_job(&job)?;
    let index = std::env::var("SLURM_ARRAY_TASK_ID").ok().and_then(|text| text.parse().ok());
    folder.write_submission(&Submission { name: what.name.to_owned(), index })?;
    let pair =
        |here: &Path, there: &Path| (here.display().to_string(), there.display().to_string());
    let objects = files
        .files
        .iter()
        .map(|(relative, file)| pair(&store.object(file.content()), &sent.folder.join(relative)));
    let known_as = objects.chain([pair(&folder.0, &sent.folder)]).collect();
    Ok(Some(Unpacked { job, known_as }))
}

/// Replaces this node's paths in a text file by the engine's.
fn rename_in(file: &Path, known_as: &[(String, String)]) -> Result<(), FileError> {
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(()) };
    let renamed =
        known_as.iter().fold(text.clone(), |text, (here, there)| text.replace(here, there));
    if renamed == text {
        Ok(())
    } else {
        crate::files::scratch::write_beside(file, renamed.as_bytes())
    }
}

/// Moves every string that is a path below one of the first folders to the second folder.
fn relocate(value: &mut Value, moved: &[(&Path, &Path)]) {
    match value {
        Value::String(text) => {
            let path = Path::new(text.as_str());
            let found = moved.iter().find_map(|(from, to)| {
                let below = path.strip_prefix(from).ok().filter(|_| path.is_absolute())?;
                Some(if below.as_os_str().is_empty() { to.to_path_buf() } else { to.join(below) })
            });
            if let Some(found) = found.as_deref().and_then(Path::to_str) {
                *text = found.to_owned();
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| relocate(value, moved)),
        Value::Object(all) => all.values_mut().for_each(|value| relocate(value, moved)),
        _ => {}
    }
}
