//! Models from a small hub on this machine, which answers like huggingface.co.

use std::collections::BTreeMap;
use std::path::Path;

use pipe::pipeline::Input;
use pipe::sources::download_error::DownloadError;
use pipe::sources::hub_settings::HubSettings;
use sha2::Digest;

use super::{names, nowhere, place};
use crate::server::{Answer, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

type Files = BTreeMap<String, Vec<u8>>;

fn files(names: &[&str]) -> Files {
    names.iter().map(|name| (name.to_string(), format!("content of {name}").into_bytes())).collect()
}

/// Answers like huggingface.co: `api/models/…/revision/…` and `resolve/…`. For weights, the latter
/// redirects to another address.
fn hub(files: Files, revision: &'static str) -> Server {
    Server::start(move |request| answer_as_hub(&files, revision, request))
}

fn answer_as_hub(files: &Files, revision: &str, request: &Request) -> Answer {
    if request.path == format!("/api/models/o/n/revision/{revision}?blobs=true") {
        let siblings: Vec<_> = files.iter().map(|(name, content)| sibling(name, content)).collect();
        let listing = serde_json::json!({"id": "o/n", "sha": COMMIT, "siblings": siblings});
        return Answer::new(200, listing.to_string().as_bytes());
    }
    if let Some(name) = request.path.strip_prefix("/storage/") {
        return Answer::ranged(request, &files[name]);
    }
    let resolve = format!("/o/n/resolve/{COMMIT}/");
    let Some((name, content)) =
        request.path.strip_prefix(&resolve).and_then(|name| files.get_key_value(name))
    else {
        return Answer::new(404, b"");
    };
    let etag = format!("\"{}\"", blake3::hash(content).to_hex());
    let host = request.header("host").unwrap_or_default();
    let answer = match is_large(name) {
        true => Answer::new(302, b"")
            .header("Location", &format!("http://{host}/storage/{name}"))
            .header("X-Linked-Size", &content.len().to_string())
            .header("X-Linked-Etag", &etag),
        false => Answer::ranged(request, content),
    };
    answer.header("X-Repo-Commit", COMMIT).header("ETag", &etag)
}

/// A file in the hub's listing: weights with the SHA-256 of Git LFS, others with their Git blob id.
fn sibling(name: &str, content: &[u8]) -> serde_json::Value {
    let bytes = content.len();
    match is_large(name) {
        true => serde_json::json!({
            "rfilename": name, "size": bytes, "blobId": "0".repeat(40),
            "lfs": {"sha256": sha256(content), "size": bytes, "pointerSize": 135},
        }),
        false => {
            serde_json::json!({"rfilename": name, "size": bytes, "blobId": git_blob(content)})
        }
    }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

fn sha256(content: &[u8]) -> String {
    format!("{:x}", sha2::Sha256::digest(content))
}

fn git_blob(content: &[u8]) -> String {
    let header = format!("blob {}\0", content.len());
    format!("{:x}", sha1::Sha1::new_with_prefix(header).chain_update(content).finalize())
}

fn model(revision: &str) -> Input {
    Input::Hub { repository: "o/n".to_owned(), revision: revision.to_owned() }
}

const TOKENIZER_AND_CONFIG: [&str; 3] = ["config.json", "merges.txt", "vocab.json"];

#[test]
fn a_model_is_a_folder_of_links_to_just_what_it_needs() {
    let all = files(&[
        "README.md",
        "config.json",
        "flax_model.msgpack",
        "model.safetensors",
        "onnx/model.onnx",
        "pytorch_model.bin",
        "tokenizer.json",
    ]);
    let server = hub(all, "main");
    let place = place(&server.url(""));
    assert_eq!(place.downloads.locate(&model("main")), None);
    let mut seen = BTreeMap::new();
    let folder = place.downloads.fetch(&model("main"), &mut |progress| {
        seen.insert(progress.file.to_owned(), (progress.done_bytes, progress.total_bytes));
    });
    let folder = folder.unwrap();
    assert_eq!(folder, place.downloads.folder.join(format!("o--n@{COMMIT}")));
    assert_eq!(names(&folder), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(
        std::fs::read_to_string(folder.join("model.safetensors")).unwrap(),
        "content of model.safetensors"
    );
    assert_eq!(seen["model.safetensors"], (28, Some(28)));
    assert!(!server.paths().iter().any(|path| path.contains("pytorch_model")));

    let before = server.asked().len();
    assert_eq!(place.downloads.locate(&model("main")), Some(folder.clone()));
    assert_eq!(place.downloads.locate(&model(COMMIT)), Some(folder.clone()));
    assert_eq!(place.fetch(&model("main")).unwrap(), folder);
    assert_eq!(server.asked().len(), before);
    assert_eq!(place.in_downloads(), [format!("o--n@{COMMIT}")]);
}

#[test]
fn a_sentencepiece_model_is_downloaded_where_there_is_no_other_tokenizer() {
    for (name, others) in [("spm.model", None), ("sentencepiece.bpe.model", Some("tokenizer.json"))]
    {
        let needed = ["config.json", "model.safetensors", others.unwrap_or(name)];
        let mut all = needed.to_vec();
        all.extend(others.map(|_| name));
        let server = hub(files(&all), "main");
        let place = place(&server.url(""));
        assert_eq!(names(&place.fetch(&model("main")).unwrap()), needed);
    }
}

#[test]
fn the_files_lie_where_hugging_face_tools_look_for_them() {
    let server = hub(files(&["config.json", "model.safetensors"]), "main");
    let place = place(&server.url(""));
    place.fetch(&model("main")).unwrap();
    let repository = place.folder.path().join("hub/models--o--n");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    let snapshot = repository.join("snapshots").join(COMMIT);
    assert_eq!(names(&snapshot), ["config.json", "model.safetensors"]);
    let content = |name: &str| format!("content of {name}").into_bytes();
    let mut blobs = [git_blob(&content("config.json")), sha256(&content("model.safetensors"))];
    blobs.sort();
    assert_eq!(names(&repository.join("blobs")), blobs);
    let target = std::fs::read_link(snapshot.join("config.json")).unwrap();
    assert_eq!(target, Path::new("../../blobs").join(git_blob(&content("config.json"))));
}

#[test]
fn a_repository_with_bin_files_only_gives_those() {
    let mut all = files(&TOKENIZER_AND_CONFIG);
    all.extend(files(&["pytorch_model.bin", "tf_model.h5"]));
    let server = hub(all, "main");
    let folder = place(&server.url("")).fetch(&model("main"));
    assert!(folder.unwrap().ends_with(format!("o--n@{COMMIT}")));
    let asked = server.paths();
    assert!(asked.iter().any(|path| path.ends_with("/pytorch_model.bin")), "{asked:?}");
    assert!(!asked.iter().any(|path| path.ends_with("tf_model.h5")), "{asked:?}");
}

#[test]
fn shards_come_with_their_index() {
    let index = serde_json::json!({"metadata": {}, "weight_map": {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
        "c": "model-00002-of-00002.safetensors",
    }});
    let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut all = files(&["config.json", "model-00003-of-00002.safetensors"]);
    all.extend(files(&shards));
    all.insert("model.safetensors.index.json".to_owned(), index.to_string().into_bytes());
    let server = hub(all, "main");
    let place = place(&server.url(""));
    let folder = place.fetch(&model("main")).unwrap();
    assert_eq!(
        names(&folder),
        ["config.json", shards[0], shards[1], "model.safetensors.index.json"]
    );
}

#[test]
fn an_index_cannot_name_files_outside_of_the_model() {
    let with_shard = |shard: &str, listed: bool| {
        let mut all = files(&["config.json"]);
        let index = serde_json::json!({"weight_map": {"a": shard}}).to_string();
        all.insert("model.safetensors.index.json".to_owned(), index.into_bytes());
        if listed {
            all.extend(files(&[shard]));
        }
        let server = hub(all, "main");
        place(&server.url("")).fetch(&model("main")).unwrap_err().to_string()
    };
    // Even if the hub lists this file.
    for shard in ["../outside.safetensors", "/outside", "a/b.safetensors", ".hidden"] {
        let error = with_shard(shard, true);
        assert!(error.ends_with(&format!("names the shard `{shard}`")), "{error}");
    }
    let error = with_shard("missing.safetensors", false);
    assert!(error.ends_with("the shard `missing.safetensors`, which is not there"), "{error}");
}

#[test]
fn a_revision_can_be_a_commit_or_a_pull_request() {
    let server = hub(files(&["config.json", "model.safetensors"]), COMMIT);
    let first = place(&server.url(""));
    first.fetch(&model(COMMIT)).unwrap();

    let server = hub(files(&["config.json", "model.safetensors"]), "refs%2Fpr%2F1");
    let second = place(&server.url(""));
    let folder = second.fetch(&model("refs/pr/1")).unwrap();
    assert_eq!(second.downloads.locate(&model("refs/pr/1")), Some(folder));
}

#[test]
fn what_another_tool_has_cached_is_used_offline() {
    let mut place = nowhere();
    place.downloads.hub.offline = true;
    let error = place.fetch(&model("main")).unwrap_err();
    assert!(matches!(error, DownloadError::Offline { .. }), "{error}");
    assert_eq!(
        error.hint(&["model"]).unwrap(),
        "with a network: download config.json, model.safetensors (or pytorch_model.bin) and the \
         tokenizer's files from http://127.0.0.1:9/o/n/tree/main into a folder, \
         or pass --set model=FOLDER"
    );
    let repository = place.folder.path().join("hub/models--o--n");
    let snapshot = repository.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    place.fetch(&model("main")).unwrap_err();
    for name in ["pytorch_model.bin", "vocab.txt", "other.txt"] {
        std::fs::write(snapshot.join(name), "").unwrap();
    }
    let folder = place.fetch(&model("main")).unwrap();
    assert_eq!(names(&folder), ["config.json", "pytorch_model.bin", "vocab.txt"]);
}

#[test]
fn without_a_network_the_cache_is_used_and_else_the_error_says_why() {
    let server = hub(files(&["config.json", "model.safetensors"]), "main");
    let mut place = place(&server.url(""));
    let folder = place.fetch(&model("main")).unwrap();
    drop(server);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(place.fetch(&model("main")).unwrap(), folder);

    std::fs::remove_dir_all(place.folder.path().join("hub")).unwrap();
    // The folder of links is still there, but its links are dead.
    assert_eq!(place.downloads.locate(&model(COMMIT)), None);
    place.downloads.retries = 0;
    let error = place.fetch(&model("main")).unwrap_err();
    assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
}

#[test]
fn a_cache_that_was_cleaned_is_filled_again() {
    let server = hub(files(&["config.json", "model.safetensors"]), "main");
    let place = place(&server.url(""));
    let folder = place.fetch(&model("main")).unwrap();
    std::fs::remove_dir_all(place.folder.path().join("hub")).unwrap();
    assert_eq!(place.fetch(&model("main")).unwrap(), folder);
    assert!(folder.join("model.safetensors").exists());
}

#[test]
fn what_is_no_model_is_refused() {
    for names in [&["config.json"][..], &["model.safetensors"]] {
        let server = hub(files(names), "main");
        let error = place(&server.url("")).fetch(&model("main")).unwrap_err();
        assert!(matches!(error, DownloadError::NotAModel { .. }), "{error}");
    }
}

#[test]
fn a_private_model_asks_for_the_token_and_the_token_is_sent() {
    let all = files(&["config.json", "model.safetensors"]);
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Bearer secret") => answer_as_hub(&all, "main", request),
        _ => Answer::new(401, b""),
    });
    let mut place = place(&server.url(""));
    let error = place.fetch(&model("main")).unwrap_err();
    assert!(matches!(error, DownloadError::Status { status: 401, .. }), "{error}");
    assert!(error.hint(&[]).unwrap().starts_with("if the model is private or gated, set HF_TOKEN"));
    place.downloads.hub.token = Some("secret".to_owned());
    place.fetch(&model("main")).unwrap();
}

/// Everything below a folder.
fn everything_in(folder: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter();
    entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
}

#[test]
fn headers_of_a_hostile_hub_name_no_files() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("victim").display().to_string();
    for (header, value) in [
        ("ETag", format!("\"{target}\"")),
        ("X-Linked-Etag", format!("\"{target}\"")),
        ("ETag", "\"../../../../victim\"".to_owned()),
        ("X-Repo-Commit", "../../../../victim".to_owned()),
    ] {
        let all = files(&["config.json", "model.safetensors"]);
        let server = Server::start(move |request| {
            let mut answer = answer_as_hub(&all, "main", request);
            answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(header));
            answer.header(header, &value)
        });
        let inner = place(&server.url(""));
        let folder = inner.fetch(&model("main")).unwrap();
        assert_eq!(names(&folder), ["config.json", "model.safetensors"]);
        let all = everything_in(inner.folder.path());
        assert!(!all.iter().any(|path| path.contains("victim")), "{all:#?}");
        assert_eq!(names(outside.path()), [""; 0]);
        assert_eq!(names(inner.folder.path()), ["downloads", "hub"]);
    }
}

#[test]
fn a_checksum_or_commit_that_is_a_path_is_refused() {
    let large = serde_json::json!({"sha256": "../../../victim", "size": 2});
    for (commit, id, large) in [
        ("../../../victim", &*git_blob(b"{}"), None),
        (COMMIT, "../../../victim", None),
        (COMMIT, "/tmp/victim", None),
        (COMMIT, "", None),
        (COMMIT, &git_blob(b"{}"), Some(large)),
    ] {
        let siblings = serde_json::json!([
            {"rfilename": "config.json", "size": 2, "blobId": id, "lfs": large},
            {"rfilename": "model.safetensors", "size": 2, "blobId": id, "lfs": large},
        ]);
        let listing = serde_json::json!({"sha": commit, "siblings": siblings}).to_string();
        let server = Server::start(move |request| match request.path.starts_with("/api/") {
            true => Answer::new(200, listing.as_bytes()),
            false => Answer::new(200, b"{}"),
        });
        let place = place(&server.url(""));
        let error = place.fetch(&model("main")).unwrap_err();
        assert!(matches!(error, DownloadError::Damaged { .. }), "{error}");
        let all = everything_in(place.folder.path());
        assert!(!all.iter().any(|path| path.contains("victim")), "{all:#?}");
        assert_eq!(server.asked().len(), 1, "nothing is downloaded");
    }
}

#[test]
fn the_token_stays_with_the_hub_when_it_redirects_to_another_host() {
    let all = files(&["config.json", "model.safetensors"]);
    let stored = all.clone();
    let storage = Server::start(move |request| {
        let name = request.path.trim_start_matches("/storage/");
        Answer::ranged(request, &stored[name])
    });
    let elsewhere = storage.url("");
    let server = Server::start(move |request| {
        let mut answer = answer_as_hub(&all, "main", request);
        for (name, value) in &mut answer.headers {
            if name == "Location" {
                let path = value.rsplit_once("/storage/").unwrap().1;
                *value = format!("{elsewhere}/storage/{path}");
            }
        }
        answer
    });
    let mut place = place(&server.url(""));
    place.downloads.hub.token = Some("secret".to_owned());
    place.fetch(&model("main")).unwrap();
    assert_eq!(storage.paths(), ["/storage/model.safetensors"]);
    assert!(storage.asked().iter().all(|request| request.header("authorization").is_none()));
    let with_token = |request: &Request| request.header("authorization") == Some("Bearer secret");
    assert!(server.asked().iter().all(with_token));
}

#[test]
fn the_token_goes_along_when_the_hub_redirects_to_itself() {
    let all = files(&["config.json", "model.safetensors"]);
    let server = Server::start(move |request| match request.path.strip_prefix("/old") {
        Some(path) => Answer::new(307, b"").header("Location", path),
        None => answer_as_hub(&all, "main", request),
    });
    let mut place = place(&server.url("/old"));
    place.downloads.hub.token = Some("secret".to_owned());
    place.fetch(&model("main")).unwrap();
    assert!(server.asked().iter().all(|request| request.header("authorization").is_some()));
}

#[test]
fn content_that_does_not_fit_the_listing_is_refused_and_not_kept() {
    for (sent, problem) in [
        ("content of model.safetensorz", "the checksum of `model.safetensors` is "),
        ("content of model.safetensors and more", "`model.safetensors` has 37 bytes instead of 28"),
        ("short", "`model.safetensors` has 5 bytes instead of 28"),
    ] {
        let all = files(&["config.json", "model.safetensors"]);
        let server = Server::start(move |request| match request.path.starts_with("/storage/") {
            true => Answer::new(200, sent.as_bytes()),
            false => answer_as_hub(&all, "main", request),
        });
        let place = place(&server.url(""));
        let error = place.fetch(&model("main")).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        let snapshot = place.folder.path().join("hub/models--o--n/snapshots").join(COMMIT);
        assert_eq!(names(&snapshot), ["config.json"]);
        assert_eq!(place.in_downloads(), [""; 0]);
    }
}

#[test]
fn a_broken_download_of_a_model_goes_on_where_it_stopped() {
    let all = files(&["config.json", "model.safetensors"]);
    let server = Server::start(move |request| {
        let answer = answer_as_hub(&all, "main", request);
        let breaks = request.path.starts_with("/storage/") && request.range_start().is_none();
        if breaks { answer.cut_after(10) } else { answer }
    });
    let place = place(&server.url(""));
    let folder = place.fetch(&model("main")).unwrap();
    let content = std::fs::read_to_string(folder.join("model.safetensors")).unwrap();
    assert_eq!(content, "content of model.safetensors");
    let starts: Vec<_> = server.asked().iter().filter_map(Request::range_start).collect();
    assert_eq!(starts, [10, 10], "one request, and the one that it is redirected to");
}

#[test]
fn a_mirror_without_checksums_is_good_enough() {
    let all = files(&["config.json", "model.safetensors"]);
    let server = Server::start(move |request| {
        let mut answer = answer_as_hub(&all, "main", request);
        if request.path.starts_with("/api/") {
            let mut listing: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            for file in listing["siblings"].as_array_mut().unwrap() {
                let file = file.as_object_mut().unwrap();
                file.retain(|key, _| key == "rfilename");
            }
            answer.body = listing.to_string().into_bytes();
        }
        answer
    });
    let folder = place(&server.url("")).fetch(&model("main")).unwrap();
    assert!(folder.ends_with(format!("o--n@{COMMIT}")));
}

#[test]
fn a_hub_that_answers_nonsense_is_no_panic() {
    for body in ["", "{}", "[]", "{\"sha\": \"../..\", \"siblings\": []}"] {
        let server = Server::start(move |_| Answer::new(200, body.as_bytes()));
        let error = place(&server.url("")).fetch(&model("main")).unwrap_err();
        assert!(matches!(error, DownloadError::Damaged { .. }), "{error}");
    }
}

#[test]
fn settings_follow_the_variables_of_hugging_face_tools() {
    let of = |variables: &[(&str, &str)]| {
        HubSettings::from_variables(Path::new("/project"), |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    };
    let cache = |variables: &[(&str, &str)]| of(variables).cache.unwrap();
    let home = ("HOME", "/h");
    assert_eq!(cache(&[home]), Path::new("/h/.cache/huggingface/hub"));
    assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
    assert_eq!(cache(&[home, ("HF_HOME", "/hf")]), Path::new("/hf/hub"));
    assert_eq!(cache(&[home, ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    assert_eq!(of(&[]).cache, None);
    // A relative path starts in the project, wherever the command is called.
    assert_eq!(cache(&[home, ("HF_HOME", "hf")]), Path::new("/project/hf/hub"));
    assert_eq!(cache(&[home, ("HF_HUB_CACHE", "../hub")]), Path::new("/project/../hub"));
    assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "x")]), Path::new("/h/.cache/huggingface/hub"));
    assert_eq!(of(&[("HOME", "h")]).cache, None);
    assert_eq!(of(&[]).endpoint, "https://huggingface.co");
    assert_eq!(of(&[("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    assert!(!of(&[("HF_HUB_OFFLINE", "0")]).offline);
    assert!(of(&[("HF_HUB_OFFLINE", "1")]).offline);
    assert!(of(&[("HF_HUB_OFFLINE", "true")]).offline);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "from the file\n").unwrap();
    let hf_home = ("HF_HOME", folder.path().to_str().unwrap());
    assert_eq!(of(&[hf_home]).token.as_deref(), Some("from the file"));
    assert_eq!(of(&[hf_home, ("HF_TOKEN", "own")]).token.as_deref(), Some("own"));
    assert_eq!(of(&[("HF_TOKEN", "")]).token, None);
}
