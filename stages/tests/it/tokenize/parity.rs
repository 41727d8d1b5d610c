//! Token ids equal those of `transformers` on 1,000 texts, for every family and file format.
//! `tests/fixtures/make_tokens.py` makes the expected ids.

use std::fs;

use serde::Deserialize;
use serde_json::Value;
use stages::data::token_file::Sequence;
use stages::model::config::ModelConfig;
use stages::text::{TextTokenizer, TweetNormalizer};

use super::{Bench, fixtures, row, turn_row};

#[derive(Deserialize)]
pub struct Expected {
    /// The contents of `tokenizer_config.json`.
    #[serde(default)]
    pub config: Value,
    /// Further texts with their ids.
    #[serde(default)]
    extra: Vec<(String, Vec<u32>)>,
    ids: Vec<Vec<u32>>,
    /// For the texts 2k and 2k + 1 as a pair: the ids, and the position at which the token types of
    /// the second text begin (0 without token types).
    pairs: Vec<(Vec<u32>, usize)>,
    single_right: Vec<Vec<u32>>,
    single_left: Vec<Vec<u32>>,
    pair_right: Vec<Option<Vec<u32>>>,
    pair_left: Vec<Option<Vec<u32>>>,
    #[serde(default)]
    normalized: Vec<String>,
    #[serde(default)]
    normalized_ids: Vec<Vec<u32>>,
}

fn texts() -> Vec<String> {
    serde_json::from_slice(&fs::read(fixtures().join("texts.json")).unwrap()).unwrap()
}

fn expected(family: &str) -> Expected {
    expected_case(family, "expected")
}

pub fn expected_case(family: &str, case: &str) -> Expected {
    let path = fixtures().join(family).join(format!("{case}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_equal(found: &[Vec<u32>], expected: &[Vec<u32>], texts: &[String]) {
    assert!(!expected.is_empty() && found.len() >= expected.len());
    let differing: Vec<usize> =
        (0..expected.len()).filter(|row| found[*row] != expected[*row]).collect();
    if let Some(row) = differing.first() {
        panic!(
            "{} of {} differ, first row {row} {:?}:\n{:?}\n{:?} expected",
            differing.len(),
            expected.len(),
            texts[*row],
            found[*row],
            expected[*row]
        );
    }
}

/// Checks ids of texts and pairs with the tokenizer of these files, and truncation with the stage.
#[track_caller]
fn assert_parity(family: &str, files: &[&str]) {
    assert_equals_transformers(|| Bench::new(family, files), &expected(family));
}

/// As [`assert_parity`], for a folder that `bench` makes.
#[track_caller]
pub fn assert_equals_transformers(bench: impl Fn() -> Bench, expected: &Expected) {
    let folder = bench();
    let config = ModelConfig::read(folder.model()).unwrap();
    let tokenizer = TextTokenizer::open(folder.model(), config.family).unwrap();
    let texts = texts();

    for (text, ids) in &expected.extra {
        let found = tokenizer.layout().single(&tokenizer.ids(text).unwrap()).ids;
        assert_eq!(&found, ids, "{text:?}");
    }
    let plain = tokenizer.ids_of_all(&texts).unwrap();
    let found: Vec<Vec<u32>> = plain.iter().map(|ids| tokenizer.layout().single(ids).ids).collect();
    assert_equal(&found, &expected.ids, &texts);

    assert!(2 * expected.pairs.len() <= texts.len());
    for ((ids, second), pair) in expected.pairs.iter().zip(plain.chunks(2)) {
        let kind = |at: usize| u8::from(*second > 0 && at >= *second);
        let types = (0..ids.len()).map(kind).collect();
        let found = tokenizer.layout().pair(&pair[0], &pair[1]);
        assert_eq!(found, Sequence { ids: ids.clone(), types }, "{pair:?}");
    }

    for (side, single, pair) in [
        ("right", &expected.single_right, &expected.pair_right),
        ("left", &expected.single_left, &expected.pair_left),
    ] {
        let rows: Vec<Value> = texts[..single.len()].iter().map(|text| row(text)).collect();
        let found = stage_ids(bench(), &rows, side, 20);
        assert_equal(&found, single, &texts);
        let pairs = texts.chunks(2).take(pair.len());
        let rows: Vec<Value> = pairs.map(|pair| turn_row(&[&*pair[0]], &pair[1])).collect();
        let found = stage_ids(bench(), &rows, side, 40);
        let known: Vec<usize> = (0..pair.len()).filter(|row| pair[*row].is_some()).collect();
        assert!(known.len() > 20, "too few pairs to compare");
        for row in known {
            assert_eq!(Some(&found[row]), pair[row].as_ref(), "pair {row} cut {side}");
        }
    }
}

fn stage_ids(bench: Bench, rows: &[Value], side: &str, length: u32) -> Vec<Vec<u32>> {
    let bench = bench.rows("test", rows).param("context", "all");
    let bench = bench.param("truncate", side).param("max_length", length).run();
    let tokens = bench.tokens("test");
    (0..tokens.rows()).map(|row| tokens.ids(row).iter().map(|id| *id as u32).collect()).collect()
}

#[test]
fn byte_level_bpe_from_tokenizer_json_equals_transformers() {
    assert_parity("bpe", &["tokenizer.json"]);
}

#[test]
fn byte_level_bpe_from_vocab_and_merges_equals_transformers() {
    assert_parity("bpe", &["vocab.json", "merges.txt", "special_tokens_map.json"]);
}

#[test]
fn byte_level_bpe_without_any_map_has_robertas_special_tokens() {
    assert_parity("bpe", &["vocab.json", "merges.txt"]);
}

#[test]
fn word_pieces_from_tokenizer_json_equal_transformers() {
    assert_parity("wordpiece", &["tokenizer.json"]);
}

#[test]
fn word_pieces_from_vocab_txt_equal_transformers() {
    assert_parity("wordpiece", &["vocab.txt"]);
}

#[test]
fn settings_of_tokenizer_config_reach_the_word_pieces() {
    assert_parity("cased", &["vocab.txt", "tokenizer_config.json"]);
}

#[test]
fn mpnets_word_pieces_equal_transformers() {
    assert_parity("mpnet", &["vocab.txt"]);
}

#[test]
fn bertweets_bpe_equals_transformers() {
    assert_parity("bertweet", &["vocab.txt", "bpe.codes"]);
}

#[test]
fn tweet_normalisation_equals_transformers() {
    let normalizer = TweetNormalizer::new();
    let expected = expected("bertweet");
    for (text, normalized) in texts().iter().zip(&expected.normalized) {
        assert_eq!(&normalizer.normalize(text), normalized, "{text:?}");
    }
}

#[test]
fn bertweets_bpe_of_normalised_tweets_equals_transformers() {
    let rows: Vec<Value> = texts().iter().map(|text| row(text)).collect();
    let bench = Bench::new("bertweet", &["vocab.txt", "bpe.codes"]).rows("test", &rows);
    let bench = bench.param("normalize_tweets", true).run();
    let tokens = bench.tokens("test");
    let expected = expected("bertweet").normalized_ids;
    for (number, text) in texts().iter().enumerate() {
        let ids: Vec<u32> = tokens.ids(number).iter().map(|id| *id as u32).collect();
        // The longest text is truncated to the model's 128 tokens.
        if expected[number].len() <= 128 {
            assert_eq!(ids, expected[number], "{text:?}");
        }
    }
}
