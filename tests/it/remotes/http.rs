//! A web server that serves the files of a remote, which is read-only.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::Project;
use crate::remotes::{Lab, STAGES, carried, objects, warnings};
use crate::server::{Answer, Request, Server};

const RUN: [&str; 2] = ["--remote", "web"];

/// A remote in a folder, with the results of a run. The server below serves it, and projects
/// declare that server as `web`.
fn results() -> Lab {
    let lab = Lab::new();
    lab.clone_of().run(&["--remote", "lab"]).expect_code(0);
    lab
}

fn clone_of(server: &Server) -> Project {
    let url = server.url("/results");
    Project::new(&format!("remotes: {{web: {{url: '{url}', timeout: 5s}}}}\n{STAGES}"))
}

fn file(root: &Path, request: &Request) -> Option<Vec<u8>> {
    fs::read(root.join(request.path.strip_prefix("/results/")?)).ok()
}

fn serve(lab: &Lab, answer: impl Fn(&Request, &[u8]) -> Answer + Send + 'static) -> Server {
    let root = lab.root();
    Server::start(move |request| match file(&root, request) {
        Some(bytes) => answer(request, &bytes),
        None => Answer::new(404, b"no such file"),
    })
}

#[test]
fn a_web_server_can_be_pulled_from_and_not_pushed_to() {
    let lab = results();
    let server = serve(&lab, Answer::ranged);
    let project = clone_of(&server);
    assert_eq!(carried(&project.pipe(&["pull", "--json"]).expect_code(0)), "a=pulled b=pulled");
    project.expect_run(&[], "a=hit b=hit");
    clone_of(&server).expect_run(&RUN, "a=hit b=hit");

    let before = lab.files();
    let ended = clone_of(&server).expect_run(&["--remote", "web", "--set", "a.n=2"], "a=ran b=ran");
    assert!(warnings(&ended).is_empty(), "{:?}", warnings(&ended));
    assert_eq!(lab.files(), before);
    let ended = project.pipe(&["push"]).expect_code(2);
    assert!(ended.stderr.contains("`web` is for pull only"), "{}", ended.stderr);
    let text = project.read("pipeline.yaml").replace("timeout", "trust: both, timeout");
    project.write("pipeline.yaml", &text);
    let ended = project.pipe(&["push"]).expect_code(2);
    assert!(ended.stderr.contains("which is read-only"), "{}", ended.stderr);
}

#[test]
fn a_server_that_knows_no_ranges_sends_everything_at_once() {
    let lab = results();
    let server = serve(&lab, |_, bytes| Answer::new(200, bytes));
    let project = clone_of(&server);
    project.pipe(&["pull"]).expect_code(0);
    project.expect_run(&[], "a=hit b=hit");
    project.pipe(&["cache", "verify"]).expect_code(0);
}

#[test]
fn a_download_goes_on_where_an_earlier_one_was_broken_off() {
    let lab = results();
    let object = objects(&lab.root()).1;
    let whole = fs::read(&object).unwrap();
    let server = serve(&lab, Answer::ranged);
    let project = clone_of(&server);
    let partial = project.path("cache/partial").join(object.file_name().unwrap());
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, &whole[..1_500_000]).unwrap();
    project.pipe(&["pull"]).expect_code(0);
    let starts: Vec<_> = server.asked().iter().filter_map(Request::range_start).collect();
    assert_eq!(starts, [1_500_000]);
    project.pipe(&["cache", "verify"]).expect_code(0);
}

#[test]
fn a_server_in_trouble_and_a_broken_connection_are_asked_again() {
    let lab = results();
    let asked = Arc::new(AtomicUsize::new(0));
    let server = serve(&lab, move |request, bytes| match asked.fetch_add(1, Ordering::SeqCst) {
        count if count % 3 == 0 => Answer::new(503, b"busy"),
        _ => Answer::ranged(request, bytes),
    });
    clone_of(&server).pipe(&["pull"]).expect_code(0);

    let cuts = Arc::new(AtomicUsize::new(0));
    let server = serve(&lab, move |request, bytes| {
        let answer = Answer::ranged(request, bytes);
        match bytes.len() > 1_000_000 && cuts.fetch_add(1, Ordering::SeqCst) < 2 {
            true => answer.cut_after(70_000),
            false => answer,
        }
    });
    let project = clone_of(&server);
    project.pipe(&["pull"]).expect_code(0);
    project.pipe(&["cache", "verify"]).expect_code(0);
}

#[test]
fn what_is_refused_or_wrong_does_not_stop_a_run() {
    let lab = results();
    let server = serve(&lab, |_, _| Answer::new(403, b"no"));
    let ended = clone_of(&server).expect_run(&RUN, "a=ran b=ran").expect_code(0);
    assert!(warnings(&ended)[0].contains("access denied"), "{:?}", warnings(&ended));
    assert_eq!(warnings(&ended).len(), 1);

    // The server answers every request with a web page.
    let server = serve(&lab, |_, _| Answer::new(200, b"<html>please log in</html>"));
    let ended = clone_of(&server).expect_run(&RUN, "a=ran b=ran").expect_code(0);
    assert!(warnings(&ended)[0].contains("is damaged, or of another key"));
    assert_eq!(warnings(&ended).len(), 1);
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_is_done_without() {
    let lab = results();
    let project = |server: &Server| {
        let project = clone_of(server);
        let text = project.read("pipeline.yaml").replace("timeout: 5s", "timeout: 200ms");
        project.write("pipeline.yaml", &text);
        project
    };
    // Every answer drips, so the first record already does.
    let server = serve(&lab, |_, bytes| Answer::new(200, bytes).dripping());
    let ended = project(&server).expect_run(&RUN, "a=ran b=ran").expect_code(0);
    assert_eq!(warnings(&ended).len(), 1, "{:?}", warnings(&ended));
    assert!(warnings(&ended)[0].contains("less than 1 KiB a second"), "{:?}", warnings(&ended));
    // Large objects drip.
    let server = serve(&lab, |request, bytes| match bytes.len() {
        0..100_000 => Answer::ranged(request, bytes),
        _ => Answer::ranged(request, bytes).dripping(),
    });
    let ended = project(&server).pipe(&["pull"]).expect_code(1);
    // This server answers one request at a time, so it is silent to the others.
    let slow = ["less than 1 KiB a second came for 200ms", "it sent nothing for 200ms"];
    assert!(slow.iter().any(|said| ended.stderr.contains(said)), "{}", ended.stderr);
    assert!(ended.stderr.contains("run the same command again to resume"), "{}", ended.stderr);
}
