//! Files of data sets from a small hub on this machine.

use pipe::pipeline::Input;
use pipe::sources::download_error::DownloadError;
use sha2::Digest;

use super::{names, nowhere, place};
use crate::harness::Project;
use crate::server::{Answer, Server};

const COMMITS: [&str; 2] =
    ["0123456789abcdef0123456789abcdef01234567", "1123456789abcdef0123456789abcdef01234567"];
const FILES: [&str; 2] = ["data/train-00.csv", "data/train-01.csv"];
/// Only in the second commit.
const LATER: &str = "data/later.csv";

fn content(name: &str, commit: &str) -> String {
    let row = |row| format!("text {row} of {name} in {},{}\n", &commit[..1], row % 2);
    "text,label\n".to_owned() + &(0..20).map(row).collect::<String>()
}

/// A hub whose branch `main` is at the first commit when it is asked first, and then at the second.
fn hub() -> Server {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |request| {
        let listing = |commit: &str| {
            let later = (commit == COMMITS[1]).then_some(&LATER);
            let siblings = FILES.iter().chain(later).map(|name| sibling(name, commit));
            let siblings: Vec<_> = siblings.collect();
            let listing = serde_json::json!({"sha": commit, "siblings": siblings});
            Answer::new(200, listing.to_string().as_bytes())
        };
        if request.path == "/api/datasets/o/n/revision/main?blobs=true" {
            let time = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return listing(COMMITS[time.min(1)]);
        }
        for commit in COMMITS {
            if request.path == format!("/api/datasets/o/n/revision/{commit}?blobs=true") {
                return listing(commit);
            }
            let name = request.path.strip_prefix(&format!("/datasets/o/n/resolve/{commit}/"));
            if let Some(name) = name.filter(|name| FILES.contains(name) || *name == LATER) {
                return Answer::ranged(request, content(name, commit).as_bytes());
            }
        }
        Answer::new(404, b"")
    })
}

fn sibling(name: &str, commit: &str) -> serde_json::Value {
    let content = content(name, commit);
    let header = format!("blob {}\0", content.len());
    let id = sha1::Sha1::new_with_prefix(header).chain_update(&content).finalize();
    serde_json::json!({"rfilename": name, "size": content.len(), "blobId": format!("{id:x}")})
}

fn file(path: &str) -> Input {
    let [repository, revision, path] = ["o/n", "main", path].map(str::to_owned);
    Input::HubData { repository, revision, path }
}

#[test]
fn a_file_of_a_data_set_lies_where_hugging_face_tools_look_for_it() {
    let server = hub();
    let place = place(&server.url(""));
    assert_eq!(place.downloads.locate(&file(FILES[0])), None);
    let path = place.fetch(&file(FILES[0])).unwrap();
    let snapshot = place.folder.path().join("hub/datasets--o--n/snapshots").join(COMMITS[0]);
    assert_eq!(path, snapshot.join(FILES[0]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content(FILES[0], COMMITS[0]));
    let before = server.asked().len();
    assert_eq!(place.fetch(&file(FILES[0])).unwrap(), path);
    assert_eq!(server.asked().len(), before);
    // The branch has moved, but both files are those of the first commit.
    let second = place.fetch(&file(FILES[1])).unwrap();
    assert_eq!(second, snapshot.join(FILES[1]));
    assert_eq!(std::fs::read_to_string(second).unwrap(), content(FILES[1], COMMITS[0]));
    assert_eq!(names(&snapshot.join("data")), ["train-00.csv", "train-01.csv"]);
}

#[test]
fn a_file_that_a_branch_has_got_since_is_fetched_from_where_the_branch_is() {
    let server = hub();
    let place = place(&server.url(""));
    place.fetch(&file(FILES[0])).unwrap();
    let later = place.fetch(&file(LATER)).unwrap();
    let snapshots = place.folder.path().join("hub/datasets--o--n/snapshots");
    assert_eq!(later, snapshots.join(COMMITS[1]).join(LATER));
    assert_eq!(std::fs::read_to_string(later).unwrap(), content(LATER, COMMITS[1]));
    let error = place.fetch(&file("data/none.csv")).unwrap_err().to_string();
    assert!(error.contains("there is no file `data/none.csv`"), "{error}");
}

#[test]
fn without_a_network_or_the_file_the_error_says_what_to_do() {
    let mut offline = nowhere();
    offline.downloads.offline = true;
    let error = offline.fetch(&file(FILES[0])).unwrap_err();
    assert!(matches!(error, DownloadError::Offline { .. }));
    let told = format!("{error}; {}", error.hint(&["data"]).unwrap());
    assert!(told.contains("hub:datasets/o/n@main/data/train-00.csv"), "{told}");
    assert!(told.contains("datasets/o/n/tree/main") && told.contains("--set data=FILE"), "{told}");
    let server = hub();
    let error = place(&server.url("")).fetch(&file("data/none.csv")).unwrap_err();
    assert!(error.to_string().contains("there is no file `data/none.csv`"), "{error}");
}

#[test]
fn a_pipeline_is_written_for_a_file_of_the_hub_and_runs() {
    let server = hub();
    let project = Project::new("");
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    // Without a home the files of the hub lie in the store.
    let nothing = ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "HOME"].map(|name| (name, ""));
    let url = server.url("");
    let environment = [&[("HF_ENDPOINT", &*url), ("PIPE_CACHE", "store")], &nothing[..]].concat();
    let name = "hub:datasets/o/n@main/data/train-00.csv";
    let told = project.pipe_with(&["init", "--data", name], &environment).expect_code(0).stderr;
    assert!(project.path("store/downloads/hub").exists() && !project.path("cache").exists());
    let asked = server.asked().len();
    assert!(told.contains("CSV, 20 rows"), "{told}");
    assert!(project.read("pipeline.yaml").contains(name));
    project.pipe_with(&["run"], &environment).expect_code(0);
    assert_eq!(server.asked().len(), asked, "the run has downloaded it again");
    for (wrong, part) in [
        ("hub:datasets/o/n@main", "o/n@main"),
        ("hub:datasets/o/n@main/../x", "../x"),
        ("hub:datasets/o/n@main/a/.b", "a/.b"),
        ("hub:datasets/o@main/x/", "x/"),
    ] {
        let asked = ["init", "--data", wrong, "--out", "other.yaml"];
        let told = project.pipe_with(&asked, &environment).expect_code(2).stderr;
        assert!(told.contains(&format!("`{part}` of")), "{told}");
        let pipeline = format!(
            "stages:\n  ingest: {{inputs: {{train: '{wrong}'}}, params: {{text_field: text}}}}\n"
        );
        project.write("wrong.yaml", &pipeline);
        let told = project.pipe(&["status", "-f", "wrong.yaml"]).expect_code(2).stderr;
        assert!(told.contains(&format!("`{part}` is not a valid name on the hub")), "{told}");
    }
}
