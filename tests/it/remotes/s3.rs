//! Remotes in S3, against a real server on this machine: `s3s-fs`, which keeps a bucket as a
//! folder. The tests look for it at `$PIPE_TEST_S3_SERVER`, on the path, and in
//! `~/.cache/pipe-tools/bin` (`cargo install s3s-fs --version 0.14.1 --locked --features binary
//! --root ~/.cache/pipe-tools`). Without it they print that they are skipped.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::harness::{Ended, Project};
use crate::remotes::{STAGES, carried, files_below, objects, record_in, replace, warnings};

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "somebody"), ("AWS_SECRET_ACCESS_KEY", "something")];
const WRONG_KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "somebody"), ("AWS_SECRET_ACCESS_KEY", "wrong")];

const RUN: [&str; 4] = ["run", "--json", "--remote", "lab"];

/// A server with an empty bucket.
struct Server {
    folder: TempDir,
    program: PathBuf,
    port: u16,
    child: Mutex<Option<Child>>,
}

impl Server {
    /// `None`, with a message, if the program is not installed.
    fn start() -> Option<Server> {
        let Some(program) = program() else {
            eprintln!("skipped: there is no s3s-fs on the path or in ~/.cache/pipe-tools/bin");
            return None;
        };
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("bucket")).unwrap();
        // The port was free a moment ago, and no test asks for a certain port.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Server { folder, program, port, child: Mutex::new(None) };
        server.restart();
        Some(server)
    }

    /// Starts the server again, and returns when it listens.
    fn restart(&self) {
        let (key, secret) = (KEYS[0].1, KEYS[1].1);
        let mut command = Command::new(&self.program);
        command.args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--access-key", key, "--secret-key", secret]).arg(self.folder.path());
        command.env("RUST_LOG", "info").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("server is running")));
        // Keep reading, so that its output never fills the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        *self.child.lock().unwrap() = Some(child);
    }

    fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The folder with the objects of the remote.
    fn root(&self) -> PathBuf {
        self.folder.path().join("bucket/some/prefix")
    }

    fn clone_of(&self) -> Project {
        project_at(self.port, STAGES)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn project_at(port: u16, stages: &str) -> Project {
    let url = "s3://bucket/some/prefix";
    let endpoint = format!("http://127.0.0.1:{port}");
    Project::new(&format!(
        "remotes: {{lab: {{url: '{url}', endpoint: '{endpoint}', region: here, timeout: 20s}}}}\n{stages}"
    ))
}

fn program() -> Option<PathBuf> {
    let given = std::env::var_os("PIPE_TEST_S3_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("s3s-fs"));
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let tool = home.join(".cache/pipe-tools/bin/s3s-fs");
    given.into_iter().chain(on_path).chain([tool]).find(|program| program.is_file())
}

#[track_caller]
fn pipe(project: &Project, arguments: &[&str]) -> Ended {
    project.pipe_with(arguments, &KEYS)
}

#[track_caller]
fn push(project: &Project) -> String {
    carried(&pipe(project, &["push", "--json"]).expect_code(0))
}

#[track_caller]
fn pull(project: &Project) -> String {
    carried(&pipe(project, &["pull", "--json"]).expect_code(0))
}

#[test]
fn what_was_pushed_to_s3_is_pulled_into_an_empty_clone() {
    let Some(server) = Server::start() else { return };
    let (here, there) = (server.clone_of(), server.clone_of());
    pipe(&here, &["run"]).expect_code(0);
    assert_eq!(push(&here), "a=pushed b=pushed");
    assert_eq!(push(&here), "a=there b=there");
    assert_eq!(pull(&there), "a=pulled b=pulled");
    there.expect_run(&[], "a=hit b=hit");
    assert_eq!(there.read("out/large"), here.read("out/large"));
    there.pipe(&["cache", "verify"]).expect_code(0);
    let names: Vec<String> = files_below(&server.root());
    let stored = files_below(&here.path("cache"));
    let kept = |name: &&String| name.starts_with("objects/") || name.starts_with("records/");
    assert_eq!(names.iter().collect::<Vec<_>>(), stored.iter().filter(kept).collect::<Vec<_>>());
}

#[test]
fn what_one_clone_computed_another_does_not_compute_again_over_s3() {
    let Some(server) = Server::start() else { return };
    let (one, other) = (server.clone_of(), server.clone_of());
    assert_eq!(pipe(&one, &RUN).expect_code(0).outcomes(), "a=ran b=ran");
    assert_eq!(pipe(&other, &RUN).expect_code(0).outcomes(), "a=hit b=hit");
    assert_eq!(other.take_log(), "");
    assert_eq!(pipe(&other, &RUN).expect_code(0).summary()["remote"]["pulled"], 0);
}

#[test]
fn a_flipped_byte_and_a_truncated_object_in_the_bucket_are_noticed_and_replaced() {
    let Some(server) = Server::start() else { return };
    pipe(&server.clone_of(), &RUN).expect_code(0);
    let large = objects(&server.root()).1;
    let whole = fs::read(&large).unwrap();
    let flipped = [&whole[..1000], &[whole[1000] ^ 1], &whole[1001..]].concat();
    for damaged in [flipped.as_slice(), &whole[..whole.len() / 3], &[]] {
        replace(&large, damaged);
        let ended = pipe(&server.clone_of(), &["pull"]).expect_code(1);
        assert!(ended.stderr.contains("is damaged there"), "{}", ended.stderr);
        let runner = server.clone_of();
        let ended = pipe(&runner, &RUN).expect_code(0);
        assert_eq!(ended.outcomes(), "a=hit b=ran");
        assert!(warnings(&ended)[0].contains("it is computed here"), "{}", ended.stdout);
        assert_eq!(fs::read(&large).unwrap(), whole);
    }
}

#[test]
fn wrong_credentials_are_said_and_none_are_hinted_at() {
    let Some(server) = Server::start() else { return };
    let project = server.clone_of();
    let ended = project.pipe_with(&RUN, &WRONG_KEYS).expect_code(0);
    assert_eq!(ended.outcomes(), "a=ran b=ran");
    let said = warnings(&ended);
    assert!(said.len() == 1 && said[0].contains("access denied"), "{said:?}");
    assert!(said[0].contains("SignatureDoesNotMatch"), "{said:?}");
    let ended = project.pipe_with(&["push"], &WRONG_KEYS).expect_code(1);
    assert!(ended.stderr.contains("access denied"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("wrong"), "{}", ended.stderr);
    // The user's own file has the right credentials.
    let config = "remotes: {lab: {access_key_id: somebody, secret_access_key: something}}";
    project.write("config/pipe/config.yaml", config);
    project.pipe(&["push"]).expect_code(0);
}

#[test]
fn a_record_planted_in_the_bucket_without_a_signature_is_not_used() {
    let Some(server) = Server::start() else { return };
    pipe(&server.clone_of(), &RUN).expect_code(0);
    let secret = [KEYS[0], KEYS[1], ("PIPE_REMOTE_SECRET", "ours")];
    let ours = server.clone_of();
    let ended = ours.pipe_with(&RUN, &secret).expect_code(0);
    assert_eq!(ended.outcomes(), "a=ran b=ran");
    assert!(warnings(&ended)[0].contains("is not signed"), "{}", ended.stdout);
    let ended = server.clone_of().pipe_with(&RUN, &secret).expect_code(0);
    assert_eq!(ended.outcomes(), "a=hit b=hit");
    // Now plant a record over the signed one.
    let record = record_in(&server.root(), "b");
    let text = fs::read_to_string(&record).unwrap();
    let (body, _) = text.rsplit_once(",\"check\"").unwrap();
    let planted: serde_json::Value =
        serde_json::from_str(&(body.replace("\"seconds\":", "\"seconds\":1") + "}")).unwrap();
    replace(&record, pipe::store::record::with_check(&planted).unwrap().as_bytes());
    let ended = server.clone_of().pipe_with(&RUN, &secret).expect_code(0);
    assert_eq!(ended.outcomes(), "a=hit b=ran");
}

/// A proxy that kills the server after `after` bytes in one direction. Returns its port and the
/// number of bytes that have passed in that direction.
fn killing_proxy(server: &Arc<Server>, after: usize, of_answers: bool) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The proxy outlives the test, so it must not keep the server alive.
    let (server_port, server) = (server.port, Arc::downgrade(server));
    let passed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&passed);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let client = stream.unwrap();
            // Once the server is gone, so is the proxy.
            let Ok(behind) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
            let ways = [
                (client.try_clone().unwrap(), behind.try_clone().unwrap(), !of_answers),
                (behind, client, of_answers),
            ];
            for (from, to, counts) in ways {
                let (server, passed) = (Weak::clone(&server), Arc::clone(&passed));
                std::thread::spawn(move || {
                    pass(from, to, |bytes| {
                        let all = passed.fetch_add(bytes * usize::from(counts), Ordering::SeqCst);
                        if counts
                            && all < after
                            && all + bytes >= after
                            && let Some(server) = server.upgrade()
                        {
                            server.kill();
                        }
                    });
                });
            }
        }
    });
    (port, counted)
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut passed: impl FnMut(usize)) {
    let mut buffer = [0; 1 << 14];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        passed(read);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A stage whose output of 38 MB moves in several parts.
const LARGE: &str = "stages: {a: {run: 'seq 5000000 > $OUT_x', outputs: [x]}}";

#[test]
fn a_server_killed_in_the_midst_of_a_push_leaves_nothing_half_and_the_next_one_completes_it() {
    let Some(server) = Server::start() else { return };
    let server = Arc::new(server);
    // More than the four parts that move at once: the first has arrived, the last is under way.
    let (proxy, passed) = killing_proxy(&server, 36_000_000, false);
    let project = project_at(proxy, LARGE);
    pipe(&project, &["run"]).expect_code(0);
    let ended = pipe(&project, &["push"]).expect_code(1);
    assert!(ended.stderr.contains("hint: what was transferred is kept"), "{}", ended.stderr);
    let whole = |name: &String| name.starts_with("objects/") || name.starts_with("records/");
    assert!(!files_below(&server.root()).iter().any(whole));
    let notes = project.stored("partial");
    let lines = fs::read_to_string(&notes[0]).unwrap().lines().count();
    assert!(notes.len() == 1 && lines > 1, "{lines} lines: at least one part had arrived");
    server.restart();
    // Parts that have arrived are not sent again.
    let before = passed.load(Ordering::SeqCst);
    assert_eq!(push(&project), "a=pushed");
    let again = passed.load(Ordering::SeqCst) - before;
    assert!(again < 39_000_000 - (lines - 1) * 8_000_000, "{again} bytes, {lines} lines");
    assert!(project.stored("partial").is_empty());
    assert_eq!(pull(&project_at(proxy, LARGE)), "a=pulled");
}

#[test]
fn an_upload_whose_beginning_the_server_has_thrown_away_begins_anew() {
    let Some(server) = Server::start() else { return };
    let server = Arc::new(server);
    let project = project_at(killing_proxy(&server, 20_000_000, false).0, LARGE);
    pipe(&project, &["run"]).expect_code(0);
    pipe(&project, &["push"]).expect_code(1);
    for entry in fs::read_dir(server.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
    server.restart();
    assert_eq!(push(&project), "a=pushed");
    assert_eq!(pull(&project_at(server.port, LARGE)), "a=pulled");
}

#[test]
fn a_server_killed_in_the_midst_of_a_pull_leaves_a_beginning_that_the_next_one_goes_on_from() {
    let Some(server) = Server::start() else { return };
    let server = Arc::new(server);
    let here = project_at(server.port, LARGE);
    pipe(&here, &RUN).expect_code(0);

    // The pull.
    let (proxy, _) = killing_proxy(&server, 25_000_000, true);
    let there = project_at(proxy, LARGE);
    pipe(&there, &["pull"]).expect_code(1);
    assert!(there.stored("records").is_empty() && there.stored("objects").is_empty());
    let partial = there.stored("partial");
    let length = fs::metadata(&partial[0]).unwrap().len();
    assert!(length > 0, "{length}");
    server.restart();
    let ended = pipe(&there, &["pull", "--json"]).expect_code(0);
    assert_eq!(carried(&ended), "a=pulled");
    there.pipe(&["cache", "verify"]).expect_code(0);

    // A run continues without the remote.
    let (proxy, _) = killing_proxy(&server, 25_000_000, true);
    let there = project_at(proxy, LARGE);
    let ended = pipe(&there, &RUN).expect_code(0);
    assert_eq!(ended.outcomes(), "a=ran");
    let said = warnings(&ended);
    assert!(said.len() == 1 && said[0].contains("the run goes on without it"), "{said:?}");
}

#[test]
fn a_server_that_never_answers_is_given_up_after_the_time_out() {
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let project = project_at(port, STAGES);
    let text = project.read("pipeline.yaml").replace("timeout: 20s", "timeout: 300ms");
    project.write("pipeline.yaml", &text);
    let ended = pipe(&project, &RUN).expect_code(0);
    assert_eq!(ended.outcomes(), "a=ran b=ran");
    let said = warnings(&ended);
    assert!(said.len() == 1 && said[0].contains("it sent nothing for 300ms"), "{said:?}");
    let ended = pipe(&project, &["push"]).expect_code(1);
    assert!(ended.stderr.contains("it sent nothing for 300ms"), "{}", ended.stderr);
    // Uploads do not delay the run either.
    project.write("pipeline.yaml", &text.replace("timeout", "trust: push, timeout"));
    let ended = pipe(&project, &[&RUN[..], &["--set", "a.n=2"]].concat()).expect_code(0);
    assert_eq!(ended.outcomes(), "a=ran b=ran");
    assert_eq!(warnings(&ended).len(), 1, "{:?}", warnings(&ended));
}

#[test]
fn credentials_do_not_follow_a_redirection_to_another_host() {
    use crate::server::{Answer, Server};
    let other = Server::start(|_| Answer::new(404, b""));
    let elsewhere = other.url("");
    let server = Server::start(move |request| {
        Answer::new(307, b"").header("Location", &format!("{elsewhere}{}", request.path))
    });
    let port = server.url("").rsplit_once(':').unwrap().1.parse().unwrap();
    let project = project_at(port, STAGES);
    let with_token = [KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "for a session")];
    let ended = project.pipe_with(&["pull"], &with_token).expect_code(1);
    assert!(ended.stderr.contains("which must not get your credentials"), "{}", ended.stderr);
    let tokens = |server: &Server| -> Vec<_> {
        let header = |request: crate::server::Request| {
            request.header("x-amz-security-token").map(str::to_owned)
        };
        server.asked().into_iter().map(header).collect()
    };
    assert!(tokens(&server).iter().all(|token| token.as_deref() == Some("for a session")));
    assert_eq!(tokens(&other), []);
}

#[test]
fn a_redirection_within_the_host_is_followed() {
    use crate::server::{Answer, Server};
    let server = Server::start(|request| match request.path.strip_prefix("/bucket") {
        Some(rest) => Answer::new(307, b"").header("Location", &format!("/moved{rest}")),
        None => Answer::new(404, b""),
    });
    let port = server.url("").rsplit_once(':').unwrap().1.parse().unwrap();
    pipe(&project_at(port, STAGES), &["pull"]).expect_code(0);
    assert!(server.paths().iter().any(|path| path.starts_with("/moved/")), "{:?}", server.paths());
}
