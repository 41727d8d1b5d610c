//! `pipe run --live`: what a browser gets while a run goes on, and what it does not get.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Project, Running, open_gate, read_fifo};
use crate::report::browser::browser;

/// `second` waits until the test lets it go on.
const PIPELINE: &str = r#"
stages:
  first:
    run: echo first >> ran.log; echo '{"valid_f1":0.5}' > "$OUT_metrics"
    outputs: [metrics]
  second:
    run: |
      echo second >> ran.log
      if [ -p gate ]; then echo here > ready; cat gate; fi
      echo "<script>alert(1)</script>" >&2
      cp "$IN_from" "$OUT_o"
    inputs: {from: first:metrics}
    outputs: [o]
"#;

/// A run that waits in its second stage, and the port where it is served.
fn waiting() -> (Project, Running, u16) {
    let project = Project::new(PIPELINE);
    project.fifo("ready");
    project.fifo("gate");
    let mut running = project.start(&["--live"]);
    let said = running.read_message();
    let port = said.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next());
    let port = port.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    read_fifo(&project.path("ready"));
    (project, running, port)
}

#[track_caller]
fn ask(port: u16, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .write_all(head.replace('\n', "\r\n").replace("PORT", &port.to_string()).as_bytes())
        .unwrap();
    stream
}

#[track_caller]
fn get(port: u16, head: &str) -> String {
    let mut text = String::new();
    ask(port, head).read_to_string(&mut text).unwrap();
    text
}

/// Reads events until one has these words; the name and the data of all.
#[track_caller]
fn read_until(stream: &mut TcpStream, words: &str) -> Vec<(String, String)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole: Vec<(String, String)> = text
            .split("\n\n")
            .filter_map(|event| {
                let (name, data) = event.split_once("event: ")?.1.split_once('\n')?;
                Some((name.to_owned(), data.replace("data: ", "")))
            })
            .collect();
        if text.ends_with("\n\n") && text.contains(words) {
            return whole;
        }
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "no `{words}` in\n{text}");
        bytes.extend_from_slice(&piece[..count]);
    }
}

const PAGE: &str = "GET / HTTP/1.1\nHost: 127.0.0.1:PORT\n\n";
const EVENTS: &str = "GET /events HTTP/1.1\nHost: localhost:PORT\n\n";

#[test]
fn a_page_shows_the_stages_and_changes_with_them_until_the_run_is_over() {
    let (project, running, port) = waiting();
    let page = get(port, PAGE);
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    for part in [
        "connect-src &#39;self&#39;; ",
        "Run under way",
        "1 of 2 stages ended, 1 running",
        "first  done in",
    ] {
        assert!(page.contains(part), "`{part}` is not in\n{page}");
    }
    let mut events = ask(port, EVENTS);
    let first = read_until(&mut events, "event: report");
    let of = |name: &str, events: &[(String, String)]| {
        events.iter().rfind(|(it, _)| it == name).unwrap().1.clone()
    };
    assert!(of("live", &first).contains("running</span>"), "{first:?}");
    let report: Value = serde_json::from_str(&of("report", &first)).unwrap();
    assert!(report["contents"].as_str().unwrap().contains("#stages"), "{report}");
    assert!(!report["report"].as_str().unwrap().contains("<h1>"), "{report}");

    open_gate(&project.path("gate"));
    let last = read_until(&mut events, "event: over");
    assert!(of("live", &last).contains("The run is over"), "{last:?}");
    let report: Value = serde_json::from_str(&of("report", &last)).unwrap();
    let report = report["report"].as_str().unwrap();
    assert!(report.contains("<h1>Run ") && report.contains("second: ran"), "{report}");
    let mut rest = String::new();
    assert_eq!(events.read_to_string(&mut rest).unwrap(), 0);
    let ended = running.end().expect_code(0);
    assert_eq!(ended.outcomes(), "first=ran second=ran");
    // The command has ended, and nothing listens any more.
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[test]
fn nothing_else_is_given_and_to_no_other_site() {
    let (project, running, port) = waiting();
    for (head, status) in [
        ("GET / HTTP/1.1\nHost: evil.example:PORT\n\n", "403"),
        ("GET /events HTTP/1.1\nHost: evil.example\n\n", "403"),
        ("GET /events HTTP/1.1\nHost: 127.0.0.1:PORT\nOrigin: http://evil.example\n\n", "403"),
        ("GET / HTTP/1.1\n\n", "403"),
        ("GET /pipeline.yaml HTTP/1.1\nHost: 127.0.0.1:PORT\n\n", "404"),
        ("GET /../pipeline.yaml HTTP/1.1\nHost: 127.0.0.1:PORT\n\n", "404"),
        ("POST / HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: 0\n\n", "405"),
        ("nonsense\n\n", "400"),
    ] {
        let answer = get(port, head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}\n{answer}");
    }
    open_gate(&project.path("gate"));
    running.end().expect_code(0);
}

#[test]
fn a_browser_that_reads_nothing_holds_nothing_up() {
    let (project, running, port) = waiting();
    // One has not said what it wants, one reads nothing.
    let _idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let _slow = ask(port, EVENTS);
    open_gate(&project.path("gate"));
    running.end().expect_code(0);
}

#[test]
fn ctrl_c_ends_the_run_and_the_page() {
    let (_project, running, port) = waiting();
    let mut events = ask(port, EVENTS);
    read_until(&mut events, "event: report");
    running.signal(Signal::INT);
    let last = read_until(&mut events, "event: over");
    let report = &last.iter().rfind(|(name, _)| name == "report").unwrap().1;
    assert!(report.contains("interrupted"), "{report}");
    running.end().expect_code(130);
}

#[test]
fn a_port_in_use_is_an_error_before_anything_runs() {
    let project = Project::new(PIPELINE);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let ended = project.run(&[&format!("--live={port}")]).expect_code(2);
    assert!(
        ended.stderr.contains(&format!("cannot serve the run on port {port}")),
        "{}",
        ended.stderr
    );
    assert_eq!(project.take_log(), "");
    project.run(&["--live=70000"]).expect_code(2);
    project.run(&["--live", "--dry-run"]).expect_code(2);
}

/// Passes on what a browser asks for and what it gets, and calls `seen` once it has got these words.
fn pass_on(to: u16, words: &'static str, seen: impl Fn() + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut browser in listener.incoming().map_while(Result::ok) {
            let seen = seen.clone();
            std::thread::spawn(move || {
                let (mut head, mut piece) = (Vec::new(), [0; 4096]);
                while !head.ends_with(b"\r\n\r\n") {
                    match browser.read(&mut piece) {
                        Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
                        _ => return,
                    }
                }
                let head =
                    String::from_utf8(head).unwrap().replace(&port.to_string(), &to.to_string());
                let mut served = ask(to, &head.replace("\r\n", "\n"));
                let mut got = Vec::new();
                while let Ok(count) = served.read(&mut piece)
                    && count > 0
                    && browser.write_all(&piece[..count]).is_ok()
                {
                    let before = String::from_utf8_lossy(&got).contains(words);
                    got.extend_from_slice(&piece[..count]);
                    if !before && String::from_utf8_lossy(&got).contains(words) {
                        seen();
                    }
                }
            });
        }
    });
    port
}

/// The page in Chromium, if there is one, as `report/browser.rs` finds it.
#[test]
fn a_browser_draws_what_it_is_sent_and_allows_it() {
    let Some(browser) = browser() else {
        eprintln!("skipped: there is no Chromium");
        return;
    };
    let (project, running, port) = waiting();
    let gate = project.path("gate");
    let port = pass_on(port, "event: report", move || open_gate(&gate));
    // The time of the page stands still while it waits for events, so this ends with the run.
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", project.path("profile").display()))
        .arg(format!("http://127.0.0.1:{port}/"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    running.end().expect_code(0);
    let (page, said) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // Nothing that the policy forbids, and no other error.
    let console: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(console, Vec::<&str>::new());
    for part in ["<title>Run over", "The run is over", "second: ran", "Theme: auto"] {
        assert!(page.contains(part), "`{part}` is not in\n{page}");
    }
}
