//! Requests that are too large, too slow, too many, or without a key.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::client::{Service, read_reply, request};
use super::trained;

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn what_is_too_large_is_refused_with_its_limit() {
    let project = trained();
    let limits = ["--max-texts", "3", "--max-body", "2000"];
    let service = Service::start(&project, &limits);
    let four = json!({"inputs": [["a"], ["b"], ["c"], ["d"]]});
    let refused = service.post("/predict", &four).refused(413, "Validation");
    assert_eq!(refused, "there are 4 texts, the most is 3 (`--max-texts`)");
    let words = json!({"inputs": "one two three"});
    let refused = service.post("/explain", &words).refused(413, "Validation");
    assert!(refused.starts_with("there are 4 texts, the whole one and one without"), "{refused}");
    let long = json!({"inputs": "x".repeat(2000)}).to_string();
    let refused = service.post_with("/predict", &long, &[JSON]).refused(413, "Validation");
    assert_eq!(refused, "the body has more than 2000 bytes (`--max-body`)");
    // Without a length, it is only known when it comes.
    let chunk = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let head = "POST /predict HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let refused = service.send(&format!("{head}{chunk}")).refused(413, "Validation");
    assert_eq!(refused, "the body has more than 2000 bytes (`--max-body`)");
    // A text with more tokens than the model reads is cut as in the pipeline, or refused.
    let long = "so ".repeat(600);
    let body = |truncate: Value| json!({"inputs": [["a"], [long]], "truncate": truncate});
    service.post("/predict", &body(json!(true))).expect(200);
    service.post("/predict", &body(Value::Null)).expect(200);
    let refused = service.post("/predict", &body(json!(false))).refused(413, "Validation");
    let most = service.get("/info").json()["max_input_length"].as_u64().unwrap();
    let expected = format!("`inputs[1]` has more than {most} tokens");
    assert!(refused.starts_with(&expected) && refused.contains("truncate"), "{refused}");
    // The next requests are answered.
    service.post("/predict", &json!({"inputs": "a"})).expect(200);
    assert_eq!(service.metric("pipe_queue_texts"), 0.0);
}

#[test]
fn a_text_of_too_many_tokens_is_refused() {
    let project = trained();
    let service = Service::start(&project, &["--max-tokens", "5"]);
    let texts = json!({"inputs": [["a"], ["so so so so so so so so"]]});
    let refused = service.post("/predict", &texts).refused(413, "Validation");
    assert!(refused.starts_with("`inputs[1]` has "), "{refused}");
    assert!(refused.ends_with("tokens, the most is 5 (`--max-tokens`)"), "{refused}");
    service.post("/predict", &json!({"inputs": "a"})).expect(200);
}

#[test]
fn a_full_queue_refuses_requests_and_says_when_to_try_again() {
    let project = trained();
    let service = Service::start(&project, &["--queue", "8", "--max-texts", "8"]);
    let inputs: Vec<Vec<String>> =
        (0..8).map(|row| vec![format!("{row} so ").repeat(60)]).collect();
    let body = json!({ "inputs": inputs });
    // More requests than have room, until one of them is refused.
    let refused = std::thread::scope(|scope| {
        let ask = || {
            loop {
                let reply = service.post("/predict", &body);
                if reply.status != 200
                    || service.metric("pipe_requests_total{route=\"/predict\",status=\"429\"}")
                        > 0.0
                {
                    return (reply.status == 429).then_some(reply);
                }
            }
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let replies = clients.into_iter().filter_map(|client| client.join().unwrap());
        replies.last().unwrap()
    });
    assert_eq!(refused.header("retry-after"), Some("1"));
    let message = refused.refused(429, "Overloaded");
    assert!(message.contains("`--queue`"), "{message}");
    service.post("/predict", &body).expect(200);
    assert_eq!(service.metric("pipe_queue_texts"), 0.0);
    let told = project.pipe(&["serve", "--queue", "4", "--max-texts", "5"]).expect_code(2).stderr;
    assert!(told.contains("raise `--queue`"), "{told}");
}

/// A request that takes a hundred batches of `--batch-tokens 100`.
fn large() -> Value {
    let text = |row: usize| vec![format!("{row} so ").repeat(40)];
    json!({"inputs": (0..100).map(text).collect::<Vec<_>>()})
}

#[test]
fn a_text_alone_does_not_wait_for_all_texts_of_a_large_request() {
    let project = trained();
    let service = Service::start(&project, &["--batch-tokens", "100"]);
    let mut asking = service.connect();
    asking.write_all(request("/predict", &large().to_string(), &[JSON]).as_bytes()).unwrap();
    service.wait_for_metric("pipe_queue_texts", 100.0);
    service.post("/predict", &json!({"inputs": "so"})).expect(200);
    assert_eq!(service.metric("pipe_queue_texts"), 100.0, "the large request was answered first");
    read_reply(&mut asking).unwrap().expect(200);
}

#[test]
fn texts_of_a_client_that_has_gone_are_not_computed() {
    let project = trained();
    let service = Service::start(&project, &["--batch-tokens", "100"]);
    let mut asking = service.connect();
    asking.write_all(request("/predict", &large().to_string(), &[JSON]).as_bytes()).unwrap();
    service.wait_for_metric("pipe_queue_texts", 100.0);
    drop(asking);
    while service.metric("pipe_queue_texts") > 0.0 {
        std::thread::yield_now();
    }
    let computed = service.metric("pipe_batch_texts_sum");
    assert!(computed < 100.0, "{computed} texts were computed");
}

#[test]
fn half_requests_and_silent_connections_hold_nobody_up() {
    let project = trained();
    let service = Service::start(&project, &["--client-timeout", "1"]);
    let mut half_head = service.connect();
    half_head.write_all(b"POST /predict HTTP/1.1\r\nHost: te").unwrap();
    let whole = request("/predict", &json!({"inputs": "a"}).to_string(), &[JSON]);
    let mut half_body = service.connect();
    half_body.write_all(&whole.as_bytes()[..whole.len() - 3]).unwrap();
    let mut silent = service.connect();
    service.post("/predict", &json!({"inputs": "a"})).expect(200);
    let refused = read_reply(&mut half_body).unwrap().refused(408, "Validation");
    assert!(refused.contains("did not come within 1 s"), "{refused}");
    // The others are closed.
    for connection in [&mut half_head, &mut silent] {
        let mut rest = Vec::new();
        let _ = connection.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
    service.post("/predict", &json!({"inputs": "a"})).expect(200);
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_its_answers_loses_its_place() {
    let project = trained();
    let service = Service::start(&project, &["--client-timeout", "1"]);
    let mut deaf = service.connect();
    // Longer than any test takes.
    deaf.set_write_timeout(Some(std::time::Duration::from_secs(300))).unwrap();
    let error = loop {
        if let Err(error) = deaf.write_all(request("/predict", "{", &[JSON]).repeat(100).as_bytes())
        {
            break error;
        }
    };
    let closed = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::BrokenPipe];
    assert!(closed.contains(&error.kind()), "{error:?}");
}

#[test]
fn a_thousand_idle_connections_do_not_matter() {
    let project = trained();
    let service = Service::start(&project, &[]);
    let mut idle: Vec<TcpStream> = (0..1_000).map(|_| service.connect()).collect();
    // One more for the request itself.
    service.wait_for_metric("pipe_connections", 1_001.0);
    service.post("/predict", &json!({"inputs": "a"})).expect(200);
    // They can still be used.
    let last = idle.last_mut().unwrap();
    let whole = request("/predict", &json!({"inputs": "a"}).to_string(), &[JSON]);
    last.write_all(whole.as_bytes()).unwrap();
    read_reply(last).unwrap().expect(200);
    drop(idle);
    while service.metric("pipe_connections") > 1.0 {
        std::thread::yield_now();
    }
}

#[test]
fn only_clients_with_the_key_are_served() {
    let project = trained();
    let arguments = ["--api-key-env", "SERVE_KEY", "--log-texts"];
    let service = Service::start_with(&project, &arguments, &[("SERVE_KEY", "s3cret")]);
    let ask = |key: &str| {
        let headers = [JSON, ("Authorization", key)];
        service.post_with("/predict", &json!({"inputs": "a"}).to_string(), &headers)
    };
    ask("Bearer s3cret").expect(200);
    for wrong in ["Bearer s3cre", "Bearer s3crets", "s3cret", "Basic s3cret", "Bearer "] {
        let reply = ask(wrong);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        reply.refused(401, "Unauthorized");
    }
    for path in ["/info", "/metrics", "/openapi.json", "/nothing"] {
        service.get(path).refused(401, "Unauthorized");
    }
    service.post("/predict", &json!({"inputs": "a"})).refused(401, "Unauthorized");
    service.get("/health").expect(200);
    service.get("/").expect(200);
    let ended = service.terminate().expect_code(0);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    // A key that is missing does not mean that there is none.
    let told = project.pipe(&["serve", "--port", "0", "--api-key-env", "NO_KEY_HERE"]);
    let told = told.expect_code(2).stderr;
    assert!(told.contains("`NO_KEY_HERE`"), "{told}");
}

#[test]
fn texts_are_logged_only_when_that_is_asked_for() {
    let project = trained();
    let said = |arguments: &[&str]| {
        let service = Service::start(&project, arguments);
        service.post("/predict", &json!({"inputs": "a secret word"})).expect(200);
        service.post("/predict", &json!({"inputs": ["a secret word", "b", "c"]})).expect(422);
        service.terminate().expect_code(0).stderr
    };
    let quiet = said(&[]);
    assert!(!quiet.contains("secret") && !quiet.contains("POST"), "{quiet}");
    let requests = said(&["--verbose"]);
    assert!(!requests.contains("secret") && requests.contains("POST /predict 200"), "{requests}");
    let texts = said(&["--log-texts"]);
    assert!(texts.contains("\"a secret word\""), "{texts}");
}
