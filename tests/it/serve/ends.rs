//! How the service starts and ends.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use super::client::{Service, read_reply, request};
use super::trained;

#[test]
fn requests_that_have_begun_are_answered_after_a_signal() {
    let project = trained();
    for signal in [Signal::TERM, Signal::INT] {
        let service = Service::start(&project, &[]);
        let inputs: Vec<Vec<String>> =
            (0..100).map(|row| vec![format!("{row} so tired ").repeat(40)]).collect();
        let body = json!({ "inputs": inputs }).to_string();
        let whole = request("/predict", &body, &[("Content-Type", "application/json")]);
        let mut asking: Vec<TcpStream> = (0..3).map(|_| service.connect()).collect();
        let mut idle = service.connect();
        for connection in &mut asking {
            connection.write_all(whole.as_bytes()).unwrap();
        }
        service.wait_for_metric("pipe_queue_texts", 300.0);
        service.signal(signal);
        for connection in &mut asking {
            let reply = read_reply(connection).unwrap().expect(200).json();
            assert_eq!(reply.as_array().unwrap().len(), 100);
        }
        let mut rest = Vec::new();
        assert_eq!(idle.read_to_end(&mut rest).unwrap(), 0);
        let ended = service.end().expect_code(0);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn a_service_that_cannot_start_says_why() {
    let project = trained();
    let service = Service::start(&project, &[]);
    let port = service.address().split(':').next_back().unwrap().to_owned();
    let told = project.pipe(&["serve", "--port", &port]).expect_code(1).stderr;
    assert!(told.contains(&format!("127.0.0.1:{port}")) && told.contains("--port"), "{told}");
    let told = project.pipe(&["serve", "--port", "0", "--model", "models/none"]).expect_code(1);
    assert!(told.stderr.contains("opening the model folder `models/none`"), "{}", told.stderr);
    let told = project.pipe(&["serve", "--port", "0", "--model", "models/small-roberta"]);
    assert!(told.expect_code(1).stderr.contains("classifying:"));
    let told = project.pipe(&["serve", "--port", "0", "--batch-tokens", "0"]).expect_code(2);
    assert!(told.stderr.contains("whole number"), "{}", told.stderr);
}
