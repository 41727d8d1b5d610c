//! The page for people, in a headless Chromium if there is one.

use super::client::Service;
use super::trained;
use crate::harness::Project;
use crate::report::browser::{browser, shown};

#[test]
fn the_page_is_whole_and_closed() {
    let service = Service::start(&trained(), &[]);
    let reply = service.get("/").expect(200);
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(policy.contains("connect-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for outside in ["http://", "https://", "//cdn", "url("] {
        assert!(!reply.body.contains(outside), "{outside}");
    }
    assert!(!reply.body.contains("{script}") && !reply.body.contains("{style}"));
}

#[test]
fn the_page_shows_a_label_and_the_words_that_spoke_for_it() {
    let Some(browser) = browser() else {
        eprintln!("skipped: no Chromium on the PATH or in PIPE_CHROMIUM");
        return;
    };
    let project = trained();
    let service = Service::start(&project, &[]);
    // A folder of its own for what the browser writes.
    let folder = Project::new("stages: {}\n");
    let text = "what%20a%20lovely%20%3Cimg%20src%3Dx%3E%20day";
    let (page, console) = shown(&browser, &folder, &format!("{}/#{text}", service.url));
    assert_eq!(console, Vec::<String>::new());
    let after = |mark: &str| page.split(mark).nth(1).unwrap_or_else(|| panic!("{mark}: {page}"));
    let label = after("<p id=\"label\">").split('<').next().unwrap();
    assert!(["SARCASM", "NOT_SARCASM"].contains(&label), "{page}");
    assert_eq!(page.matches("<meter").count(), 2);
    let words = after("id=\"words\">").split("</p>").next().unwrap();
    assert_eq!(words.matches("<span").count(), 6, "{words}");
    assert!(words.contains("lovely ") && words.contains("&lt;img ") && !words.contains("<img"));
    assert!(words.contains("class=\"for") || words.contains("class=\"against"), "{words}");
    assert!(after("<p id=\"model\">").starts_with("the model of the pipeline (roberta"), "{page}");
    assert_eq!(service.metric("pipe_requests_total{route=\"/explain\",status=\"200\"}"), 1.0);

    let arguments = ["--api-key-env", "SERVE_KEY"];
    let locked = Service::start_with(&project, &arguments, &[("SERVE_KEY", "s3cret")]);
    let (page, _) = shown(&browser, &folder, &locked.url);
    assert!(page.contains("<p id=\"locked\">") && page.contains("needs its key"), "{page}");
}
