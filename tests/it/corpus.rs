//! The corpus of the fuzz targets and random mutations of it, through the functions that
//! `fuzz/run.sh` fuzzes for longer. `PIPE_MUTATIONS` is the number of mutations of each file.

use std::fs;
use std::path::Path;

use crate::faults::{Random, number_from};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Mutates a few places: flips bits, inserts or removes bytes, repeats pieces, truncates.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(12).min(bytes.len() - at);
        match random.below(5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.drain(at..at + length)),
            2 => {
                let piece = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            3 => {
                let special = b"${}[]:&*!|>-#'\"\\\n\r\t \0\x7f\xff09.eE,";
                bytes.insert(at, special[random.below(special.len())]);
            }
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
    bytes
}

#[test]
fn nothing_that_is_read_from_outside_makes_the_engine_panic() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mutations = number_from("PIPE_MUTATIONS", 30);
    let mut random = Random::new();
    for (name, target) in targets::TARGETS {
        let mut files = 0;
        for entry in fs::read_dir(seeds.join(name)).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            target(&bytes);
            for _ in 0..mutations {
                target(&mutate(&bytes, &mut random));
            }
            files += 1;
        }
        assert!(files > 0, "{name} has no corpus");
    }
}

#[test]
fn the_corpus_reaches_behind_the_check_sums() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let record = fs::read_to_string(seeds.join("record/some")).unwrap();
    let key = serde_json::from_str::<serde_json::Value>(&record).unwrap()["key"].clone();
    let body = record.strip_suffix('}').unwrap();
    let check = pipe::files::digest::Digest::of_bytes(body.as_bytes());
    let record = format!("{body},\"check\":\"{check}\"}}\n");
    let key = key.as_str().unwrap().parse().unwrap();
    assert!(pipe::store::record::Record::parse(&record, key).is_some(), "a field is new: add it");
    let tree = fs::read_to_string(seeds.join("tree/some")).unwrap();
    assert!(pipe::files::tree::Tree::parse(&tree).is_some());
}
