//! SentencePiece models that are damaged, hostile, or of another kind.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use stages::model::config::ModelConfig;
use stages::text::{TextTokenizer, has_tokenizer, tokenizer_files};

use super::{Bench, fixtures, row};

const FILE: &str = "sentencepiece.bpe.model";

/// A field of a protobuf message that holds bytes.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u32), bytes.to_vec()].concat()
}

/// A field that holds a number.
fn number(field: u32, value: u32) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn piece(text: &[u8], score: f32) -> Vec<u8> {
    let score = [varint(2 << 3 | 5), score.to_le_bytes().to_vec()].concat();
    field(1, &[field(1, text), score].concat())
}

/// The pieces of the smallest model, of which fairseq's tokens replace the first three.
fn pieces() -> Vec<u8> {
    [piece(b"<unk>", 0.0), piece(b"<s>", 0.0), piece(b"</s>", 0.0), piece(b"a", -1.0)].concat()
}

/// A compiled character map: the size of the trie, its units, the replacements.
fn charsmap(units: &[u32], replacements: &[u8]) -> Vec<u8> {
    let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    [&(trie.len() as u32).to_le_bytes(), trie.as_slice(), replacements].concat()
}

/// A trie which replaces the byte `a` by the text at `at`.
fn trie_of_a(at: u32) -> Vec<u32> {
    let mut units = vec![0; 512];
    // The offset of the root is 256. Its child `a` has a leaf, and the offset 1.
    units[0] = 256 << 10;
    units[256 ^ 97] = (1 << 10) | (1 << 8) | 97;
    units[256 ^ 97 ^ 1] = at | 1 << 31;
    units
}

fn with_charsmap(map: &[u8]) -> Vec<u8> {
    [pieces(), field(3, &field(2, map))].concat()
}

fn open(bench: &Bench) -> Result<TextTokenizer, stages::StageError> {
    let config = ModelConfig::read(bench.model()).unwrap();
    TextTokenizer::open(bench.model(), config.family)
}

#[track_caller]
fn refused(family: &str, file: &str, contents: &[u8]) -> String {
    let bench = Bench::new(family, &[]).rows("test", &[row("a")]);
    bench.model_file(file, contents).error()
}

#[test]
fn a_smallest_model_replaces_by_its_character_map() {
    let map = charsmap(&trie_of_a(2), b"x\0yz\0");
    let bench = Bench::new("xlm-roberta", &[]).model_file(FILE, with_charsmap(&map));
    let tokenizer = open(&bench).unwrap();
    // `yz` is unknown, as is the mark of the word before it.
    assert_eq!(tokenizer.ids("a").unwrap(), [3]);
    let bench = Bench::new("xlm-roberta", &[]).model_file(FILE, pieces());
    assert_eq!(open(&bench).unwrap().ids("a").unwrap(), [3, 4]);
}

#[test]
fn a_sentencepiece_model_is_refused_with_what_is_wrong() {
    let of = |contents: &[u8]| {
        let error = refused("xlm-roberta", FILE, contents);
        error.strip_prefix("/model/sentencepiece.bpe.model: ").unwrap().to_owned()
    };
    assert_eq!(of(b""), "is no SentencePiece model: it has no pieces");
    let pointer = of(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
    assert!(pointer.starts_with("is no SentencePiece model: "), "{pointer}");
    let with = |piece: Vec<u8>| of(&[pieces(), piece].concat());
    assert_eq!(with(piece(b"", 0.0)), "is damaged: piece 4 has 0 bytes, expected 1 to 1024");
    let long = "x".repeat(1 << 20);
    let error = with(piece(long.as_bytes(), 0.0));
    assert_eq!(error, "is damaged: piece 4 has 1048576 bytes, expected 1 to 1024");
    assert_eq!(with(piece(b"b", f32::NAN)), "is damaged: the score of piece 4 `b` is NaN");
    assert_eq!(with(piece(b"a", -2.0)), "is damaged: piece 4 `a` occurs twice");
    let utf8 = with(piece(b"\xff", 0.0));
    assert!(utf8.contains("Piece.text") && utf8.contains("UTF-8"), "{utf8}");
    let trainer = |fields: Vec<u8>| with(field(2, &fields));
    assert_eq!(trainer(number(40, 4)), "is damaged: `unk_id` is 4, there are 4 pieces");
    let bpe = "is a SentencePiece model of the BPE type; models of this family have one of the \
               Unigram type, and `transformers` reads no other either";
    assert_eq!(trainer(number(3, 2)), bpe);
    let path = fixtures().join("deberta-v2/bpe.model");
    let error = refused("deberta-v2", "spm.model", &fs::read(path).unwrap());
    assert_eq!(error, format!("/model/spm.model: {bpe}"));
}

#[test]
fn a_character_map_is_checked_before_it_is_used() {
    let broken = [
        (vec![1, 2, 3], "ends early"),
        (vec![0xff; 8], "ends early"),
        (charsmap(&[], b""), "ends early"),
        (charsmap(&[0], b"a"), "has a state outside of its trie"),
        (charsmap(&[u32::MAX; 256], b"a"), "has a state outside of its trie"),
        (charsmap(&trie_of_a(7), b"x\0"), "names a replacement that it does not have"),
        (charsmap(&trie_of_a(1), "é\0".as_bytes()), "names a replacement that it does not have"),
        (charsmap(&trie_of_a(0), b"\xff\0"), "has replacements that are not UTF-8"),
    ];
    let json = fs::read(fixtures().join("camembert/tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    for (map, problem) in broken {
        let error = refused("xlm-roberta", FILE, &with_charsmap(&map));
        let place = "/model/sentencepiece.bpe.model: is damaged: its character map";
        assert_eq!(error, format!("{place} {problem}"));
        let text = BASE64_STANDARD.encode(&map);
        let rule = json!({"type": "Precompiled", "precompiled_charsmap": text});
        json["normalizer"] = json!({"type": "Sequence", "normalizers": [rule]});
        let error = refused("camembert", "tokenizer.json", json.to_string().as_bytes());
        let place = "/model/tokenizer.json: is damaged: the character map of its normalizer";
        assert_eq!(error, format!("{place} {problem}"));
    }
}

#[test]
fn a_damaged_sentencepiece_model_is_an_error_or_readable() {
    let bench = Bench::new("camembert", &[FILE]);
    let path = bench.model().join(FILE);
    let whole = fs::read(&path).unwrap();
    let (mut refused, mut read) = (0, 0);
    let mut damage = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match open(&bench) {
            Ok(tokenizer) => {
                tokenizer.ids("Ａ ﬁne e\u{301} <s> 漢字 <mask>\u{200b}\u{3000}").unwrap();
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(FILE), "{error}");
                refused += 1;
            }
        }
    };
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        damage(&whole[..length]);
    }
    // Most of the end of the file is the character map.
    for step in 0..100 {
        let mut bytes = whole.clone();
        let at = step * whole.len() / 100;
        bytes[at] = [0, 0xff, whole[at] ^ 1, whole[at] ^ 0x80][step % 4];
        damage(&bytes);
    }
    assert!(refused > 30 && read > 10, "{refused} refused, {read} read");
}

#[test]
fn a_sentencepiece_model_that_no_class_reads_is_named() {
    let bench = Bench::new("wordpiece", &[]).rows("test", &[row("a")]);
    let error = bench.model_file("spm.model", pieces()).error();
    assert_eq!(
        error,
        "/model: holds `spm.model`, but neither `tokenizer_class` nor `model_type` names a \
         tokenizer that reads it; a `tokenizer.json`, saved with `transformers`, says how"
    );
    let error = Bench::new("deberta-v2", &[]).rows("test", &[row("a")]).error();
    assert_eq!(
        error,
        "/model: holds no tokenizer: looked for `tokenizer.json`, `spm.model`, `vocab.json` with \
         `merges.txt`, `vocab.txt` with `bpe.codes`, and `vocab.txt`"
    );
}

#[test]
fn a_sentencepiece_model_is_a_file_of_the_tokenizer() {
    for (family, name) in [("xlm-roberta", FILE), ("deberta-v2", "spm.model")] {
        let bench = Bench::new(family, &[name]);
        assert!(has_tokenizer(bench.model()));
        assert_eq!(tokenizer_files(bench.model()), [bench.model().join(name)]);
        // Not beside a `tokenizer.json`, so that what is made of such a folder stays as it was.
        let bench = bench.model_file("tokenizer.json", "{}");
        assert_eq!(tokenizer_files(bench.model()), [bench.model().join("tokenizer.json")]);
    }
    let bench = Bench::new("wordpiece", &[]).model_file("spm.model", pieces());
    assert!(!has_tokenizer(bench.model()));
}

#[test]
fn ids_of_sentencepieces_decode_to_text() {
    let bench = Bench::new("camembert", &[FILE]);
    let tokenizer = open(&bench).unwrap();
    let ids = tokenizer.layout().single(&tokenizer.ids("the train, delayed").unwrap()).ids;
    assert_eq!(tokenizer.decode(&ids), "<s> the train, delayed</s>");
}
