//! The tokenizers of DistilBERT, ELECTRA, XLM-RoBERTa, CamemBERT, DeBERTa and ModernBERT equal those
//! of `transformers`. `tests/fixtures/make_encoder_tokens.py` makes the expected ids.

use std::fs;

use serde_json::{Value, json};

use super::parity::{assert_equals_transformers, expected_case};
use super::{Bench, fixtures};

const CONFIG: &str = "tokenizer_config.json";

/// Checks a file alone with the `tokenizer_config.json` of a case.
#[track_caller]
fn assert_case(family: &str, file: &str, case: &str) {
    let expected = expected_case(family, case);
    let bench = || {
        let bench = Bench::new(family, &[file]);
        match expected.config.as_object() {
            Some(fields) if !fields.is_empty() => {
                bench.model_file(CONFIG, expected.config.to_string())
            }
            _ => bench,
        }
    };
    assert_equals_transformers(bench, &expected);
}

/// Checks BERT's files in the folder of another model.
#[track_caller]
fn assert_reads_berts(model_type: &str, family: &str, files: &[&str]) {
    let config = fs::read(fixtures().join(family).join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["model_type"] = json!(model_type);
    let bench = || Bench::new(family, files).model_file("config.json", config.to_string());
    assert_equals_transformers(bench, &expected_case(family, "expected"));
}

#[test]
fn electra_reads_a_vocabulary_as_bert_does() {
    assert_reads_berts("electra", "wordpiece", &["vocab.txt"]);
    assert_reads_berts("electra", "cased", &["vocab.txt", CONFIG]);
}

#[test]
fn distilbert_reads_a_vocabulary_as_bert_does() {
    assert_reads_berts("distilbert", "wordpiece", &["vocab.txt"]);
    assert_reads_berts("distilbert", "cased", &["vocab.txt", CONFIG]);
}

#[test]
fn xlm_robertas_sentencepiece_model_alone_equals_transformers() {
    assert_case("xlm-roberta", "sentencepiece.bpe.model", "expected");
}

#[test]
fn settings_of_tokenizer_config_reach_xlm_robertas_model() {
    assert_case("xlm-roberta", "sentencepiece.bpe.model", "no_prefix");
}

#[test]
fn special_tokens_of_the_config_replace_those_of_a_sentencepiece_model() {
    assert_case("camembert", "sentencepiece.bpe.model", "others");
}

#[test]
fn camemberts_sentencepiece_model_alone_equals_transformers() {
    assert_case("camembert", "sentencepiece.bpe.model", "expected");
}

#[test]
fn camemberts_tokenizer_json_equals_transformers() {
    assert_case("camembert", "tokenizer.json", "expected");
}

#[test]
fn debertas_sentencepiece_model_alone_equals_transformers() {
    assert_case("deberta-v2", "spm.model", "expected");
}

#[test]
fn debertas_model_lowers_case_and_splits_at_punctuation_where_the_config_asks() {
    assert_case("deberta-v2", "spm.model", "lower_case");
}

#[test]
fn debertas_model_without_a_prefix_space_equals_transformers() {
    assert_case("deberta-v2", "spm.model", "no_prefix");
}

#[test]
fn modernberts_tokenizer_json_equals_transformers() {
    let bench = || Bench::new("modernbert", &["tokenizer.json", CONFIG]);
    assert_equals_transformers(bench, &expected_case("modernbert", "expected"));
}

#[test]
fn tokenizer_class_decides_before_the_model_type() {
    // As in Multilingual-MiniLM, a BERT with the tokenizer of XLM-RoBERTa.
    let name = "sentencepiece.bpe.model";
    let config =
        json!({"model_type": "bert", "vocab_size": 800, "tokenizer_class": "XLMRobertaTokenizer"});
    let bench = |family: &str, own: &Value| {
        let bench = Bench::new(family, &[name]).model_file("config.json", config.to_string());
        bench.model_file(CONFIG, own.to_string())
    };
    let expected = expected_case("xlm-roberta", "no_prefix");
    assert_equals_transformers(|| bench("xlm-roberta", &expected.config), &expected);
    // The tokenizer's own file decides before `config.json`.
    let expected = expected_case("camembert", "others");
    let mut own = expected.config.clone();
    own["tokenizer_class"] = json!("CamembertTokenizerFast");
    assert_equals_transformers(|| bench("camembert", &own), &expected);
}
