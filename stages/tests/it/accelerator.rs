//! The device that a stage takes, and what is checked before a model is loaded on it.

#![cfg(feature = "model")]

use crate::finetune::{Data, LABELS, rows};
use crate::harness::{Done, Run};
use crate::reference::{device_name, fixture};

fn predict_on(name: &'static str, precision: &str) -> Done {
    let data = Data::new();
    let run = Run::new("predict").input_path("model", fixture("roberta-irony")).device(name);
    let run = run.param("precision", precision);
    run.input_path("test", data.file("test", &rows(3), &LABELS)).run()
}

#[test]
fn a_missing_device_is_named() {
    for name in ["cuda:7", "vulkan:7"] {
        let error = predict_on(name, "f32").error();
        assert!(error.contains(&format!("`{name}` is not available")), "{error}");
    }
}

#[test]
fn a_device_of_an_unknown_kind_is_refused_with_the_kinds_that_there_are() {
    let error = predict_on("tpu", "f32").error();
    assert!(error.contains("`tpu`") && error.contains("`vulkan:N`"), "{error}");
}

/// A build without GPUs, and one on a machine that has none, must not fail. Neither may a software
/// device be taken.
#[test]
fn auto_takes_a_device_that_computes() {
    let done = predict_on("auto", "f32");
    assert_eq!(done.rows("predictions").len(), 3);
    let device = done.events.iter().find(|event| event["event"] == "device").unwrap();
    assert!(!device["name"].as_str().unwrap().contains("software"), "{device}");
}

/// `PIPE_TEST_DEVICE` names a device to ask: lavapipe and NVIDIA GPUs before Ampere have no bfloat16.
#[test]
fn bf16_on_a_device_without_it_is_refused_before_anything_is_computed() {
    let done = predict_on(device_name(), "bf16");
    if device_name() == "cpu" || done.result.is_ok() {
        assert_eq!(done.rows("predictions").len(), 3);
        return;
    }
    let error = done.error();
    assert!(error.contains("`precision: bf16` on"), "{error}");
    assert!(error.contains("use `precision: f32`"), "{error}");
    assert!(done.events.iter().all(|event| event["event"] != "device"), "{:?}", done.events);
}

/// `PIPE_TEST_DEVICE` names a device to ask.
#[test]
fn int8_on_a_gpu_is_refused_before_anything_is_computed() {
    let done = predict_on(device_name(), "int8");
    if device_name() == "cpu" {
        assert_eq!(done.rows("predictions").len(), 3);
        return;
    }
    let error = done.error();
    assert!(error.contains("`precision: int8` on"), "{error}");
    assert!(done.events.iter().all(|event| event["event"] != "device"), "{:?}", done.events);
}
