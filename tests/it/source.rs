//! Downloads from a server on this machine: URLs with a digest, and a small hub with models and data.

mod hub;
mod hub_data;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pipe::pipeline::Input;
use pipe::sources::download_error::DownloadError;
use pipe::sources::downloads::Downloads;
use pipe::sources::hub_settings::HubSettings;

use crate::harness::Project;
use crate::server::{Answer, Request, Server};

/// Downloads into a folder of their own.
struct TestDownloads {
    folder: tempfile::TempDir,
    downloads: Downloads,
}

/// Downloads into an empty folder, from the hub at `endpoint`, without waiting before a retry.
fn place(endpoint: &str) -> TestDownloads {
    let folder = tempfile::tempdir().unwrap();
    let hub = HubSettings {
        endpoint: endpoint.to_owned(),
        cache: Some(folder.path().join("hub")),
        token: None,
        offline: false,
    };
    let downloads = Downloads {
        folder: folder.path().join("downloads"),
        hub,
        offline: false,
        retries: 2,
        backoff: Duration::ZERO,
        patience: Duration::from_secs(60),
    };
    TestDownloads { folder, downloads }
}

fn nowhere() -> TestDownloads {
    place("http://127.0.0.1:9")
}

impl TestDownloads {
    fn fetch(&self, input: &Input) -> Result<PathBuf, DownloadError> {
        self.downloads.fetch(input, &mut |_| {})
    }

    fn in_downloads(&self) -> Vec<String> {
        names(&self.downloads.folder)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// More than fits into one read, with no part like another.
fn content() -> Vec<u8> {
    (0u32..50_000).flat_map(u32::to_le_bytes).collect()
}

fn pinned(url: String, content: &[u8]) -> Input {
    Input::Url { url, blake3: Some(blake3::hash(content).to_hex().to_string()) }
}

#[test]
fn a_download_is_verified_kept_and_not_repeated() {
    let server = Server::start(|request| Answer::ranged(request, &content()));
    let place = nowhere();
    let input = pinned(server.url("/data.jsonl?raw=1"), &content());
    assert_eq!(place.downloads.locate(&input), None);

    let mut seen = Vec::new();
    let path = place.downloads.fetch(&input, &mut |progress| {
        assert_eq!(progress.file, "data.jsonl");
        seen.push((progress.done_bytes, progress.total_bytes));
    });
    let path = path.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    assert!(std::fs::metadata(&path).unwrap().permissions().readonly());
    assert_eq!(seen.first(), Some(&(0, Some(200_000))));
    assert_eq!(seen.last(), Some(&(200_000, Some(200_000))));

    assert_eq!(place.downloads.locate(&input), Some(path.clone()));
    assert_eq!(place.fetch(&input).unwrap(), path);
    assert_eq!(server.asked().len(), 1);
    assert_eq!(place.in_downloads().len(), 1, "nothing but the file stays");
}

#[test]
fn a_url_that_names_a_commit_needs_no_digest_and_is_downloaded_once() {
    let server = Server::start(|request| Answer::ranged(request, &content()));
    let place = nowhere();
    let url = server.url(&format!("/owner/name/{}/data.jsonl", "0123456789".repeat(4)));
    let input = Input::Url { url, blake3: None };
    assert_eq!(place.downloads.locate(&input), None);
    let path = place.fetch(&input).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content());
    assert_eq!(place.fetch(&input).unwrap(), path);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_wrong_digest_keeps_nothing_and_says_both() {
    let server = Server::start(|_| Answer::new(200, b"something else"));
    let place = nowhere();
    let input = pinned(server.url("/f"), b"what was pinned");
    let error = place.fetch(&input).unwrap_err();
    let found = blake3::hash(b"something else").to_hex();
    let expected = blake3::hash(b"what was pinned").to_hex();
    assert!(error.to_string().contains(found.as_str()), "{error}");
    assert!(error.to_string().contains(expected.as_str()), "{error}");
    assert!(error.hint(&["train"]).unwrap().contains("--set train=FILE"));
    assert_eq!(place.in_downloads(), [""; 0]);
    assert_eq!(server.asked().len(), 1, "a retry would bring the same bytes");
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let server = Server::start(|request| match request.range_start() {
        None => Answer::ranged(request, &content()).cut_after(70_000),
        Some(_) => Answer::ranged(request, &content()),
    });
    let place = nowhere();
    let path = place.fetch(&pinned(server.url("/f"), &content())).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
    let starts: Vec<_> = server.asked().iter().map(Request::range_start).collect();
    assert_eq!(starts, [None, Some(70_000)]);
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_was_killed() {
    let server = Server::start(|request| Answer::ranged(request, &content()));
    let place = nowhere();
    let input = pinned(server.url("/f"), &content());
    let leave = |bytes: &[u8]| {
        let name = format!("{}.part", blake3::hash(&content()).to_hex());
        std::fs::create_dir_all(&place.downloads.folder).unwrap();
        std::fs::write(place.downloads.folder.join(name), bytes).unwrap();
    };
    leave(&content()[..1_000]);
    let path = place.fetch(&input).unwrap();
    assert_eq!(server.asked()[0].range_start(), Some(1_000));

    // Whatever an earlier run left, the file is right in the end.
    for left in [&b"not the beginning of it"[..], &content(), &[7; 300_000]] {
        std::fs::remove_file(&path).unwrap();
        leave(left);
        assert_eq!(std::fs::read(place.fetch(&input).unwrap()).unwrap(), content());
    }
}

#[test]
fn a_server_without_ranges_sends_everything_again() {
    let tries = AtomicUsize::new(0);
    let server = Server::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(200, &content()).cut_after(70_000),
        _ => Answer::new(200, &content()),
    });
    let place = nowhere();
    let path = place.fetch(&pinned(server.url("/f"), &content())).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content());
}

#[test]
fn a_download_that_never_gets_whole_is_given_up() {
    let server = Server::start(|_| Answer::new(200, &content()).cut_after(1_000));
    let place = nowhere();
    let error = place.fetch(&pinned(server.url("/f"), &content())).unwrap_err();
    assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
    assert!(server.asked().len() <= 5, "{}", server.asked().len());
    assert!(
        place.in_downloads()[0].ends_with(".part"),
        "the bytes so far are kept for the next run"
    );
}

#[test]
fn a_server_in_trouble_is_asked_again_and_a_missing_file_is_not() {
    let tries = AtomicUsize::new(0);
    let server = Server::start(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Answer::new(503, b"busy"),
        _ => Answer::new(200, &content()),
    });
    nowhere().fetch(&pinned(server.url("/f"), &content())).unwrap();
    assert_eq!(server.asked().len(), 3);

    let server = Server::start(|_| Answer::new(404, b"no"));
    let error = nowhere().fetch(&pinned(server.url("/f"), &content())).unwrap_err();
    assert!(matches!(error, DownloadError::Status { status: 404, .. }), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_redirection_is_followed() {
    let server = Server::start(|request| match request.path.as_str() {
        "/old" => Answer::new(302, b"").header("Location", "/new"),
        _ => Answer::ranged(request, &content()),
    });
    nowhere().fetch(&pinned(server.url("/old"), &content())).unwrap();
    assert_eq!(server.paths(), ["/old", "/new"]);
}

#[test]
fn a_redirection_leads_to_web_addresses_only_and_ends() {
    let error_for = |location: &'static str| {
        let server = Server::start(move |_| Answer::new(302, b"").header("Location", location));
        let place = nowhere();
        let error = place.fetch(&pinned(server.url("/f"), b"x")).unwrap_err();
        assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
        error.to_string()
    };
    assert!(
        error_for("file:///etc/passwd").ends_with("redirects to an address of the kind `file:`")
    );
    assert!(error_for("http://[").contains("the server redirects wrongly"));
    assert!(error_for("/f").ends_with("the server redirects more than 10 times"));
}

#[test]
fn offline_nothing_is_asked_and_the_way_by_hand_is_told() {
    let server = Server::start(|request| Answer::ranged(request, &content()));
    let mut place = nowhere();
    place.downloads.offline = true;
    let url = server.url("/f");
    let error = place.fetch(&pinned(url.clone(), &content())).unwrap_err();
    let hint = error.hint(&["train", "score.inputs.labels"]).unwrap();
    let by_hand = place.downloads.folder.join(blake3::hash(&content()).to_hex().as_str());
    assert_eq!(
        hint,
        format!(
            "with a network: download {url} by hand and copy it to {}, \
             or pass --set train=FILE --set score.inputs.labels=FILE",
            by_hand.display()
        )
    );
    assert!(server.asked().is_empty());
    assert!(place.in_downloads().is_empty());

    std::fs::create_dir_all(&place.downloads.folder).unwrap();
    std::fs::write(&by_hand, content()).unwrap();
    assert_eq!(place.fetch(&pinned(url, &content())).unwrap(), by_hand);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let error = nowhere().fetch(&pinned("http://127.0.0.1:9/f".to_owned(), b"x")).unwrap_err();
    assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
    assert!(error.to_string().starts_with("downloading `http://127.0.0.1:9/f`: "), "{error}");
}

#[test]
fn an_artifact_is_nothing_to_download() {
    let artifact = Input::Artifact { stage: "a".to_owned(), output: "b".to_owned() };
    let error = nowhere().fetch(&artifact).unwrap_err();
    assert_eq!(error.to_string(), "`a:b` is made by a stage, it cannot be downloaded");
}

#[test]
fn a_run_killed_at_any_change_of_the_downloads_resumes_and_has_the_right_file() {
    let server = Server::start(|request| Answer::ranged(request, &content()));
    let digest = blake3::hash(&content()).to_hex();
    let url = server.url("/f");
    let project = || {
        Project::new(&format!(
            "stages:\n  a: {{run: 'cat $IN_f > $OUT_x', \
             inputs: {{f: {{url: '{url}', blake3: {digest}}}}}, outputs: [x]}}\n"
        ))
    };
    let run = |project: &Project, fault: &str| {
        let log = project.path("points.log");
        let environment = [("PIPE_FAULT", fault), ("PIPE_FAULT_LOG", log.to_str().unwrap())];
        project.pipe_with(&["run", "--json", "--jobs", "1"], &environment)
    };
    let undisturbed = project();
    run(&undisturbed, "1000000").expect_code(0);
    let points = undisturbed.read("points.log");
    let of_downloads = points.lines().filter(|line| line.contains("/downloads/"));
    let numbers: Vec<&str> = of_downloads.map(|line| line.split(' ').next().unwrap()).collect();
    // Before and after each of: create, write in two halves, flush, change of mode, rename.
    assert!(numbers.len() >= 12, "{points}");
    for number in numbers {
        let project = project();
        assert_eq!(run(&project, number).signal, Some(9), "killed at point {number}");
        project.expect_run(&[], "a=ran").expect_code(0);
        let file = project.path("cache/downloads").join(digest.as_str());
        assert_eq!(std::fs::read(file).unwrap(), content(), "killed at point {number}");
        assert_eq!(project.entries("downloads").len(), 1, "killed at point {number}");
    }
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_is_not_waited_for() {
    let server = Server::start(|request| match request.path.as_str() {
        "/whole" => Answer::new(200, &content()),
        _ => Answer::new(200, &content()).dripping(),
    });
    let mut place = nowhere();
    place.downloads.patience = Duration::from_millis(200);
    let error = place.fetch(&pinned(server.url("/drip"), &content())).unwrap_err();
    assert!(error.to_string().contains("less than 1 KiB a second came for 200ms"), "{error}");
    assert!(error.hint(&[]).unwrap().contains("by hand"));
    assert_eq!(server.asked().len(), 1, "it is as slow the next time");
    place.fetch(&pinned(server.url("/whole"), &content())).unwrap();
}

#[test]
fn a_server_that_breaks_off_after_each_byte_is_not_asked_for_ever() {
    let server = Server::start(|request| Answer::ranged(request, &content()).cut_after(1));
    let place = nowhere();
    let error = place.fetch(&pinned(server.url("/cut"), &content())).unwrap_err();
    assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
    assert_eq!(server.asked().len(), 3);
}
