//! A running service, and a client that sends what a test tells it to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout};

use serde_json::Value;

use crate::harness::{Ended, Project};

/// A running service. It is killed on drop if it has not ended.
pub struct Service {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub url: String,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Service {
    /// Starts `pipe serve` on any port, and waits until it listens.
    #[track_caller]
    pub fn start(project: &Project, arguments: &[&str]) -> Service {
        Service::start_with(project, arguments, &[])
    }

    #[track_caller]
    pub fn start_with(
        project: &Project,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Service {
        let all = [&["serve", "--port", "0"], arguments].concat();
        let mut child = project.child(&all, environment);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        stdout.read_line(&mut url).unwrap();
        if url.is_empty() {
            let ended = Ended::of(child.wait_with_output().unwrap());
            panic!("the service did not start: {}", ended.stderr);
        }
        Service { child, stdout, url: url.trim().to_owned() }
    }

    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).unwrap()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"))
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, &body.to_string(), &[("Content-Type", "application/json")])
    }

    #[track_caller]
    pub fn post_with(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(&request(path, body, headers))
    }

    /// Sends these bytes on a connection of their own.
    #[track_caller]
    pub fn send(&self, bytes: &str) -> Reply {
        let mut connection = self.connect();
        // The service may refuse a request before it has read it.
        let _ = connection.write_all(bytes.as_bytes());
        read_reply(&mut connection).unwrap()
    }

    /// The value of a line of `/metrics`, 0 if it is not there.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Asks again until a line of `/metrics` has this value or more.
    #[track_caller]
    pub fn wait_for_metric(&self, name: &str, at_least: f64) {
        while self.metric(name) < at_least {
            std::thread::yield_now();
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Ended { code: status.code(), signal: None, stdout, stderr }
    }

    /// Ends it as `systemd` does, and gives what it has printed.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.end()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The message of a refusal, after checking its status and type.
    #[track_caller]
    pub fn refused(self, status: u16, kind: &str) -> String {
        let json = self.expect(status).json();
        assert_eq!(json["error_type"], kind, "{json}");
        json["error"].as_str().unwrap().to_owned()
    }
}

pub fn request(path: &str, body: &str, headers: &[(&str, &str)]) -> String {
    let mut text =
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "Connection: close\r\n\r\n" + body
}

/// Reads an answer up to the end of the connection; `None` if there is none.
pub fn read_reply(connection: &mut TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    match connection.read_to_end(&mut bytes) {
        // A refusal comes before the rest of the request was read, which resets the connection.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some(Reply { status, headers, body: body.to_owned() })
}
