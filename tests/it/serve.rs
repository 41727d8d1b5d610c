//! `pipe serve` answers over HTTP what the pipeline predicts. The tests speak to it through sockets.

#![cfg(feature = "serve")]

mod answers;
pub mod client;
mod ends;
mod limits;
mod page;
mod reload;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::harness::Project;
use crate::job::{ALL_RAN, project_of_epochs};

/// The default pipeline after a short training, with a copy of its model in `model`. Tests that run
/// at the same time share it, so none may change it.
fn trained() -> Arc<Project> {
    static SHARED: Mutex<Weak<Project>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(project) = shared.upgrade() {
        return project;
    }
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    copy_model(&project, "finetune:model", &project.path("model"));
    let project = Arc::new(project);
    *shared = Arc::downgrade(&project);
    project
}

/// Copies a model folder out of the store.
#[track_caller]
fn copy_model(project: &Project, artifact: &str, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["config.json", "vocab.json", "merges.txt", "model.safetensors"] {
        let file = fs::File::create(to.join(name)).unwrap();
        let path = to.join(name);
        drop(file);
        let artifact = format!("{artifact}/{name}");
        project.pipe_into(path.to_str().unwrap(), &["cache", "cat", &artifact]).expect_code(0);
    }
}
