//! The few HTTP/1.1 requests that a live page needs, and their answers. No request can change anything, and
//! none names a file.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The head of a request has at most so many bytes, and arrives within this time.
const HEAD_LIMIT: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Page { body: bool },
    Events,
}

/// A refusal: the status and a sentence.
pub type Refusal = (&'static str, String);

/// Reads a request. `None` if the other side sent nothing that could be answered.
pub fn read(stream: &mut TcpStream, port: u16) -> Option<Result<Asked, Refusal>> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    loop {
        let left = deadline.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())?;
        stream.set_read_timeout(Some(left)).ok()?;
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        head.extend_from_slice(&piece[..count]);
        if let Some(asked) = parse(&head, port) {
            return Some(asked);
        }
        if head.len() > HEAD_LIMIT {
            return Some(Err(("431 Request Header Fields Too Large", "too long".to_owned())));
        }
    }
}

/// `None` if the head is not complete.
fn parse(head: &[u8], port: u16) -> Option<Result<Asked, Refusal>> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return None,
        Err(error) => return Some(Err(("400 Bad Request", error.to_string()))),
    }
    let values = |name: &str| -> Vec<String> {
        let of_name = request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
        of_name.map(|it| String::from_utf8_lossy(it.value).to_ascii_lowercase()).collect()
    };
    let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    // A page of another site whose name leads here has that name as its host (DNS rebinding).
    match &values("host")[..] {
        [host] if hosts.contains(host) => {}
        _ => {
            let problem = format!("this page is at http://{}/ only", hosts[0]);
            return Some(Err(("403 Forbidden", problem)));
        }
    }
    let is_foreign =
        |origin: &String| !hosts.iter().any(|host| *origin == format!("http://{host}"));
    if values("origin").iter().any(is_foreign) {
        let problem = "this page is for no other site".to_owned();
        return Some(Err(("403 Forbidden", problem)));
    }
    let body = match request.method {
        Some("GET") => true,
        Some("HEAD") => false,
        _ => return Some(Err(("405 Method Not Allowed", "only GET and HEAD".to_owned()))),
    };
    Some(match request.path {
        Some("/") => Ok(Asked::Page { body }),
        Some("/events") if body => Ok(Asked::Events),
        _ => Err(("404 Not Found", "there is only the page `/`".to_owned())),
    })
}

/// What every answer says: nothing may be kept, framed, or read by other sites.
const COMMON: &str = "Cache-Control: no-store\r\nConnection: close\r\nCross-Origin-Resource-Policy: \
                      same-origin\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
                      X-Frame-Options: DENY\r\n";

/// Answers with a whole page.
pub fn answer(stream: &mut TcpStream, page: &str, body: bool) -> io::Result<()> {
    let size = page.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\n{COMMON}Content-Type: text/html; charset=utf-8\r\nContent-Length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    if body { stream.write_all(page.as_bytes()) } else { Ok(()) }
}

/// Answers with the reason for a refusal.
pub fn refuse(stream: &mut TcpStream, (status, problem): Refusal) -> io::Result<()> {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let size = problem.len() + 1;
    let text = format!(
        "HTTP/1.1 {status}\r\n{COMMON}{allow}Content-Type: text/plain; charset=utf-8\r\nContent-Length: \
         {size}\r\n\r\n{problem}\n"
    );
    stream.write_all(text.as_bytes())
}

/// Begins a stream of server-sent events.
pub fn begin_events(stream: &mut TcpStream) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\n{COMMON}Content-Type: text/event-stream\r\n\r\n");
    stream.write_all(head.as_bytes())
}

/// Sends one event (HTML Living Standard, section 9.2, "Server-sent events").
pub fn send(stream: &mut TcpStream, event: &str, data: &str) -> io::Result<()> {
    let mut text = format!("event: {event}\n");
    for line in data.split(['\n', '\r']) {
        text += &format!("data: {line}\n");
    }
    stream.write_all((text + "\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::{Asked, parse};

    fn asked(head: &str) -> Result<Asked, &'static str> {
        parse(head.as_bytes(), 80).expect("a complete head").map_err(|(status, _)| &status[..3])
    }

    #[test]
    fn only_the_page_and_its_events_are_given_and_only_to_its_own_name() {
        let with = |line: &str, headers: &str| asked(&format!("{line} HTTP/1.1\r\n{headers}\r\n"));
        let host = "Host: 127.0.0.1:80\r\n";
        assert_eq!(with("GET /", host), Ok(Asked::Page { body: true }));
        assert_eq!(with("HEAD /", "host: LOCALHOST:80\r\n"), Ok(Asked::Page { body: false }));
        assert_eq!(with("GET /events", host), Ok(Asked::Events));
        for (line, headers, status) in [
            ("GET /", "", "403"),
            ("GET /", "Host: evil.example:80\r\n", "403"),
            ("GET /", "Host: 127.0.0.1\r\n", "403"),
            ("GET /", "Host: 127.0.0.1:80\r\nHost: evil.example\r\n", "403"),
            ("GET /events", "Host: 127.0.0.1:80\r\nOrigin: http://evil.example\r\n", "403"),
            ("GET /pipeline.yaml", host, "404"),
            ("GET /../etc/passwd", host, "404"),
            ("GET //", host, "404"),
            ("POST /", host, "405"),
            ("DELETE /events", host, "405"),
            ("GET", host, "400"),
        ] {
            assert_eq!(with(line, headers), Err(status), "{line} {headers}");
        }
        assert!(parse(b"GET / HTTP/1.1\r\nHost: 127", 80).is_none());
    }
}
