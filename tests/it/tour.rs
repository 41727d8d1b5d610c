//! From a file of the hub to a service, a graph and a folder for the hub, as the README's tour goes.

#![cfg(all(feature = "columns", feature = "serve"))]

use std::fs;
use std::path::Path;

use serde_json::json;
use sha1::Digest;

use crate::init::folder;
use crate::serve::client::Service;
use crate::server::{Answer, Server};

const FILE: &str = "data/train.parquet";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub on this machine with one file of one data set.
fn hub(content: Vec<u8>) -> Server {
    let header = format!("blob {}\0", content.len());
    let id = sha1::Sha1::new_with_prefix(header).chain_update(&content).finalize();
    let id = format!("{id:x}");
    Server::start(move |request| {
        if request.path == "/api/datasets/o/n/revision/main?blobs=true" {
            let file = json!({"rfilename": FILE, "size": content.len(), "blobId": id});
            let listing = json!({"sha": COMMIT, "siblings": [file]});
            return Answer::new(200, listing.to_string().as_bytes());
        }
        match request.path == format!("/datasets/o/n/resolve/{COMMIT}/{FILE}") {
            true => Answer::ranged(request, &content),
            false => Answer::new(404, b""),
        }
    })
}

#[test]
fn a_parquet_file_of_the_hub_becomes_a_service_a_graph_and_a_folder_for_the_hub() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = fs::read(root.join("stages/tests/fixtures/columns/zstd.parquet")).unwrap();
    let (server, project) = (hub(data), folder());
    fs::create_dir(project.path("encoder")).unwrap();
    for file in fs::read_dir(root.join("models/tweet-encoder")).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, project.path("encoder").join(path.file_name().unwrap())).unwrap();
    }
    let cache = project.path("hub").display().to_string();
    let environment = [("HF_ENDPOINT", &*server.url("")), ("HF_HUB_CACHE", &cache)];
    let pipe = |words: &[&str]| project.pipe_with(words, &environment).expect_code(0);

    let data = format!("hub:datasets/o/n@main/{FILE}");
    let told = pipe(&["init", "--data", &data, "--model", "encoder"]).stderr;
    assert!(told.contains("PARQUET, 60 rows"), "{told}");
    let short = regex::Regex::new("epochs: [0-9]+").unwrap();
    let pipeline = project.read("pipeline.yaml");
    project.write("pipeline.yaml", &short.replace(&pipeline, "epochs: 1"));
    pipe(&["run"]);

    let said = pipe(&["classify", "--json", "deep 7"]).stdout;
    let said: serde_json::Value = serde_json::from_str(said.trim()).unwrap();
    let service = Service::start(&project, &[]);
    let answer = service.post("/classify", &json!({"inputs": "deep 7"})).expect(200).json();
    assert_eq!(answer["probabilities"], said["probabilities"], "{answer}");

    pipe(&["export", "--hub", "out/mine", "--onnx", "out/mine/onnx/model.onnx"]);
    let card = project.read("out/mine/README.md");
    assert!(card.contains("\ndatasets:\n- \"o/n\"\n"), "{card}");
    assert!(
        card.contains("`train.parquet` of [o/n](https://huggingface.co/datasets/o/n)"),
        "{card}"
    );
    assert!(fs::metadata(project.path("out/mine/onnx/model.onnx")).unwrap().len() > 100_000);
}
