//! A web server for the tests of downloads. One thread serves one request at a time; a closure
//! gives the answers, and the server keeps a list of the requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// How long a dripping answer pauses after each byte: 200 bytes a second.
const BETWEEN_DRIPS: std::time::Duration = std::time::Duration::from_millis(5);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The `N` of a `Range: bytes=N-…`.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok()
    }
}

/// The answer to a request.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection breaks after this many bytes of the body.
    pub cut_after: Option<usize>,
    /// The body comes one byte at a time, until the client has had enough.
    pub drips: bool,
}

impl Answer {
    pub fn new(status: u16, body: &[u8]) -> Answer {
        Answer { status, headers: Vec::new(), body: body.to_vec(), cut_after: None, drips: false }
    }

    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn cut_after(mut self, bytes: usize) -> Answer {
        self.cut_after = Some(bytes);
        self
    }

    pub fn dripping(mut self) -> Answer {
        self.drips = true;
        self
    }

    /// The requested range of the body, from a server that supports ranges.
    pub fn ranged(request: &Request, body: &[u8]) -> Answer {
        match request.range_start() {
            Some(start) if start < body.len() => {
                let asked = request.header("range").unwrap_or_default();
                let end = asked.rsplit('-').next().and_then(|end| end.parse::<usize>().ok());
                let end = end.unwrap_or(body.len() - 1).min(body.len() - 1);
                let range = format!("bytes {start}-{end}/{}", body.len());
                Answer::new(206, &body[start..=end]).header("Content-Range", &range)
            }
            Some(_) => Answer::new(416, b""),
            None => Answer::new(200, body),
        }
    }
}

pub struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (known, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // The client may close the connection early.
                let _ = stream.and_then(|stream| serve(stream, &answer, &known));
            }
        });
        Server { address, asked, stop, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths of all requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|request| request.path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for the next connection.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    answer: impl Fn(&Request) -> Answer,
    asked: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let request = Request { path, headers };
    asked.lock().unwrap().push(request.clone());
    let Answer { status, headers, body, cut_after, drips } = answer(&request);
    let mut out = &stream;
    write!(out, "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len())?;
    for (name, value) in headers {
        write!(out, "{name}: {value}\r\n")?;
    }
    out.write_all(b"\r\n")?;
    if drips {
        for byte in body.chunks(1) {
            out.write_all(byte)?;
            std::thread::sleep(BETWEEN_DRIPS);
        }
        return Ok(());
    }
    out.write_all(&body[..cut_after.unwrap_or(body.len())])
}
