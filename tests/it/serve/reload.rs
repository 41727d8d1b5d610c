//! The model of a running service is replaced, and no request notices.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::client::Service;
use super::copy_model;
use crate::harness::Project;
use crate::job::{ALL_RAN, project_of_epochs};

const LOADED: &str = "pipe_model_reloads_total{result=\"loaded\"}";
const FAILED: &str = "pipe_model_reloads_total{result=\"failed\"}";

fn score(service: &Service) -> Value {
    service.post("/classify", &json!({"inputs": "so tired"})).expect(200).json()["probabilities"]
        .take()
}

/// Asks all the time while `change` runs. Every request has to be answered.
fn without_a_failed_request(service: &Service, change: impl FnOnce()) {
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    score(service);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while asked.load(Ordering::Relaxed) < 20 {
            std::thread::yield_now();
        }
        change();
        let before = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < before + 20 {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn retrained() -> Project {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    project
}

#[test]
fn a_run_with_another_model_is_served_without_a_failed_request() {
    let project = retrained();
    let service = Service::start(&project, &[]);
    let before = (score(&service), service.get("/info").json()["model_sha"].clone());
    let pipeline =
        project.read("pipeline.yaml").replace("learning_rate: 1.0e-4", "learning_rate: 5.0e-3");
    without_a_failed_request(&service, || {
        project.write("pipeline.yaml", &pipeline);
        project.run(&[]).expect_code(0);
        service.wait_for_metric(LOADED, 1.0);
    });
    let after = (score(&service), service.get("/info").json()["model_sha"].clone());
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?} and {after:?}");
    let fresh = Service::start(&project, &[]);
    assert_eq!((score(&fresh), fresh.get("/info").json()["model_sha"].clone()), after);
}

#[test]
fn a_folder_is_loaded_again_when_it_changes_and_on_sighup() {
    let project = retrained();
    copy_model(&project, "finetune:model", &project.path("served"));
    let service = Service::start(&project, &["--model", "served"]);
    let before = score(&service);
    without_a_failed_request(&service, || {
        service.signal(Signal::HUP);
        service.wait_for_metric(LOADED, 1.0);
    });
    assert_eq!(score(&service), before);
    // Another decision: the labels change their places.
    let path = project.path("served/config.json");
    let config = fs::read_to_string(&path).unwrap();
    let turned = config.replace("\"NOT_SARCASM\"", "\"OTHER\"");
    assert_ne!(turned, config);
    fs::write(project.path("new.json"), &turned).unwrap();
    without_a_failed_request(&service, || {
        fs::rename(project.path("new.json"), &path).unwrap();
        service.wait_for_metric(LOADED, 2.0);
    });
    assert!(score(&service).get("OTHER").is_some());
    // A model that cannot be loaded changes nothing.
    fs::write(&path, "{").unwrap();
    service.wait_for_metric(FAILED, 1.0);
    assert!(score(&service).get("OTHER").is_some());
    fs::remove_dir_all(project.path("served")).unwrap();
    service.signal(Signal::HUP);
    service.wait_for_metric(FAILED, 2.0);
    assert!(score(&service).get("OTHER").is_some());
    let ended = service.terminate().expect_code(0);
    assert!(ended.stderr.contains("the service keeps its model"), "{}", ended.stderr);
}
